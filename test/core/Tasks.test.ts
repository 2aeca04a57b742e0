import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Logger, Ref } from "effect"
import { TestClock } from "effect/testing"
import type { ContainerdError } from "../../src/core/ContainerdError.ts"
import * as Tasks from "../../src/core/Tasks.ts"
import { endingIn, endingOf, endings, eventually, failing, makeCalls, note, type Tag } from "./Fakes.ts"

interface Answers {
  readonly pause?: Effect.Effect<void, ContainerdError>
  readonly resume?: Effect.Effect<void, ContainerdError>
  readonly status?: Effect.Effect<Tasks.Status, ContainerdError>
}

const fake = Effect.fnUntraced(function* (answers: Answers = {}) {
  const { pause = Effect.void, resume = Effect.void, status = Effect.succeed("paused" as const) } = answers
  const calls = yield* makeCalls
  const tasks = Tasks.make({
    get: () => Effect.map(status, (status) => ({ status, pid: 7 })),
    pause: (id) => Effect.andThen(note(calls, `pause ${id}`), pause),
    resume: (id) => Effect.andThen(note(calls, `resume ${id}`), resume)
  })
  return { tasks, calls: Ref.get(calls) }
})

describe("paused", () => {
  it.effect.each(endings)("resumes on %s, after the work", (ending) =>
    Effect.gen(function* () {
      const { calls, tasks } = yield* fake()
      const exit = yield* endingIn(ending, (last) =>
        Effect.scoped(
          Effect.gen(function* () {
            yield* tasks.paused("c")
            assert.deepStrictEqual(yield* calls, ["pause c"])
            yield* last
          })
        )
      )
      assert.strictEqual(endingOf(exit), ending)
      assert.deepStrictEqual(yield* calls, ["pause c", "resume c"])
    })
  )

  it.effect("resumes when the interruption comes while it is pausing", () =>
    Effect.gen(function* () {
      const started = yield* Deferred.make<void>()
      const done = yield* Deferred.make<void>()
      const pause = Effect.andThen(Deferred.succeed(started, undefined), Deferred.await(done))
      const { calls, tasks } = yield* fake({ pause })
      const fiber = yield* Effect.forkChild(Effect.scoped(tasks.paused("c")))
      yield* Deferred.await(started)
      const interruption = yield* Effect.forkChild(Fiber.interrupt(fiber), { startImmediately: true })
      yield* Deferred.succeed(done, undefined)
      yield* Fiber.join(interruption)
      assert.deepStrictEqual(yield* calls, ["pause c", "resume c"])
    })
  )

  it.effect.each(["NotFound", "FailedPrecondition", "Unknown"] satisfies ReadonlyArray<Tag>)(
    "does not resume what it did not pause, for the runtime said %s",
    (tag) =>
      Effect.gen(function* () {
        const { calls, tasks } = yield* fake({ pause: Effect.fail(failing(tag)) })
        assert.deepStrictEqual(yield* Effect.exit(Effect.scoped(tasks.paused("c"))), Exit.fail(failing(tag)))
        assert.deepStrictEqual(yield* calls, ["pause c"])
      })
  )

  it.effect.each(["Unavailable", "DeadlineExceeded"] satisfies ReadonlyArray<Tag>)(
    "resumes what it may have paused, for the answer was %s, and fails with that",
    (tag) =>
      Effect.gen(function* () {
        const { calls, tasks } = yield* fake({ pause: Effect.fail(failing(tag)) })
        assert.deepStrictEqual(yield* Effect.exit(Effect.scoped(tasks.paused("c"))), Exit.fail(failing(tag)))
        assert.deepStrictEqual(yield* calls, ["pause c", "resume c"])
      })
  )

  it.effect("tries to resume again until it works", () =>
    Effect.gen(function* () {
      const left = yield* Ref.make(4)
      const resume = Effect.flatMap(
        Ref.getAndUpdate(left, (n) => n - 1),
        (n) => (n > 0 ? Effect.fail(failing("Unavailable")) : Effect.void)
      )
      const { calls, tasks } = yield* fake({ resume })
      assert.deepStrictEqual(yield* eventually(Effect.scoped(tasks.paused("c"))), Exit.void)
      assert.deepStrictEqual(yield* calls, ["pause c", ...Array.from({ length: 5 }, () => "resume c")])
    })
  )

  it.effect.each([
    ["keeps failing", Effect.fail(failing("Unavailable")), 9],
    ["hangs", Effect.never, 1],
    ["dies", Effect.die("defect"), 9]
  ] as const)("ends and says what to do when resume %s", ([, resume, times]) =>
    Effect.gen(function* () {
      const lines: Array<string> = []
      const logger = Logger.make(({ logLevel, message }) => {
        lines.push(`${logLevel} ${String(Array.isArray(message) ? message[0] : message)}`)
      })
      const { calls, tasks } = yield* fake({ resume })
      const program = Effect.scoped(Effect.andThen(tasks.paused("c"), Effect.fail("of the program")))
      const exit = yield* eventually(Effect.provide(program, Logger.layer([logger])))
      assert.deepStrictEqual(exit, Exit.fail("of the program"))
      assert.strictEqual((yield* calls).length, 1 + times)
      assert.deepStrictEqual(lines, ['Error container c is still paused: resume it with "ctr tasks resume c"'])
    })
  )

  it.effect.each(["running", "stopped", "none"] as const)(
    "is content with a resume that fails when the container is %s: an earlier one had worked",
    (status) =>
      Effect.gen(function* () {
        const { calls, tasks } = yield* fake({
          resume: Effect.fail(failing("FailedPrecondition")),
          status: Effect.succeed(status)
        })
        assert.deepStrictEqual(yield* Effect.exit(Effect.scoped(tasks.paused("c"))), Exit.void)
        assert.deepStrictEqual(yield* calls, ["pause c", "resume c"])
      })
  )

  const stillFrozen: ReadonlyArray<readonly [string, Effect.Effect<Tasks.Status, ContainerdError>]> = [
    ["paused", Effect.succeed("paused")],
    ["pausing", Effect.succeed("pausing")],
    ["unknown", Effect.succeed("unknown")],
    ["not to be had", Effect.fail(failing("Unavailable"))]
  ]
  it.effect.each(stillFrozen)("tries again when a resume fails and the status is %s", ([, status]) =>
    Effect.gen(function* () {
      const { calls, tasks } = yield* fake({ resume: Effect.fail(failing("Unavailable")), status })
      assert.deepStrictEqual(yield* eventually(Effect.scoped(tasks.paused("c"))), Exit.void)
      assert.strictEqual((yield* calls).length, 10)
    })
  )

  it.effect("gives up after half a minute", () =>
    Effect.gen(function* () {
      const { tasks } = yield* fake({ resume: Effect.never })
      const fiber = yield* Effect.forkChild(Effect.scoped(tasks.paused("c")), { startImmediately: true })
      yield* TestClock.adjust("29999 millis")
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(yield* Fiber.await(fiber), Exit.void)
    })
  )
})

describe("get and resume", () => {
  it.effect("are the backend's own, with their errors", () =>
    Effect.gen(function* () {
      const { calls, tasks } = yield* fake({ resume: Effect.fail(failing("Unknown")) })
      assert.deepStrictEqual(yield* tasks.get("c"), { status: "paused", pid: 7 })
      assert.deepStrictEqual(yield* Effect.exit(tasks.resume("c")), Exit.fail(failing("Unknown")))
      assert.deepStrictEqual(yield* calls, ["resume c"])
    })
  )
})
