/**
 * Step `pause`: a frozen container is an outage, so only a running one is frozen, and only while its files are read.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Ref from "effect/Ref"
import type * as Scope from "effect/Scope"
import { Tasks } from "../core/Tasks.ts"
import type { CommitError } from "./CommitError.ts"
import type { Request } from "./Options.ts"
import type { Source } from "./Resolve.ts"
import { Run, step } from "./Run.ts"

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

/** Runs an effect with the container frozen, if it runs and its freezing is asked for; resumes it in any case. */
export const whilePaused =
  (source: Source, request: Request) =>
  <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | CommitError, Exclude<R, Scope.Scope> | Tasks | Run> =>
    Effect.gen(function* () {
      if (!wanted(source, request)) return yield* Effect.scoped(self)
      const { pausedMs } = yield* Run
      const started = yield* Clock.currentTimeMillis
      const result = yield* Effect.scoped(Effect.andThen(paused(source), self))
      yield* Ref.set(pausedMs, (yield* Clock.currentTimeMillis) - started)
      return result
    })
