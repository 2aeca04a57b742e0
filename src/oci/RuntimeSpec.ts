/**
 * The part of an OCI runtime spec (runtime-spec, config.md and config-linux.md) that a commit reads: what the container runs, its mounts
 * and its id maps. It is read, never written; `null` counts as absent, keys that it does not name are kept.
 */
import type * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Document from "./Document.ts"
import { nullable } from "./Json.ts"
import type { OciError } from "./OciError.ts"

/** `size` ids from `hostID` on are, inside the container, those from `containerID` on. */
export const IdMapping = Document.open({
  containerID: Schema.Natural,
  hostID: Schema.Natural,
  size: Schema.Natural
})
export type IdMapping = typeof IdMapping.Type

export const Mount = Document.open({
  destination: Schema.String,
  type: nullable(Schema.String),
  source: nullable(Schema.String),
  options: nullable(Schema.Array(Schema.String))
})
export type Mount = typeof Mount.Type

export const schema = Document.open({
  process: nullable(
    Document.open({
      user: nullable(Document.open({ uid: Schema.Natural, gid: Schema.Natural })),
      args: nullable(Schema.Array(Schema.String)),
      env: nullable(Schema.Array(Schema.String)),
      cwd: nullable(Schema.String)
    })
  ),
  root: nullable(Document.open({ path: Schema.String, readonly: nullable(Schema.Boolean) })),
  mounts: nullable(Schema.Array(Mount)),
  annotations: nullable(Schema.Record(Schema.String, Schema.String)),
  linux: nullable(
    Document.open({
      uidMappings: nullable(Schema.Array(IdMapping)),
      gidMappings: nullable(Schema.Array(IdMapping))
    })
  )
})
export type RuntimeSpec = typeof schema.Type

/** Fails as `Document.read` does. */
export const decode: (bytes: Uint8Array) => Result.Result<RuntimeSpec, OciError> = Document.read(schema, "runtime spec")
