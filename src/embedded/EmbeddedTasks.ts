/**
 * Containers of this backend are directories: nothing runs in them.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { ContainerdError, FailedPrecondition } from "../core/ContainerdError.ts"
import * as Tasks from "../core/Tasks.ts"

const nothingRuns = (container: string) =>
  new ContainerdError({
    method: "Tasks.Pause",
    reason: new FailedPrecondition({ message: `container ${JSON.stringify(container)} has no task to pause` })
  })

export const layer: Layer.Layer<Tasks.Tasks> = Layer.succeed(
  Tasks.Tasks,
  Tasks.make({
    get: () => Effect.succeed({ status: "none", pid: 0 }),
    pause: nothingRuns,
    resume: () => Effect.void
  })
)
