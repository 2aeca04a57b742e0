/**
 * One channel to a containerd, and the calls over it.
 *
 * Namespace and lease travel with the fiber, as they do in the context of containerd's Go client, and become headers
 * here. Interruption cancels a call. Every call is a span of kind `client`.
 *
 * @since 0.1.0
 */
import * as NodeStream from "@effect/platform-node/NodeStream"
import * as Grpc from "@grpc/grpc-js"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { ContainerdError, InvalidArgument } from "../core/ContainerdError.ts"
import { Lease } from "../core/Leases.ts"
import { CurrentNamespace } from "../core/Namespaces.ts"
import { toContainerdError } from "./GrpcError.ts"
import type { Method, SafeRequest } from "./Wire.ts"

export interface ConnectionOptions {
  /** The socket's path, or any target of gRPC. */
  readonly address: string
  /** Where the program sets no `CurrentNamespace`. */
  readonly namespace: string
  /** How long a metadata call may take. Calls that move data have no limit. */
  readonly timeout: Duration.Input
}

/** A bidirectional call, before anything was sent on it. */
export type Duplex<Request, Response> = Grpc.ClientDuplexStream<Request, Response>

/** Whether a call has the connection's time limit, or takes as long as its data does. */
export type Limit = "metadata" | "data"

export class Connection extends Context.Service<
  Connection,
  {
    readonly address: string
    readonly namespace: Effect.Effect<string>
    readonly unary: <Request, Response>(
      method: Method<Request, Response>,
      request: SafeRequest<Request>,
      limit?: Limit
    ) => Effect.Effect<Response, ContainerdError>
    readonly serverStream: <Request, Response>(
      method: Method<Request, Response>,
      request: SafeRequest<Request>
    ) => Stream.Stream<Response, ContainerdError>
    /** Cancelled with the scope. */
    readonly duplex: <Request, Response>(
      method: Method<Request, Response>
    ) => Effect.Effect<Duplex<Request, Response>, ContainerdError, Scope.Scope>
  }
>()("effect-containerd/containerd/Connection") {}

const channelOptions: Grpc.ChannelOptions = {
  // The server's own limit; the default of 4 MiB is too small for long lists.
  "grpc.max_receive_message_length": 16 * 1024 * 1024,
  // A daemon that was restarted is there again in moments, not after the default of up to two minutes.
  "grpc.initial_reconnect_backoff_ms": 50,
  "grpc.max_reconnect_backoff_ms": 1000,
  "grpc.use_local_subchannel_pool": 1
}

/** gRPC takes a bare path for a host name. */
const targetOf = (address: string) => (address.startsWith("/") ? `unix:${address}` : address)

/** `/containerd.services.images.v1.Images/Create` is `Images.Create`. */
const nameOf = (path: string) => path.slice(path.lastIndexOf(".") + 1).replace("/", ".")

/** Other characters make gRPC throw, and an empty header would be a lease named "". */
const isHeaderValue = (value: string) => /^[ -~]+$/.test(value)

// Whoever looks for the caller finds it on the span of the step.
const spanOptions = { kind: "client", captureStackTrace: false, attributes: { "rpc.system": "grpc" } } as const

/** The part of a streaming call that owning it needs. */
interface Cancellable {
  cancel(): void
  on(event: "error", listener: (cause: unknown) => void): unknown
}

/**
 * Cancelled with the scope. A call that is cancelled emits an error when nobody listens any more, which would end the
 * process, hence the listener that stays; real failures reach the other listeners just the same.
 */
const held = <Call extends Cancellable>(open: () => Call, onError: (cause: unknown) => ContainerdError) =>
  Effect.acquireRelease(
    Effect.try({
      try: () => {
        const call = open()
        call.on("error", () => {})
        return call
      },
      catch: onError
    }),
    (call) => Effect.sync(() => call.cancel())
  )

const make = Effect.fnUntraced(function* (options: ConnectionOptions) {
  const { address } = options
  const timeoutMs = Duration.toMillis(options.timeout)
  const client = yield* Effect.acquireRelease(
    Effect.sync(() => new Grpc.Client(targetOf(address), Grpc.credentials.createInsecure(), channelOptions)),
    (client) => Effect.sync(() => client.close())
  )
  const namespace = Effect.map(CurrentNamespace, (current) => current ?? options.namespace)
  const metadata = Effect.fnUntraced(function* (path: string) {
    const headers = new Grpc.Metadata()
    const lease = yield* Effect.serviceOption(Lease)
    const values = Object.entries({
      "containerd-namespace": yield* namespace,
      ...(Option.isSome(lease) ? { "containerd-lease": lease.value.id } : {})
    })
    for (const [name, value] of values) {
      if (!isHeaderValue(value)) {
        const message = `${JSON.stringify(value)} cannot be sent as ${name}: it takes printable ASCII, and not nothing`
        return yield* new ContainerdError({ method: nameOf(path), reason: new InvalidArgument({ message }) })
      }
      headers.set(name, value)
    }
    return headers
  })

  const callUnary = <Request, Response>(
    method: Method<Request, Response>,
    request: Request,
    headers: Grpc.Metadata,
    callOptions: Grpc.CallOptions
  ) => {
    const onError = toContainerdError(nameOf(method.path), address)
    return Effect.callback<Response, ContainerdError>((resume) => {
      const done = (error: Grpc.ServiceError | null, response?: Response) =>
        resume(
          error === null && response !== undefined
            ? Effect.succeed(response)
            : Effect.fail(onError(error ?? new Error("an empty answer")))
        )
      try {
        const { path, requestSerialize, responseDeserialize } = method
        const call = client.makeUnaryRequest(
          path,
          requestSerialize,
          responseDeserialize,
          request,
          headers,
          callOptions,
          done
        )
        return Effect.sync(() => call.cancel())
      } catch (cause) {
        // A request that cannot be serialised, or a channel that is closed.
        resume(Effect.fail(onError(cause)))
        return
      }
    })
  }

  return Connection.of({
    address,
    namespace,
    unary: (method, request, limit = "metadata") =>
      Effect.gen(function* () {
        const headers = yield* metadata(method.path)
        // gRPC measures it with the system's clock, so the program's own, which a test may have stopped, is of no use.
        const deadline = Date.now() + timeoutMs
        return yield* callUnary(method, request, headers, limit === "data" ? {} : { deadline })
      }).pipe(Effect.withSpan(nameOf(method.path), spanOptions)),
    serverStream: (method, request) =>
      Stream.unwrap(
        Effect.gen(function* () {
          const headers = yield* metadata(method.path)
          const onError = toContainerdError(nameOf(method.path), address)
          const { path, requestSerialize, responseDeserialize } = method
          const call = yield* held(
            () => client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, request, headers),
            onError
          )
          return NodeStream.fromReadable<ResponseOf<typeof method>, ContainerdError>({ evaluate: () => call, onError })
        })
      ).pipe(Stream.withSpan(nameOf(method.path), spanOptions)),
    duplex: (method) =>
      Effect.gen(function* () {
        const headers = yield* metadata(method.path)
        const { path, requestSerialize, responseDeserialize } = method
        return yield* held(
          () => client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize, headers),
          toContainerdError(nameOf(path), address)
        )
      }).pipe(Effect.withSpanScoped(nameOf(method.path), spanOptions))
  })
})

type ResponseOf<M> = M extends Method<infer _Request, infer Response> ? Response : never

/** Connects with the first call. Closed with the layer; calls that are under way end first. */
export const layer = (options: ConnectionOptions): Layer.Layer<Connection> => Layer.effect(Connection, make(options))
