/**
 * Descriptors: what a blob is, by media type, digest and size (OCI image-spec, descriptor.md).
 */
import * as Schema from "effect/Schema"
import * as Digest from "./Digest.ts"
import { open } from "./Json.ts"
import { Platform } from "./Platform.ts"

/** `size` counts bytes; `data` is the blob itself in base64. Keys that it does not name are kept. */
export const Descriptor = open({
  mediaType: Schema.String,
  digest: Digest.Digest,
  size: Schema.Natural,
  urls: Schema.optionalKey(Schema.Array(Schema.String)),
  annotations: Schema.optionalKey(Schema.Record(Schema.String, Schema.String)),
  data: Schema.optionalKey(Schema.String),
  platform: Schema.optionalKey(Platform),
  artifactType: Schema.optionalKey(Schema.String)
})
export type Descriptor = typeof Descriptor.Type

/** Throws when a field is not what the schema says, such as a negative size. */
export const make = (fields: Descriptor): Descriptor => Descriptor.make(fields)

/** Describes `bytes`, by sha256. */
export const of = (mediaType: string, bytes: Uint8Array): Descriptor => ({
  mediaType,
  digest: Digest.fromBytes(bytes),
  size: bytes.length
})
