/**
 * Step `createImage`: the image appears, whole, or takes over a name without a moment in which that is gone.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Images from "../core/Images.ts"
import type * as Descriptor from "../oci/Descriptor.ts"
import type { Request } from "./Options.ts"
import { step } from "./Run.ts"

/** The name of an image without one (moby's `danglingImageName`); its digest makes it unique. */
const danglingName = (target: Descriptor.Descriptor) => `moby-dangling@${target.digest}`

/** Keeps an image under its dangling name before it loses its own, so that it is referred to at every moment. */
const keepAsDangling = Effect.fnUntraced(function* (name: string, replacement: Descriptor.Descriptor) {
  const images = yield* Images.Images
  const old = yield* images.get(name).pipe(
    Effect.asSome,
    Effect.catchReason("ContainerdError", "NotFound", () => Effect.succeedNone)
  )
  if (Option.isNone(old) || old.value.target.digest === replacement.digest) return
  yield* Images.put({ ...old.value, name: danglingName(old.value.target) })
})

/**
 * Writes the record; the last effect of a commit. An interruption waits for it, so that the image is there or not, and
 * is known to be.
 */
export const createImage = Effect.fnUntraced(
  function* (target: Descriptor.Descriptor, request: Request) {
    const name = Option.getOrElse(request.name, () => danglingName(target))
    if (request.keepReplaced === true && Option.isSome(request.name)) yield* keepAsDangling(name, target)
    const image: Images.Image = { name, target, labels: request.labels ?? {} }
    // After a lost answer the image may be there; putting it again finds out.
    const replaced = yield* Effect.retry(Images.put(image), { while: (error) => error.isRetryable, times: 2 })
    return { image, replaced }
  },
  Effect.uninterruptible,
  step("createImage")
)
