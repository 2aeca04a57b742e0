/**
 * Image configs: what an image runs and which layers it has (OCI image-spec, config.md), with the keys that Docker adds
 * (github.com/moby/docker-image-spec). Fields are in the order of Go's structs. What may be `null` is so in images that
 * Go programs wrote, and stays so. Every level keeps the keys that it does not name.
 */
import type * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { Digest } from "./Digest.ts"
import * as Document from "./Document.ts"
import { nullable } from "./Json.ts"
import * as MediaType from "./MediaType.ts"
import type { OciError } from "./OciError.ts"
import type { Platform } from "./Platform.ts"
import { Timestamp } from "./Timestamp.ts"

const Strings = Schema.Array(Schema.String)

// a set in Go: each key has {} as value
const KeySet = Schema.Record(Schema.String, Schema.Unknown)

/** Nanoseconds: a `number`, or a `bigint` from 2^53 (104 days) on. */
const Duration = Schema.Union([Schema.Int, Schema.BigInt])

/** Docker's health check. `Test` is `["NONE"]`, `["CMD", ...]` or `["CMD-SHELL", command]`; times are nanoseconds, 0 means inherited. */
export const Healthcheck = Document.open({
  Test: nullable(Strings),
  Interval: Schema.optionalKey(Duration),
  Timeout: Schema.optionalKey(Duration),
  StartPeriod: Schema.optionalKey(Duration),
  StartInterval: Schema.optionalKey(Duration),
  Retries: Schema.optionalKey(Schema.Int)
})
export type Healthcheck = typeof Healthcheck.Type

/** The defaults for containers of the image. */
export const ContainerConfig = Document.open({
  User: nullable(Schema.String),
  ExposedPorts: nullable(KeySet),
  Env: nullable(Strings),
  Entrypoint: nullable(Strings),
  Cmd: nullable(Strings),
  Volumes: nullable(KeySet),
  WorkingDir: nullable(Schema.String),
  Labels: nullable(Schema.Record(Schema.String, Schema.String)),
  StopSignal: nullable(Schema.String),
  ArgsEscaped: nullable(Schema.Boolean),
  Healthcheck: nullable(Healthcheck),
  OnBuild: nullable(Strings),
  Shell: nullable(Strings)
})
export type ContainerConfig = typeof ContainerConfig.Type

/** What of a container's config goes into an image (moby's `containerConfigToDockerOCIImageConfig`). */
const imageKeys: ReadonlySet<string> = new Set([
  ...["User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal"],
  ...["ArgsEscaped", "Healthcheck", "OnBuild", "Shell"]
])

const isNothing = (value: unknown) => value === null || value === "" || value === false

/** Of what `docker inspect` says of a container, the part that an image has; without what Go's `omitempty` leaves out. */
export const ofContainer = (config: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> =>
  Object.fromEntries(Object.entries(config).filter(([key, value]) => imageKeys.has(key) && !isNothing(value)))

/** One step of the build. A step with `empty_layer` has no layer; the others have one each, in order. */
export const History = Document.open({
  created: nullable(Timestamp),
  created_by: Schema.optionalKey(Schema.String),
  author: Schema.optionalKey(Schema.String),
  comment: Schema.optionalKey(Schema.String),
  empty_layer: Schema.optionalKey(Schema.Boolean)
})
export type History = typeof History.Type

/** `diff_ids` are the digests of the uncompressed layers, the lowest first. */
export const schema = Document.open({
  created: nullable(Timestamp),
  author: Schema.optionalKey(Schema.String),
  architecture: Schema.String,
  os: Schema.String,
  "os.version": Schema.optionalKey(Schema.String),
  "os.features": nullable(Strings),
  variant: Schema.optionalKey(Schema.String),
  config: nullable(ContainerConfig),
  rootfs: Document.open({
    type: Schema.Literal("layers"),
    diff_ids: Schema.NullOr(Schema.Array(Digest))
  }),
  history: nullable(Schema.Array(History))
})
export type ImageConfig = typeof schema.Type

/** Fails as `Document.read` does. */
export const decode = (
  bytes: Uint8Array,
  mediaType: string = MediaType.ociConfig
): Result.Result<Document.Document<ImageConfig>, OciError> => Document.decode(schema, mediaType)(bytes)

/** As `Document.encode`. */
export const encode = (config: ImageConfig, mediaType: string = MediaType.ociConfig): Document.Document<ImageConfig> =>
  Document.encode(schema, mediaType)(config)

export const diffIds = (config: ImageConfig): ReadonlyArray<Digest> => config.rootfs.diff_ids ?? []

export const history = (config: ImageConfig): ReadonlyArray<History> => config.history ?? []

/** As the config names it, not normalized. */
export const platform = (config: ImageConfig): Platform => {
  const { architecture, os, variant, "os.version": version, "os.features": features } = config
  return {
    architecture,
    os,
    ...(version === undefined ? {} : { "os.version": version }),
    ...(features === undefined || features === null ? {} : { "os.features": features }),
    ...(variant === undefined ? {} : { variant })
  }
}
