/**
 * What surrounds each step of a commit: its span, its time, its progress event, and the name of the container and the
 * step on whatever goes wrong in it.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Ref from "effect/Ref"
import { CommitError, type Reason, type Step } from "./CommitError.ts"

/** Milliseconds by step; a step that was not needed is not there. */
export type Timings = { readonly [S in Step]?: number }

/** The commit that is being made. */
export class Run extends Context.Service<
  Run,
  {
    readonly container: string
    readonly timings: Ref.Ref<Timings>
    /** How long the container was frozen. */
    readonly pausedMs: Ref.Ref<number>
  }
>()("effect-containerd/Run") {}

export type Event =
  | { readonly _tag: "StepStarted"; readonly container: string; readonly step: Step }
  | { readonly _tag: "StepEnded"; readonly container: string; readonly step: Step; readonly durationMs: number }

/** Where the events of commits go; nowhere by default. Set it with `Effect.provideService(Progress, …)`. */
export const Progress = Context.Reference<(event: Event) => Effect.Effect<void>>("effect-containerd/Progress", {
  defaultValue: () => () => Effect.void
})

/** Makes an effect a step of the commit; steps may stand inside of steps, the innermost names the failure. */
export const step =
  (step: Step) =>
  <A, E extends Reason | CommitError, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, CommitError, R | Run> =>
    Effect.gen(function* () {
      const { container, timings } = yield* Run
      const emit = yield* Progress
      const started = yield* Clock.currentTimeMillis
      yield* emit({ _tag: "StepStarted", container, step })
      const result = yield* self.pipe(
        Effect.mapError((error: Reason | CommitError) =>
          error._tag === "CommitError" ? error : new CommitError({ container, step, reason: error })
        ),
        Effect.annotateLogs({ module: "effect-containerd/Commit", container, step }),
        Effect.withSpan(`Commit.${step}`, { attributes: { "container.id": container } })
      )
      const durationMs = (yield* Clock.currentTimeMillis) - started
      yield* Ref.update(timings, (all) => ({ ...all, [step]: (all[step] ?? 0) + durationMs }))
      yield* emit({ _tag: "StepEnded", container, step, durationMs })
      return result
    })
