/**
 * How the commits of several containers keep step, so that their images are of one moment: `Commit.commitAll`.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Ref from "effect/Ref"
import { quietly } from "../core/Finalizer.ts"
import { type Image, Images } from "../core/Images.ts"

/** `ready`: nothing is left but to pause; `frozen`; `read`: what is frozen may run again; `written`: all but the records. */
export type Point = "ready" | "frozen" | "read" | "written"

/** A record that a commit has made, and what the name stood for. */
export interface Made {
  readonly image: Image
  readonly before: Image | undefined
}

/** A commit alone waits for nobody. */
export const Together = Context.Reference<{
  /** A record may be taken back, so what its name stood for has to be kept. */
  readonly takesBack: boolean
  readonly meet: (point: Point) => Effect.Effect<void>
  readonly made: (made: Made) => Effect.Effect<void>
}>("effect-containerd/Together", {
  defaultValue: () => ({ takesBack: false, meet: () => Effect.void, made: () => Effect.void })
})

export const meet = (point: Point): Effect.Effect<void> => Effect.flatMap(Together, (together) => together.meet(point))

/** Opens when as many have come as there are. */
const makePoint = Effect.fnUntraced(function* (size: number) {
  const open = yield* Deferred.make<void>()
  let missing = size
  return Effect.suspend(() => {
    missing -= 1
    return missing === 0 ? Effect.asVoid(Deferred.succeed(open, undefined)) : Deferred.await(open)
  })
})

const takeBack = ({ before, image }: Made) =>
  Effect.flatMap(Images, (images) =>
    quietly(`image ${image.name}`)(before === undefined ? images.delete(image.name) : images.update(before))
  )

/** All records or none: those that were made are taken back when it fails, once. */
export const takingBack = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R | Images> =>
  Effect.gen(function* () {
    const together = yield* Together
    if (together.takesBack) return yield* self
    const all = yield* Ref.make<ReadonlyArray<Made>>([])
    return yield* self.pipe(
      Effect.provideService(Together, {
        ...together,
        takesBack: true,
        made: (one) => Ref.update(all, (others) => [one, ...others])
      }),
      Effect.onError(() => Effect.flatMap(Ref.get(all), Effect.forEach(takeBack, { discard: true })))
    )
  })

/** Runs commits so that they meet, with all of their images or none. */
export const together = <A, E, R>(
  commits: ReadonlyArray<Effect.Effect<A, E, R>>
): Effect.Effect<ReadonlyArray<A>, E, R | Images> =>
  Effect.gen(function* () {
    const size = commits.length
    const points = {
      ready: yield* makePoint(size),
      frozen: yield* makePoint(size),
      read: yield* makePoint(size),
      written: yield* makePoint(size)
    }
    const { made, takesBack } = yield* Together
    const meet = (point: Point) => points[point]
    return yield* takingBack(Effect.all(commits, { concurrency: "unbounded" })).pipe(
      Effect.provideService(Together, { made, takesBack, meet })
    )
  })
