import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Logger, References } from "effect"
import { TestClock } from "effect/testing"
import { quietly } from "../../src/core/Finalizer.ts"
import { eventually, failing } from "./Fakes.ts"

describe("quietly", () => {
  const logged = (cleanUp: Effect.Effect<unknown, unknown>) =>
    Effect.gen(function* () {
      const lines: Array<string> = []
      const logger = Logger.make(({ logLevel, message }) => {
        lines.push(`${logLevel} ${String(Array.isArray(message) ? message[0] : message)}`)
      })
      let tries = 0
      const counted = Effect.suspend(() => {
        tries++
        return cleanUp
      })
      const exit = yield* eventually(
        quietly("the thing")(counted).pipe(
          Effect.provide(Logger.layer([logger])),
          Effect.provideService(References.MinimumLogLevel, "All")
        )
      )
      return { exit, lines, tries }
    })

  it.effect("runs the clean-up once when it works, and says nothing", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* logged(Effect.void), { exit: Exit.void, lines: [], tries: 1 })
    })
  )

  it.effect.each([
    ["a failure", Effect.fail(failing("Unavailable"))],
    ["a defect", Effect.die(new Error("defect"))],
    ["an interruption", Effect.interrupt]
  ] as const)("takes %s, when it stays, for a line in the log", ([, cleanUp]) =>
    Effect.gen(function* () {
      const lines = ["Warn could not clean up the thing"]
      assert.deepStrictEqual(yield* logged(cleanUp), { exit: Exit.void, lines, tries: 5 })
    })
  )

  it.effect.each([
    ["a failure", Effect.fail(failing("Unavailable"))],
    ["a defect", Effect.die(new Error("defect"))]
  ] as const)("tries again after %s", ([, problem]) =>
    Effect.gen(function* () {
      let left = 3
      const cleanUp = Effect.suspend(() => (left-- > 0 ? problem : Effect.void))
      assert.deepStrictEqual(yield* logged(cleanUp), { exit: Exit.void, lines: [], tries: 4 })
    })
  )

  it.effect("does not wait for longer than ten seconds, not even in a finalizer", () =>
    Effect.gen(function* () {
      const started = yield* Deferred.make<void>()
      const hanging = Effect.andThen(Deferred.succeed(started, undefined), Effect.never)
      const fiber = yield* Effect.forkChild(
        Effect.scoped(
          Effect.andThen(
            Effect.acquireRelease(Effect.void, () => quietly("the thing")(hanging)),
            Effect.fail("of the program")
          )
        )
      )
      yield* Deferred.await(started)
      yield* TestClock.adjust("9999 millis")
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(yield* Fiber.await(fiber), Exit.fail("of the program"))
    })
  )
})
