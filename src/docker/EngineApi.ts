/**
 * The few calls of the Docker Engine API that a commit needs, over the engine's unix socket (docs.docker.com/engine/api).
 *
 * @since 0.1.0
 */
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import type * as HttpClientError from "effect/http/HttpClientError"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import {
  ContainerdError,
  FailedPrecondition,
  InvalidArgument,
  NotFound,
  PermissionDenied,
  type Reason,
  Unavailable,
  Unknown
} from "../core/ContainerdError.ts"
import { Digest } from "../oci/Digest.ts"
import * as Json from "../oci/Json.ts"

/** Of `GET /containers/{id}/json`, what a commit needs to know. */
export const Container = Schema.Struct({
  Id: Schema.String,
  Name: Schema.String,
  /** As RFC 3339 has it, in UTC. */
  Created: Schema.String,
  /** The digest of what the image's name stood for: of a multi-platform image that of its index. `""` for none. */
  Image: Schema.Union([Digest, Schema.Literal("")]),
  /** The snapshotter. */
  Driver: Schema.String,
  State: Schema.Struct({
    Dead: Schema.Boolean,
    Status: Schema.String,
    /** Of its first process; 0 for none. */
    Pid: Schema.Int
  }),
  Mounts: Schema.Array(Schema.Struct({ Destination: Schema.String })),
  HostConfig: Schema.Struct({
    /** A name of the engine's own, or that of a shim; none in records of old engines. */
    Runtime: Schema.optionalKey(Schema.String),
    /** What `--tmpfs` mounts, which is not in `Mounts`. */
    Tmpfs: Schema.optionalKey(Schema.NullOr(Schema.Record(Schema.String, Schema.String)))
  }),
  Config: Schema.Record(Schema.String, Schema.Unknown)
})
export type Container = typeof Container.Type

/** Of `GET /info`. */
export const Info = Schema.Struct({
  DockerRootDir: Schema.String,
  SecurityOptions: Schema.optionalKey(Schema.NullOr(Schema.Array(Schema.String))),
  /** By name. */
  Runtimes: Schema.optionalKey(
    Schema.NullOr(
      Schema.Record(
        Schema.String,
        Schema.Struct({ path: Schema.optionalKey(Schema.String), runtimeType: Schema.optionalKey(Schema.String) })
      )
    )
  ),
  DriverStatus: Schema.NullOr(Schema.Array(Schema.Array(Schema.String))),
  /** Since API 1.46. */
  Containerd: Schema.optionalKey(
    Schema.Struct({ Address: Schema.String, Namespaces: Schema.Struct({ Containers: Schema.String }) })
  )
})
export type Info = typeof Info.Type

const Listed = Schema.Array(Schema.Struct({ Id: Schema.String }))
const Message = Schema.Struct({ message: Schema.String })

export class EngineApi extends Context.Service<
  EngineApi,
  {
    /** By id, the start of an id, or name. Fails with `NotFound`. */
    readonly inspect: (container: string) => Effect.Effect<Container, ContainerdError>
    /** The ids of all containers, stopped ones included. */
    readonly list: Effect.Effect<ReadonlyArray<string>, ContainerdError>
    readonly info: Effect.Effect<Info, ContainerdError>
  }
>()("effect-containerd/docker/EngineApi") {}

const byStatus: ReadonlyMap<number, (message: string) => Reason> = new Map([
  [400, (message: string): Reason => new InvalidArgument({ message })],
  [404, (message: string): Reason => new NotFound({ message })],
  [409, (message: string): Reason => new FailedPrecondition({ message })],
  [503, (message: string): Reason => new Unavailable({ message })]
])

/** The engine says in `message` what was wrong. */
const refusal = Effect.fnUntraced(function* (method: string, response: HttpClientResponse.HttpClientResponse) {
  const { status } = response
  const said = yield* response.json.pipe(
    Effect.flatMap(Schema.decodeUnknownEffect(Message)),
    Effect.map(({ message }) => message),
    Effect.orElseSucceed(() => `the Docker Engine answered with the status ${status}`)
  )
  const reason = byStatus.get(status)?.(said) ?? new Unknown({ message: said })
  return yield* new ContainerdError({ method, reason })
})

const isDenied = ({ reason }: HttpClientError.HttpClientError) =>
  reason._tag === "TransportError" &&
  reason.cause instanceof Error &&
  "code" in reason.cause &&
  reason.cause.code === "EACCES"

const unreachable = (method: string, socket: string) => (cause: HttpClientError.HttpClientError) => {
  const denied = `this user may not open ${socket}: run as root, or as a member of the group docker`
  const silent = `the Docker Engine does not answer at ${socket}: start it, or give the path of its socket`
  const reason = isDenied(cause) ? new PermissionDenied({ message: denied }) : new Unavailable({ message: silent })
  return new ContainerdError({ method, reason, cause })
}

const strange = (method: string) => (cause: unknown) =>
  new ContainerdError({
    method,
    reason: new Unknown({ message: `the Docker Engine's answer is not what it should be: ${String(cause)}` }),
    cause
  })

const make = Effect.fnUntraced(function* (socket: string) {
  const client = yield* HttpClient.HttpClient
  const get = <S extends Schema.ConstraintDecoder<unknown>>(method: string, path: string, schema: S) =>
    Effect.gen(function* () {
      const response = yield* client.get(`http://docker${path}`).pipe(Effect.mapError(unreachable(method, socket)))
      if (response.status !== 200) return yield* refusal(method, response)
      const text = yield* Effect.mapError(response.text, strange(method))
      const body = yield* Effect.mapError(Effect.fromResult(Json.parse(text)), strange(method))
      return yield* Effect.mapError(Schema.decodeUnknownEffect(schema)(body), strange(method))
    }).pipe(Effect.timeoutOrElse({ duration: "30 seconds", orElse: () => late(method) }), Effect.withSpan(method))

  return EngineApi.of({
    inspect: (container) =>
      get("Docker.ContainerInspect", `/containers/${encodeURIComponent(container)}/json`, Container),
    list: Effect.map(get("Docker.ContainerList", "/containers/json?all=1", Listed), (all) => all.map(({ Id }) => Id)),
    info: get("Docker.Info", "/info", Info)
  })
})

const late = (method: string) =>
  new ContainerdError({
    method,
    reason: new Unavailable({ message: "the Docker Engine gave no answer in 30 seconds" })
  })

/** `socket`: a path. Nothing is asked yet. */
export const layer = (socket: string): Layer.Layer<EngineApi> =>
  Layer.effect(EngineApi, make(socket)).pipe(
    Layer.provide(NodeHttpClient.layerNodeHttpOptions({ socketPath: socket })),
    Layer.fresh
  )
