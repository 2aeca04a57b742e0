/**
 * Images from a file into any backend: an OCI layout (directory or tar) or what `docker save` writes.
 *
 * @since 0.1.0
 */
import { basename, dirname, posix } from "node:path"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import { ContentStore } from "../core/ContentStore.ts"
import * as Images from "../core/Images.ts"
import * as Leases from "../core/Leases.ts"
import { uniqueName } from "../core/UniqueName.ts"
import type * as Descriptor from "../oci/Descriptor.ts"
import * as Digest from "../oci/Digest.ts"
import * as Index from "../oci/Index.ts"
import * as Reference from "../oci/Reference.ts"
import * as ArchiveEntries from "./ArchiveEntries.ts"
import { ArchiveError } from "./ArchiveError.ts"
import * as DockerArchive from "./DockerArchive.ts"
import { refer } from "./Refer.ts"

export interface ImportOptions {
  /** Of the image, where the archive does not name it, or in place of its name when it holds one image. */
  readonly name?: string | undefined
}

/** The documents at the top of an archive; everything else is a blob. */
const documents = new Set(["oci-layout", "index.json", "manifest.json", "repositories"])
const documentLimit = 16 * 1024 * 1024

/** What was found in an archive: its documents, and what each of its other files became. */
export interface Contents {
  readonly documents: ReadonlyMap<string, Uint8Array>
  readonly blobs: ReadonlyMap<string, Descriptor.Descriptor>
}

/** `blobs/sha256/<hex>` says what it must hold; files of older archives have other names. */
const digestOf = (name: string): Digest.Digest | undefined => {
  const [blobs, algorithm, hex] = name.split("/")
  return blobs === "blobs" ? Result.getOrElse(Digest.parse(`${algorithm}:${hex}`), () => undefined) : undefined
}

const readAll = Effect.fnUntraced(function* (path: string) {
  const store = yield* ContentStore
  const texts = new Map<string, Uint8Array>()
  const blobs = new Map<string, Descriptor.Descriptor>()
  const links = new Map<string, string>()
  yield* ArchiveEntries.forEach(
    path,
    Effect.fnUntraced(function* ({ body, link, name, size }) {
      if (link !== undefined) links.set(name, posix.join(posix.dirname(name), link))
      if (size === 0) return
      if (documents.has(name)) {
        if (size > documentLimit) return yield* new ArchiveError({ message: `${path}: ${name} is too large` })
        texts.set(name, yield* Stream.mkUint8Array(body))
        return
      }
      const digest = digestOf(name)
      const expected = digest === undefined ? undefined : { digest, size }
      blobs.set(name, yield* store.write(body, { mediaType: "application/octet-stream", expected }))
    })
  )
  for (const [name, target] of links) {
    const blob = blobs.get(target)
    if (blob !== undefined) blobs.set(name, blob)
  }
  return { documents: texts, blobs } satisfies Contents
})

const fullName = (text: string): string | undefined =>
  Result.match(Reference.parse(text), {
    onFailure: () => undefined,
    onSuccess: (reference) => Reference.format(Reference.withDefaultTag(reference))
  })

/** containerd and Docker write the whole name; others write a tag, which then belongs to the archive's own name. */
const nameOf = (path: string, { annotations = {} }: Descriptor.Descriptor): string | undefined => {
  const whole = annotations["io.containerd.image.name"]
  if (whole !== undefined) return whole
  const ref = annotations["org.opencontainers.image.ref.name"]
  if (ref === undefined) return undefined
  if (/[/:]/.test(ref)) return fullName(ref)
  const file = basename(path)
    .replace(/\.(tar|tar\.gz|tgz)$/, "")
    .toLowerCase()
  return fullName(`localhost/${file === "" || file === "." ? basename(dirname(path)) : file}:${ref}`)
}

interface Named {
  readonly name: string | undefined
  readonly target: Descriptor.Descriptor
}

const found = Effect.fnUntraced(function* (path: string, contents: Contents) {
  const index = contents.documents.get("index.json")
  if (index !== undefined) {
    const { value } = yield* Effect.fromResult(Index.decode(index))
    return (value.manifests ?? []).map((target): Named => ({ name: nameOf(path, target), target }))
  }
  const manifest = contents.documents.get("manifest.json")
  if (manifest !== undefined) return yield* DockerArchive.images(path, manifest, contents)
  return yield* new ArchiveError({
    message: `${path} is no archive of images: there is neither an index.json nor a manifest.json in it`
  })
})

/** One image of several names is in an index several times; a name of the caller's is for the only image. */
const named = (path: string, images: ReadonlyArray<Named>, name: string | undefined) =>
  Effect.forEach(images, (image) => {
    const chosen = name !== undefined && new Set(images.map(({ target }) => target.digest)).size === 1
    const result = chosen ? fullName(name) : image.name
    return result === undefined
      ? new ArchiveError({ message: `${path}: the image ${image.target.digest} has no name: give it one` })
      : Effect.succeed({ name: result, target: image.target })
  })

/**
 * Imports every image of an archive and gives the records, which replace those of the same names. Blobs are verified
 * against the digests they are named by, and nothing is held in memory. Nothing is unpacked.
 *
 * Fails with `ArchiveError` for a file that is no archive of images, and leaves nothing then.
 */
export const importArchive = Effect.fn("Archive.import")(
  function* (path: string, options: ImportOptions = {}) {
    const contents = yield* readAll(path)
    const images = yield* named(path, yield* found(path, contents), options.name)
    yield* Effect.forEach(images, ({ target }) => refer(target), { discard: true })
    const records = images.map(({ name, target }): Images.Image => {
      const { annotations: _, ...bare } = target
      return { name, target: bare, labels: {} }
    })
    yield* Effect.forEach(records, (record) => Images.put(record), { discard: true })
    return records
  },
  (effect) => Effect.suspend(() => Leases.withLease({ id: uniqueName("effect-containerd/import") })(effect))
)
