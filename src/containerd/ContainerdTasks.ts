/** @since 0.1.0 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Tasks from "../core/Tasks.ts"
import { Connection } from "./Connection.ts"
import { orGone } from "./Convert.ts"
import { services } from "./Wire.ts"

const statuses: Readonly<Record<string, Tasks.Status>> = {
  CREATED: "created",
  RUNNING: "running",
  STOPPED: "stopped",
  PAUSED: "paused",
  PAUSING: "pausing"
}

const none: Tasks.Task = { status: "none", pid: 0 }

const make = Effect.gen(function* () {
  const { unary } = yield* Connection
  const { tasks } = services()
  return Tasks.make({
    get: (containerId) =>
      unary(tasks.Get, { containerId }).pipe(
        Effect.map(({ process }) => ({
          status: statuses[process?.status ?? ""] ?? "unknown",
          pid: process?.pid ?? 0
        })),
        Effect.catchReason("ContainerdError", "NotFound", () => Effect.succeed(none))
      ),
    pause: (containerId) => Effect.asVoid(unary(tasks.Pause, { containerId })),
    resume: (containerId) => orGone(unary(tasks.Resume, { containerId }))
  })
})

export const layer: Layer.Layer<Tasks.Tasks, never, Connection> = Layer.effect(Tasks.Tasks, make)
