/**
 * The archives of `docker save` before Docker 25: a `manifest.json` that names files, without a manifest of the image.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { ContentStore } from "../core/ContentStore.ts"
import type * as Descriptor from "../oci/Descriptor.ts"
import * as Document from "../oci/Document.ts"
import * as Manifest from "../oci/Manifest.ts"
import * as MediaType from "../oci/MediaType.ts"
import * as Reference from "../oci/Reference.ts"
import { ArchiveError } from "./ArchiveError.ts"

const ManifestFile = Schema.Array(
  Document.open({
    Config: Schema.String,
    RepoTags: Schema.optionalKey(Schema.NullOr(Schema.Array(Schema.String))),
    Layers: Schema.Array(Schema.String)
  })
)

interface Contents {
  readonly blobs: ReadonlyMap<string, Descriptor.Descriptor>
}

const blobOf = (path: string, { blobs }: Contents, name: string, mediaType: string) => {
  const blob = blobs.get(name)
  return blob === undefined
    ? new ArchiveError({ message: `${path}: ${name} is missing from the archive` })
    : Effect.succeed({ ...blob, mediaType })
}

const canonical = (tag: string) =>
  Effect.map(Effect.fromResult(Reference.parse(tag)), (reference) =>
    Reference.format(Reference.withDefaultTag(reference))
  )

/** Writes a manifest for each image and gives it under each of its tags. The layers are tars as they were saved. */
export const images = Effect.fnUntraced(function* (path: string, bytes: Uint8Array, contents: Contents) {
  const store = yield* ContentStore
  const entries = yield* Effect.fromResult(Document.read(ManifestFile, "manifest.json")(bytes))
  const found = yield* Effect.forEach(entries, ({ Config, Layers, RepoTags }) =>
    Effect.gen(function* () {
      const config = yield* blobOf(path, contents, Config, MediaType.config("docker"))
      const layerType = MediaType.layer("docker", "uncompressed")
      const layers = yield* Effect.forEach(Layers, (name) => blobOf(path, contents, name, layerType))
      const mediaType = MediaType.manifest("docker")
      const manifest = Manifest.encode({ schemaVersion: 2, mediaType, config, layers }, mediaType)
      const target = yield* store.writeBytes(manifest.bytes, { mediaType })
      const tags = yield* Effect.forEach(RepoTags ?? [], canonical)
      return tags.length === 0 ? [{ name: undefined, target }] : tags.map((name) => ({ name, target }))
    })
  )
  return found.flat()
})
