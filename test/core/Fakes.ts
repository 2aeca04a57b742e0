/** What the tests of core share: errors, and the ways in which a program ends. */
import { type Cause, Deferred, Effect, Exit, Fiber, Ref, Schema } from "effect"
import { TestClock } from "effect/testing"
import { ContainerdError, Reason } from "../../src/core/ContainerdError.ts"

export type Tag = Exclude<Reason["_tag"], "DigestMismatch">

const decodeReason = Schema.decodeUnknownSync(Schema.toCodecJson(Reason))

export const failing = (tag: Tag) =>
  new ContainerdError({ method: "Test", reason: decodeReason({ _tag: tag, message: tag }) })

/** The calls that a fake was given, in order. */
export const makeCalls = Ref.make<ReadonlyArray<string>>([])

export const note = (calls: Ref.Ref<ReadonlyArray<string>>, call: string) => Ref.update(calls, (all) => [...all, call])

export type Ending = "success" | "failure" | "defect" | "interruption"
export const endings: ReadonlyArray<Ending> = ["success", "failure", "defect", "interruption"]

/** Lets all the time pass that a program waits for, and gives its exit. */
export const eventually = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(self, { startImmediately: true })
    yield* TestClock.adjust("1 hour")
    return yield* Fiber.await(fiber)
  })

/** Runs a program that does what it does and then ends in that way; gives its exit. */
export const endingIn = <A, E, R>(
  ending: Ending,
  program: (last: Effect.Effect<void, "failure">) => Effect.Effect<A, E, R>
): Effect.Effect<Exit.Exit<A, E>, never, R> =>
  Effect.gen(function* () {
    const reached = yield* Deferred.make<void>()
    const last = {
      success: Effect.void,
      failure: Effect.fail("failure" as const),
      defect: Effect.die("defect"),
      interruption: Effect.never
    }[ending]
    const ends = Effect.andThen(Deferred.succeed(reached, undefined), last)
    const fiber = yield* Effect.forkChild(program(ends), { startImmediately: true })
    yield* Deferred.await(reached)
    if (ending === "interruption") yield* Effect.forkChild(Fiber.interrupt(fiber), { startImmediately: true })
    yield* TestClock.adjust("1 hour")
    return yield* Fiber.await(fiber)
  })

/** `success`, or the kinds of what went wrong. */
export const endingOf = (exit: Exit.Exit<unknown, unknown>): string =>
  Exit.isSuccess(exit) ? "success" : exit.cause.reasons.map(nameOf).join()

const nameOf = (reason: Cause.Reason<unknown>): string =>
  ({ Fail: "failure", Die: "defect", Interrupt: "interruption" })[reason._tag]
