/**
 * Image manifests: the config and the layers of one image (OCI image-spec, manifest.md; Docker's manifest version 2 schema 2).
 */
import type * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { Descriptor } from "./Descriptor.ts"
import * as Document from "./Document.ts"
import * as MediaType from "./MediaType.ts"
import type { OciError } from "./OciError.ts"

/** Layers from the lowest to the topmost; `null` is what Go writes for none. Keys that it does not name are kept. */
export const schema = Document.open({
  schemaVersion: Schema.Literal(2),
  mediaType: Schema.optionalKey(Schema.String),
  artifactType: Schema.optionalKey(Schema.String),
  config: Descriptor,
  layers: Schema.NullOr(Schema.Array(Descriptor)),
  subject: Schema.optionalKey(Descriptor),
  annotations: Schema.optionalKey(Schema.Record(Schema.String, Schema.String))
}).check(
  // containerd refuses these too: read as the other kind, the same digest would mean another image
  Schema.makeFilter((manifest) =>
    "manifests" in manifest || MediaType.isIndex(manifest.mediaType ?? "") ? "an index, not a manifest" : true
  )
)
export type Manifest = typeof schema.Type

/** `mediaType` is that of the blob's descriptor. Fails as `Document.read` does, and on an index. */
export const decode = (
  bytes: Uint8Array,
  mediaType: string = MediaType.ociManifest
): Result.Result<Document.Document<Manifest>, OciError> => Document.decode(schema, mediaType)(bytes)

/** As `Document.encode`; the media type is by default the one that the manifest names, else OCI's. */
export const encode = (
  manifest: Manifest,
  mediaType: string = manifest.mediaType ?? MediaType.ociManifest
): Document.Document<Manifest> => Document.encode(schema, mediaType)(manifest)
