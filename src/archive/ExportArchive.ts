/**
 * Images out of any backend into a tar that is an OCI layout and, for Docker, what `docker save` writes: `docker load`,
 * `ctr images import` and skopeo (`oci-archive:` and `docker-archive:`) read it.
 *
 * @since 0.1.0
 */
import { createWriteStream } from "node:fs"
import { rename, rm } from "node:fs/promises"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import { type Pack, pack } from "tar-stream"
import type { ContainerdError } from "../core/ContainerdError.ts"
import * as ContentStore from "../core/ContentStore.ts"
import { quietly } from "../core/Finalizer.ts"
import { type Image, Images } from "../core/Images.ts"
import * as Leases from "../core/Leases.ts"
import { uniqueName } from "../core/UniqueName.ts"
import type * as Descriptor from "../oci/Descriptor.ts"
import * as Digest from "../oci/Digest.ts"
import * as Index from "../oci/Index.ts"
import * as Manifest from "../oci/Manifest.ts"
import * as MediaType from "../oci/MediaType.ts"
import * as Platform from "../oci/Platform.ts"
import * as Reference from "../oci/Reference.ts"
import { failure } from "./ArchiveError.ts"
import { children } from "./Refer.ts"

const blobPath = ({ digest }: Descriptor.Descriptor) => `blobs/${Digest.algorithm(digest)}/${Digest.hex(digest)}`

/** Every blob that the image refers to, documents first; of an index, only the platforms that are here. */
const collect = Effect.fnUntraced(function* (target: Descriptor.Descriptor, into: Map<string, Descriptor.Descriptor>) {
  const store = yield* ContentStore.ContentStore
  const pending = [{ descriptor: target, optional: false }]
  for (let next = pending.shift(); next !== undefined; next = pending.shift()) {
    const { descriptor, optional } = next
    if (into.has(descriptor.digest)) continue
    const present = yield* Effect.as(store.info(descriptor.digest), true).pipe(
      Effect.catchReason("ContainerdError", "NotFound", (_, error) =>
        optional ? Effect.succeed(false) : Effect.fail(error)
      )
    )
    if (!present) continue
    into.set(descriptor.digest, descriptor)
    const below = yield* children(descriptor)
    pending.push(
      ...below.map((child) => ({ descriptor: child.descriptor, optional: MediaType.isIndex(descriptor.mediaType) }))
    )
  }
})

const tagOf = (name: string) =>
  Result.match(Reference.parse(name), {
    onFailure: () => name,
    onSuccess: (reference) => Option.getOrElse(reference.tag, () => name)
  })

const indexOf = (images: ReadonlyArray<Image>) =>
  Index.encode({
    schemaVersion: 2,
    mediaType: MediaType.ociIndex,
    manifests: images.map(({ name, target }) => ({
      ...target,
      annotations: {
        ...target.annotations,
        "io.containerd.image.name": name,
        "org.opencontainers.image.ref.name": tagOf(name)
      }
    }))
  })

/** The manifest that Docker gets: of an index, the one for this host. */
const hostManifest = Effect.fnUntraced(function* (target: Descriptor.Descriptor) {
  if (!MediaType.isIndex(target.mediaType)) return Option.some(target)
  const { value } = yield* Effect.fromResult(Index.decode(yield* ContentStore.readBytes(target), target.mediaType))
  return Platform.select(Platform.host(), value.manifests ?? [], ({ platform }) => platform)
})

const dockerEntry = Effect.fnUntraced(function* ({ name, target }: Image) {
  const descriptor = yield* hostManifest(target)
  if (Option.isNone(descriptor)) return []
  const bytes = yield* ContentStore.readBytes(descriptor.value)
  const { value } = yield* Effect.fromResult(Manifest.decode(bytes, descriptor.value.mediaType))
  const tag = Result.getOrElse(Result.map(Reference.parse(name), Reference.familiar), () => name)
  return [{ Config: blobPath(value.config), RepoTags: [tag], Layers: (value.layers ?? []).map(blobPath) }]
})

interface File {
  readonly name: string
  readonly size: number
  readonly body: Stream.Stream<Uint8Array, ContainerdError>
}

const text = (name: string, content: Uint8Array): File => ({ name, size: content.length, body: Stream.make(content) })
const json = (name: string, value: unknown) => text(name, new TextEncoder().encode(JSON.stringify(value)))

/** A tar on its way into a file, which has another name until it is whole. */
const openTar = (path: string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const tar = pack()
      const partial = `${path}.${uniqueName("partial")}`
      const out = createWriteStream(partial)
      const closed = new Promise<void>((resolve, reject) => {
        out.on("close", resolve).on("error", reject)
        tar.on("error", reject)
      })
      closed.catch(() => {})
      tar.pipe(out)
      return { tar, partial, out, closed }
    }),
    ({ out, partial, tar }) =>
      quietly(partial)(
        Effect.promise(async () => {
          tar.destroy()
          out.destroy()
          await rm(partial, { force: true })
        })
      )
  )

const writeFile = Effect.fnUntraced(function* (tar: Pack, { body, name, size }: File) {
  const entry = tar.entry({ name, size, mode: 0o644, mtime: new Date(0) })
  // What breaks the tar breaks its entries; it is told once, by the tar.
  entry.on("error", () => {})
  yield* Stream.runForEach(body, (chunk) =>
    Effect.callback<void>((resume) => {
      if (entry.write(chunk)) resume(Effect.void)
      else entry.once("drain", () => resume(Effect.void))
    })
  )
  entry.end(undefined)
})

/** Every time in the tar is 0, so the same images give the same bytes. */
const writeTar = Effect.fnUntraced(function* (path: string, files: ReadonlyArray<File>) {
  const { closed, partial, tar } = yield* openTar(path)
  const write = Effect.forEach(files, (file) => writeFile(tar, file), { discard: true }).pipe(
    Effect.andThen(Effect.sync(() => tar.finalize())),
    // The file closes when everything is in it, or when the disk is full; a write into it then never ends.
    Effect.andThen(Effect.never)
  )
  yield* Effect.raceFirst(write, Effect.tryPromise({ try: () => closed, catch: failure(path) }))
  yield* Effect.tryPromise({ try: () => rename(partial, path), catch: failure(path) })
}, Effect.scoped)

/**
 * Writes images to a tar file, with everything that they refer to and that is here. The file appears when it is whole.
 *
 * Fails with `ContainerdError` (`NotFound`) for an image that is not there or not whole, and with `ArchiveError` when
 * the file cannot be written.
 */
export const exportArchive = Effect.fn("Archive.export")(
  function* (names: ReadonlyArray<string>, path: string) {
    const images = yield* Images
    const store = yield* ContentStore.ContentStore
    const records = yield* Effect.forEach(names, images.get, { concurrency: "unbounded" })
    yield* Effect.forEach(records, ({ target }) => Leases.hold(target), { discard: true })
    const blobs = new Map<string, Descriptor.Descriptor>()
    for (const { target } of records) yield* collect(target, blobs)
    const docker = (yield* Effect.forEach(records, dockerEntry)).flat()
    yield* writeTar(path, [
      json("oci-layout", { imageLayoutVersion: "1.0.0" }),
      text("index.json", indexOf(records).bytes),
      json("manifest.json", docker),
      ...[...blobs.values()].map((blob) => ({ name: blobPath(blob), size: blob.size, body: store.read(blob.digest) }))
    ])
  },
  (effect) => Effect.suspend(() => Leases.withLease({ id: uniqueName("effect-containerd/export") })(effect))
)
