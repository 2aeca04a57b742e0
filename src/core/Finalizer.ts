/**
 * Finalizers cannot fail, die or hang: a finalizer that dies turns every typed failure of the same cause into a defect.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"

/** Runs a clean-up for at most 10 seconds and logs instead of failing. `what` names the thing in the log. */
export const quietly =
  (what: string) =>
  <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<void, never, R> =>
    self.pipe(Effect.timeout("10 seconds"), Effect.ignoreCause({ log: "Warn", message: `could not clean up ${what}` }))
