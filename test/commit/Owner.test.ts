import { spawn, spawnSync } from "node:child_process"
import { existsSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Owner from "../../src/commit/Owner.ts"

/** The parts of `host boot pidns pid start`, with some of them replaced. */
const owner = (changes: Partial<Record<"host" | "boot" | "namespace" | "pid" | "start", string>>) =>
  Effect.map(Owner.current, (current) => {
    const [host = "", boot = "", namespace = "", pid = "", start = ""] = current.split(" ")
    const parts = { host, boot, namespace, pid, start, ...changes }
    return [parts.host, parts.boot, parts.namespace, parts.pid, parts.start].join(" ")
  })

const hasProc = existsSync("/proc/self/stat")

describe.runIf(hasProc)("the owner of a lease", () => {
  it.effect("names this process and is alive", () =>
    Effect.gen(function* () {
      const current = yield* Owner.current
      assert.match(current, /^\S+ [0-9a-f-]{36} pid:\[\d+\] \d+ \d+$/)
      assert.strictEqual(current.split(" ")[3], String(process.pid))
      assert.strictEqual(yield* Owner.current, current)
      assert.isFalse(yield* Owner.isDead(current))
    })
  )

  it.effect("is dead when its process is gone", () =>
    Effect.gen(function* () {
      const { pid } = spawnSync(process.execPath, ["--version"])
      assert.isTrue(yield* Owner.isDead(yield* owner({ pid: String(pid) })))
    })
  )

  it.effect("is dead when its pid was given to another process", () =>
    Effect.gen(function* () {
      const child = yield* Effect.acquireRelease(
        Effect.sync(() => spawn("sleep", ["60"], { stdio: "ignore" })),
        (child) => Effect.sync(() => child.kill("SIGKILL"))
      )
      assert.isTrue(yield* Owner.isDead(yield* owner({ pid: String(child.pid), start: "1" })))
      assert.isTrue(yield* Owner.isDead(yield* owner({ start: "1" })))
    })
  )

  it.effect("is dead when its machine was booted since", () =>
    Effect.gen(function* () {
      assert.isTrue(yield* Owner.isDead(yield* owner({ boot: "00000000-0000-0000-0000-000000000000" })))
    })
  )

  it.effect("may be alive on another machine, or where this process cannot see", () =>
    Effect.gen(function* () {
      const { pid } = spawnSync(process.execPath, ["--version"])
      const gone = { pid: String(pid), start: "1" }
      assert.isFalse(yield* Owner.isDead(yield* owner({ ...gone, host: "elsewhere" })))
      assert.isFalse(yield* Owner.isDead(yield* owner({ ...gone, host: "elsewhere", boot: "other" })))
      assert.isFalse(yield* Owner.isDead(yield* owner({ ...gone, namespace: "pid:[1]" })))
    })
  )
})

describe("what is no owner", () => {
  it.effect.each(["", " ", "somebody", "a b c d e"])("%j is not known to be dead", (text) =>
    Effect.gen(function* () {
      assert.isFalse(yield* Owner.isDead(text))
    })
  )
})
