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

/** What a backend implements; {@link make} adds the resume that cannot be forgotten. */
export interface Primitives {
  readonly status: (container: string) => Effect.Effect<Status, ContainerdError>
  readonly pause: (container: string) => Effect.Effect<void, ContainerdError>
  /** A task that is gone is success: nothing is frozen. */
  readonly resume: (container: string) => Effect.Effect<void, ContainerdError>
}

export class Tasks extends Context.Service<
  Tasks,
  {
    readonly status: Primitives["status"]
    /** Unfreezes a task, whoever froze it: for recovery. */
    readonly resume: Primitives["resume"]
    /**
     * Freezes every process of a *running* container until the scope closes. A frozen container is an outage, and no
     * lease ends it: keep the scope small.
     */
    readonly paused: (container: string) => Effect.Effect<void, ContainerdError, Scope.Scope>
  }
>()("effect-containerd/Tasks") {}

/** Tries for half a minute, then says in the log how to do it by hand: a finalizer has nobody else to tell. */
const resumeSurely = (primitives: Primitives, container: string) =>
  primitives.resume(container).pipe(
    Effect.retry({ schedule: Schedule.exponential("50 millis"), times: 8 }),
    Effect.timeout("30 seconds"),
    Effect.ignoreCause({
      log: "Error",
      message: `container ${container} is still paused: resume it with "ctr tasks resume ${container}"`
    })
  )

export const make = (primitives: Primitives): Tasks["Service"] => ({
  status: primitives.status,
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
