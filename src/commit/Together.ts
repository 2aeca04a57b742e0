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
  /** Nothing that a commit has made is ever taken back by others. */
  readonly isAlone: boolean
  readonly meet: (point: Point) => Effect.Effect<void>
  readonly made: (made: Made) => Effect.Effect<void>
}>("effect-containerd/Together", {
  defaultValue: () => ({ isAlone: true, meet: () => Effect.void, made: () => Effect.void })
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

/** Runs commits so that they meet; when one fails, the records of the others are taken back. */
export const together = <A, E, R>(
  commits: ReadonlyArray<Effect.Effect<A, E, R>>
): Effect.Effect<ReadonlyArray<A>, E, R | Images> =>
  Effect.gen(function* () {
    const made = yield* Ref.make<ReadonlyArray<Made>>([])
    const size = commits.length
    const points = {
      ready: yield* makePoint(size),
      frozen: yield* makePoint(size),
      read: yield* makePoint(size),
      written: yield* makePoint(size)
    }
    return yield* Effect.all(commits, { concurrency: "unbounded" }).pipe(
      Effect.provideService(Together, {
        isAlone: false,
        meet: (point) => points[point],
        made: (one) => Ref.update(made, (all) => [one, ...all])
      }),
      Effect.onError(() => Effect.flatMap(Ref.get(made), (all) => Effect.forEach(all, takeBack, { discard: true })))
    )
  })
