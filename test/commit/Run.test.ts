import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Ref } from "effect"
import { TestClock } from "effect/testing"
import { CommitError, ContainerBusy, ContainerNotFound, type Step } from "../../src/commit/CommitError.ts"
import * as Run from "../../src/commit/Run.ts"
import { ContainerdError, NotFound, Unavailable } from "../../src/core/ContainerdError.ts"

const { step } = Run

/** Runs steps and gives what came of them, their times and their events. */
const ran = <A, E>(self: Effect.Effect<A, E, Run.Run>) =>
  Effect.gen(function* () {
    const timings = yield* Ref.make<Run.Timings>({})
    const pausedMs = yield* Ref.make(0)
    const events: Array<string> = []
    const exit = yield* self.pipe(
      Effect.provideService(Run.Run, { container: "c", timings, pausedMs }),
      Effect.provideService(Run.Progress, (event) =>
        Effect.sync(() => {
          const end = event._tag === "StepEnded" ? ` ${event.durationMs}` : ""
          events.push(`${event._tag} ${event.container} ${event.step}${end}`)
        })
      ),
      Effect.exit
    )
    return { exit, timings: yield* Ref.get(timings), events }
  })

const taking = (millis: number) => TestClock.adjust(millis)

describe("step", () => {
  it.effect("measures and tells of what it surrounds", () =>
    Effect.gen(function* () {
      const program = Effect.gen(function* () {
        const a = yield* Effect.as(taking(5), "a").pipe(step("resolve"))
        const b = yield* Effect.as(taking(0), "b").pipe(step("lease"))
        return a + b
      })
      assert.deepStrictEqual(yield* ran(program), {
        exit: Exit.succeed("ab"),
        timings: { resolve: 5, lease: 0 },
        events: ["StepStarted c resolve", "StepEnded c resolve 5", "StepStarted c lease", "StepEnded c lease 0"]
      })
    })
  )

  it.effect("adds up the times of a step that comes again", () =>
    Effect.gen(function* () {
      const program = Effect.andThen(taking(5).pipe(step("diff")), taking(7).pipe(step("diff")))
      const { events, timings } = yield* ran(program)
      assert.deepStrictEqual(timings, { diff: 12 })
      assert.strictEqual(events.at(-1), "StepEnded c diff 7")
    })
  )

  it.effect("counts a step inside of a step in both", () =>
    Effect.gen(function* () {
      const inner = taking(5).pipe(step("pause"))
      const { events, timings } = yield* ran(Effect.andThen(taking(1), inner).pipe(step("diff")))
      assert.deepStrictEqual(timings, { diff: 6, pause: 5 })
      assert.deepStrictEqual(events, [
        "StepStarted c diff",
        "StepStarted c pause",
        "StepEnded c pause 5",
        "StepEnded c diff 6"
      ])
    })
  )

  it.effect("names the container and the step on a failure, and does not end", () =>
    Effect.gen(function* () {
      const reason = new ContainerNotFound({ message: "there is none" })
      const { events, exit, timings } = yield* ran(Effect.fail(reason).pipe(step("resolve")))
      assert.deepStrictEqual(timings, {})
      assert.deepStrictEqual(events, ["StepStarted c resolve"])
      const error = Exit.isFailure(exit) && exit.cause.reasons[0]?._tag === "Fail" && exit.cause.reasons[0].error
      assert.instanceOf(error, CommitError)
      assert.deepStrictEqual([error.container, error.step, error.reason], ["c", "resolve", reason])
    })
  )

  it.effect("lets the innermost step name the failure", () =>
    Effect.gen(function* () {
      const failing = Effect.fail(new ContainerBusy({ message: "m" }))
      const nested = failing.pipe(step("unremap"), step("diff"), step("pause"))
      const { exit } = yield* ran(nested)
      const error = Exit.isFailure(exit) && exit.cause.reasons[0]?._tag === "Fail" && exit.cause.reasons[0].error
      assert.instanceOf(error, CommitError)
      assert.strictEqual(error.step, "unremap")
      assert.strictEqual(error.reason._tag, "ContainerBusy")
    })
  )

  it.effect("leaves defects and interruptions as they are", () =>
    Effect.gen(function* () {
      const died = yield* ran(Effect.die("defect").pipe(step("apply")))
      assert.isTrue(Exit.hasDies(died.exit))
      assert.strictEqual(Exit.isFailure(died.exit) && Cause.squash(died.exit.cause), "defect")
      const interrupted = yield* ran(Effect.interrupt.pipe(step("apply")))
      assert.isTrue(Exit.hasInterrupts(interrupted.exit))
    })
  )

  it.effect("is a span with the container's id", () =>
    Effect.gen(function* () {
      const { exit } = yield* ran(Effect.orDie(Effect.currentSpan).pipe(step("apply")))
      assert.isTrue(Exit.isSuccess(exit))
      if (Exit.isSuccess(exit)) {
        assert.strictEqual(exit.value.name, "Commit.apply")
        assert.strictEqual(exit.value.attributes.get("container.id"), "c")
      }
    })
  )
})

describe("CommitError", () => {
  const commitError = (reason: CommitError["reason"], at: Step = "apply") =>
    new CommitError({ container: "c", step: at, reason })
  const containerd = (reason: ContainerdError["reason"]) => new ContainerdError({ method: "Diff.Apply", reason })

  it("says the container, and of a failed call the step and the method", () => {
    const busy = commitError(new ContainerBusy({ message: "wait for it" }))
    assert.strictEqual(busy.message, "cannot commit container c: wait for it")
    const call = commitError(containerd(new NotFound({ message: "no such blob" })))
    assert.strictEqual(call.message, "cannot commit container c: no such blob (Diff.Apply in step apply)")
  })

  it("has its reason as cause", () => {
    const reason = new ContainerBusy({ message: "m" })
    assert.strictEqual(commitError(reason).cause, reason)
  })

  it("is worth a retry when somebody else was at it, or when nobody answered", () => {
    assert.isTrue(commitError(new ContainerBusy({ message: "m" })).isRetryable)
    assert.isTrue(commitError(containerd(new Unavailable({ message: "m" }))).isRetryable)
    assert.isFalse(commitError(containerd(new NotFound({ message: "m" }))).isRetryable)
    assert.isFalse(commitError(new ContainerNotFound({ message: "m" })).isRetryable)
  })
})
