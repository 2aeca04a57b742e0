import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Stream } from "effect"
import { checkCommittable } from "../../src/commit/FindContainer.ts"
import { check } from "../../src/commit/Options.ts"
import { Containers } from "../../src/core/Containers.ts"
import * as DockerContainers from "../../src/docker/DockerContainers.ts"
import * as EngineApi from "../../src/docker/EngineApi.ts"
import * as RuntimeSpec from "../../src/oci/RuntimeSpec.ts"

const inspected = {
  Id: "c1",
  Name: "/web",
  Created: "2026-11-27T12:00:00.123456789Z",
  Image: "",
  Driver: "overlayfs",
  State: { Dead: false, Status: "running", Pid: 7 },
  Mounts: [{ Destination: "/volume" }],
  HostConfig: { Tmpfs: { "/memory": "" } },
  Config: { Hostname: "h", Env: ["A=<&>\u2028"], Labels: {}, Healthcheck: { Interval: 9007199254740993n } }
} satisfies EngineApi.Container

/** The container as an engine tells of it. */
const get = (fields: Partial<EngineApi.Container> = {}) =>
  Effect.flatMap(Containers, (containers) =>
    Effect.all({ one: containers.get("web"), all: Stream.runCollect(containers.list()) })
  ).pipe(
    Effect.provide(
      DockerContainers.layer.pipe(
        Layer.provide(
          Layer.mock(EngineApi.EngineApi, {
            inspect: () => Effect.succeed({ ...inspected, ...fields }),
            list: Effect.succeed(["c1"]),
            info: Effect.succeed({ DockerRootDir: "/docker", DriverStatus: null })
          })
        )
      )
    )
  )

describe("containers of a Docker Engine", () => {
  it.effect.each([
    [{ Dead: false, Status: "removing", Pid: 0 }, "You cannot commit container c1 which is being removed"],
    [{ Dead: true, Status: "removing", Pid: 0 }, "You cannot commit container c1 which is Dead"],
    [{ Dead: true, Status: "dead", Pid: 0 }, "You cannot commit container c1 which is Dead"]
  ] as const)("%j is refused in Docker's words, and listed", ([State, message]) =>
    Effect.gen(function* () {
      const { all, one } = yield* get({ State })
      assert.lengthOf(all, 1)
      const error = yield* Effect.flip(checkCommittable(one, yield* check({ container: "web", allowSandboxed: true })))
      assert.deepStrictEqual([error._tag, error.message], ["Uncommittable", message])
    })
  )

  it.effect.each([
    ["created", "none", 0],
    ["running", "running", 7],
    ["paused", "paused", 7],
    ["restarting", "stopped", 0],
    ["exited", "stopped", 0],
    ["of another engine", "unknown", 7]
  ] as const)("%s is taken: %s", ([Status, status, Pid]) =>
    Effect.gen(function* () {
      const { one } = yield* get({ State: { Dead: false, Status, Pid } })
      yield* checkCommittable(one, yield* check({ container: "web" }))
      assert.deepStrictEqual(one.task, { status, pid: Pid })
    })
  )

  it.effect("give their config as Go writes it, and mark an image that has no parent", () =>
    Effect.gen(function* () {
      const { one } = yield* get()
      assert.strictEqual(
        Buffer.from(one.attachment?.bytes ?? []).toString(),
        '{"Hostname":"h","Env":["A=\\u003c\\u0026\\u003e\\u2028"],"Labels":{},"Healthcheck":{"Interval":9007199254740993}}'
      )
      assert.strictEqual(one.imageLabels?.["org.mobyproject.image.fromscratch"], "1")
      assert.strictEqual(one.imageLabels?.["org.mobyproject.image.parent"], "")
    })
  )

  it.effect("name what is mounted into them", () =>
    Effect.gen(function* () {
      const { one } = yield* get()
      const spec = yield* Effect.fromResult(RuntimeSpec.decode(one.spec))
      const destinations = (spec.mounts ?? []).map(({ destination }) => destination)
      assert.includeMembers(destinations, ["/volume", "/memory", "/etc/hosts"])
    })
  )
})
