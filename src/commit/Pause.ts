/**
 * Step `pause`: a frozen container is an outage, so only a running one is frozen, and only while its files are read.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Ref from "effect/Ref"
import * as Scope from "effect/Scope"
import { Tasks } from "../core/Tasks.ts"
import type { HostUnavailable } from "../host/HostUnavailable.ts"
import type { Request } from "./Options.ts"
import type { Source } from "./Resolve.ts"
import { Run, step } from "./Run.ts"
import { meet } from "./Together.ts"

/** Whether this commit is going to freeze the container. */
export const wanted = (source: Source, request: Request): boolean => request.pause && source.status === "running"

/**
 * Whether a container is frozen by its daemon even where this host could do it: so that whoever watches the daemon sees
 * that, as of `docker commit`, which takes some tens of milliseconds more. Not by default.
 */
export const VisiblePause = Context.Reference<boolean>("effect-containerd/VisiblePause", { defaultValue: () => false })

/** A quicker way than the daemon's. When it fails nothing is frozen. */
export type Freeze = Effect.Effect<void, HostUnavailable, Scope.Scope>

/** Freezes the container until the scope closes, unless it came to rest by itself since it was resolved. */
const byDaemon = Effect.fnUntraced(function* (source: Source) {
  const tasks = yield* Tasks
  yield* tasks
    .paused(source.id)
    .pipe(
      Effect.catch((error) =>
        Effect.flatMap(tasks.get(source.id), ({ status }) =>
          status === "running" || error.isRetryable ? Effect.fail(error) : Effect.void
        )
      )
    )
})

const paused = (source: Source, freeze: Freeze | undefined) =>
  (freeze === undefined
    ? byDaemon(source)
    : Effect.catch(freeze, ({ message }) =>
        Effect.andThen(Effect.logDebug(`frozen by the daemon: ${message}`), byDaemon(source))
      )
  ).pipe(step("pause"))

/** Freezes the container, if it runs and its freezing is asked for, until the scope closes. */
const pause = Effect.fnUntraced(function* (source: Source, request: Request, freeze: Freeze | undefined) {
  if (!wanted(source, request)) return
  const { pausedMs } = yield* Run
  const started = yield* Clock.currentTimeMillis
  // Finalizers run in reverse: when this one does, the container runs again.
  yield* Effect.addFinalizer(() => Effect.flatMap(Clock.currentTimeMillis, (now) => Ref.set(pausedMs, now - started)))
  yield* paused(source, freeze)
})

/** Reads the container's files while it is frozen. */
export const whileFrozen = <A, E, R>(source: Source, request: Request, read: Effect.Effect<A, E, R>, freeze?: Freeze) =>
  Effect.gen(function* () {
    const frozen = yield* Scope.fork(yield* Effect.scope)
    yield* meet("ready")
    yield* pause(source, request, freeze).pipe(Scope.provide(frozen))
    yield* meet("frozen")
    // Another way may be gone, by which it is frozen again.
    const result = yield* Effect.onError(read, (cause) => Scope.close(frozen, Exit.failCause(cause)))
    yield* meet("read")
    // To resume takes a while, and nothing that follows has to wait for it.
    yield* Effect.forkScoped(Effect.uninterruptible(Scope.close(frozen, Exit.void)), { startImmediately: true })
    return result
  })
