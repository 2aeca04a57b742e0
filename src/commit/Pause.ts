/**
 * Step `pause`: a frozen container is an outage, so only a running one is frozen, and only while its files are read.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Ref from "effect/Ref"
import * as Scope from "effect/Scope"
import { Tasks } from "../core/Tasks.ts"
import type { Request } from "./Options.ts"
import type { Source } from "./Resolve.ts"
import { Run, step } from "./Run.ts"
import { meet } from "./Together.ts"

/** Whether this commit is going to freeze the container. */
export const wanted = (source: Source, request: Request): boolean => request.pause && source.status === "running"

/** Freezes the container until the scope closes, unless it came to rest by itself since it was resolved. */
const paused = Effect.fnUntraced(function* (source: Source) {
  const tasks = yield* Tasks
  yield* tasks
    .paused(source.id)
    .pipe(
      Effect.catch((error) =>
        Effect.flatMap(tasks.status(source.id), (status) =>
          status === "running" || error.isRetryable ? Effect.fail(error) : Effect.void
        )
      )
    )
}, step("pause"))

/** Freezes the container, if it runs and its freezing is asked for, until the scope closes. */
const pause = Effect.fnUntraced(function* (source: Source, request: Request) {
  if (!wanted(source, request)) return
  const { pausedMs } = yield* Run
  const started = yield* Clock.currentTimeMillis
  // Finalizers run in reverse: when this one does, the container runs again.
  yield* Effect.addFinalizer(() => Effect.flatMap(Clock.currentTimeMillis, (now) => Ref.set(pausedMs, now - started)))
  yield* paused(source)
})

/** Reads the container's files while it is frozen. */
export const whileFrozen = <A, E, R>(source: Source, request: Request, read: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const frozen = yield* Scope.fork(yield* Effect.scope)
    yield* meet("ready")
    yield* pause(source, request).pipe(Scope.provide(frozen))
    yield* meet("frozen")
    const result = yield* read
    yield* meet("read")
    // To resume takes a while, and nothing that follows has to wait for it.
    yield* Effect.forkScoped(Effect.uninterruptible(Scope.close(frozen, Exit.void)), { startImmediately: true })
    return result
  })
