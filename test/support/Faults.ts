import { Deferred, Effect, Layer, Ref, Stream } from "effect"
import { ContainerdError } from "effect-containerd"
import * as Connection from "effect-containerd/containerd/Connection"

/** How the nth call ends. */
export type Fault =
  /** The daemon never got it. */
  | "refused"
  /** The daemon did it, and the answer is lost. */
  | "lost"
  /** A bug of ours, in the middle of things. */
  | "defect"
  /** The program is interrupted while the call is under way. */
  | "interrupted"

export const faults: ReadonlyArray<Fault> = ["refused", "lost", "defect", "interrupted"]

const failure = (tag: Fault) =>
  new ContainerdError.ContainerdError({
    method: "Faults",
    reason:
      tag === "lost"
        ? new ContainerdError.Unavailable({ message: "the connection broke" })
        : new ContainerdError.Unknown({ message: "no such luck" })
  })

export interface Injection {
  /** Calls are counted from 1; 0 injects nothing. */
  readonly at: number
  readonly fault: Fault
  /** Done when the call of an `interrupted` fault is under way. */
  readonly reached: Deferred.Deferred<void>
  readonly calls: Ref.Ref<number>
}

export const inject = (at: number, fault: Fault): Effect.Effect<Injection> =>
  Effect.all({
    at: Effect.succeed(at),
    fault: Effect.succeed(fault),
    reached: Deferred.make<void>(),
    calls: Ref.make(0)
  })

/** A connection on which one call goes wrong; the finalizers' calls go through like the others. */
export const connection = (
  options: Connection.ConnectionOptions,
  { at, calls, fault, reached }: Injection
): Layer.Layer<Connection.Connection> => {
  const isHit = Effect.map(
    Ref.updateAndGet(calls, (n) => n + 1),
    (n) => n === at
  )
  const spoil = <A, E, R>(call: Effect.Effect<A, E, R>) =>
    Effect.flatMap(isHit, (hit): Effect.Effect<A, E | ContainerdError.ContainerdError, R> => {
      if (!hit) return call
      switch (fault) {
        case "refused":
          return Effect.fail(failure(fault))
        case "lost":
          return Effect.andThen(call, Effect.fail(failure(fault)))
        case "defect":
          return Effect.die(new Error("a bug"))
        case "interrupted":
          // Long enough to be interrupted; a finalizer cannot be, and goes on.
          return Effect.tap(call, Effect.andThen(Deferred.succeed(reached, undefined), Effect.sleep("500 millis")))
      }
    })
  const decorate = Effect.map(Connection.Connection, (real): Connection.Connection["Service"] => ({
    ...real,
    unary: (method, request, limit) => spoil(real.unary(method, request, limit)),
    serverStream: (method, request) => Stream.unwrap(spoil(Effect.succeed(real.serverStream(method, request)))),
    duplex: (method) => spoil(real.duplex(method))
  }))
  return Layer.effect(Connection.Connection, decorate).pipe(Layer.provide(Connection.layer(options)))
}
