/**
 * Tasks: the running side of a container.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type { ContainerdError } from "./ContainerdError.ts"

/** `none`: the container has no task, it was never started or its task was deleted. */
export type Status = "none" | "created" | "running" | "stopped" | "paused" | "pausing" | "unknown"

export interface Task {
  readonly status: Status
  /** Of the container's first process, as the daemon sees it; 0 when there is none. */
  readonly pid: number
}

/** What a backend implements; {@link make} adds the resume that cannot be forgotten. */
export interface Primitives {
  readonly get: (container: string) => Effect.Effect<Task, ContainerdError>
  readonly pause: (container: string) => Effect.Effect<void, ContainerdError>
  /** A task that is gone is success: nothing is frozen. */
  readonly resume: (container: string) => Effect.Effect<void, ContainerdError>
}

export class Tasks extends Context.Service<
  Tasks,
  {
    readonly get: Primitives["get"]
    /** Unfreezes a task, whoever froze it: for recovery. */
    readonly resume: Primitives["resume"]
    /**
     * Freezes every process of a *running* container until the scope closes. A frozen container is an outage, and no
     * lease ends it: keep the scope small.
     */
    readonly paused: (container: string) => Effect.Effect<void, ContainerdError, Scope.Scope>
  }
>()("effect-containerd/Tasks") {}

/** Success once the container is not frozen: after a lost answer a second resume fails, with nothing left to do. */
const resumeOnce = ({ get, resume }: Primitives, container: string) =>
  resume(container).pipe(
    Effect.catch((error) =>
      Effect.flatMap(get(container), ({ status }) =>
        status === "running" || status === "stopped" || status === "none" ? Effect.void : Effect.fail(error)
      )
    )
  )

/** Tries for half a minute, then says in the log how to do it by hand: a finalizer has nobody else to tell. */
const resumeSurely = (primitives: Primitives, container: string) =>
  resumeOnce(primitives, container).pipe(
    Effect.sandbox,
    Effect.retry({ schedule: Schedule.exponential("50 millis"), times: 8 }),
    Effect.timeout("30 seconds"),
    Effect.ignoreCause({
      log: "Error",
      message: `container ${container} is still paused: resume it with "ctr tasks resume ${container}"`
    })
  )

export const make = (primitives: Primitives): Tasks["Service"] => ({
  get: primitives.get,
  resume: primitives.resume,
  paused: (container) =>
    Effect.acquireRelease(
      // After a lost answer the container may be frozen although the call failed.
      Effect.tapError(primitives.pause(container), (error) =>
        error.isRetryable ? resumeSurely(primitives, container) : Effect.void
      ),
      () => resumeSurely(primitives, container)
    )
})
