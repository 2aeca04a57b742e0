/**
 * Image indexes: the manifests of one image for several platforms (OCI image-spec, image-index.md; Docker's manifest list).
 */
import type * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { Descriptor } from "./Descriptor.ts"
import * as Document from "./Document.ts"
import * as MediaType from "./MediaType.ts"
import type { OciError } from "./OciError.ts"

/** `manifests` is `null` where Go wrote none. Keys that it does not name are kept. */
export const schema = Document.open({
  schemaVersion: Schema.Literal(2),
  mediaType: Schema.optionalKey(Schema.String),
  artifactType: Schema.optionalKey(Schema.String),
  manifests: Schema.NullOr(Schema.Array(Descriptor)),
  subject: Schema.optionalKey(Descriptor),
  annotations: Schema.optionalKey(Schema.Record(Schema.String, Schema.String))
}).check(
  // containerd refuses these too: read as the other kind, the same digest would mean another image
  Schema.makeFilter((index) =>
    "config" in index || "layers" in index || MediaType.isManifest(index.mediaType ?? "")
      ? "a manifest, not an index"
      : true
  )
)
export type Index = typeof schema.Type

/** `mediaType` is that of the blob's descriptor. Fails as `Document.read` does, and on a manifest. */
export const decode = (
  bytes: Uint8Array,
  mediaType: string = MediaType.ociIndex
): Result.Result<Document.Document<Index>, OciError> => Document.decode(schema, mediaType)(bytes)

/** As `Document.encode`; the media type is by default the one that the index names, else OCI's. */
export const encode = (
  index: Index,
  mediaType: string = index.mediaType ?? MediaType.ociIndex
): Document.Document<Index> => Document.encode(schema, mediaType)(index)
