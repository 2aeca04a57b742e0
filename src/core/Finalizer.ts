/**
 * Finalizers cannot fail, die or hang: a finalizer that dies turns every typed failure of the same cause into a defect.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"

/**
 * Runs a clean-up, tries again when it fails, gives up after 10 seconds, and logs instead of failing. `what` names the
 * thing in the log. Clean-ups are idempotent: what is gone already is success.
 */
export const quietly =
  (what: string) =>
  <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<void, never, R> =>
    self.pipe(
      Effect.sandbox,
      Effect.retry({ schedule: Schedule.exponential("50 millis"), times: 4 }),
      Effect.timeout("10 seconds"),
      Effect.ignoreCause({ log: "Warn", message: `could not clean up ${what}` })
    )
