/**
 * Step `createImage`: the image appears, whole, or takes over names without a moment in which they are gone.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Images from "../core/Images.ts"
import { hold } from "../core/Leases.ts"
import type * as Descriptor from "../oci/Descriptor.ts"
import { addToIndex } from "./AddToIndex.ts"
import type { Base } from "./Base.ts"
import type { Request } from "./Options.ts"
import type { Source } from "./Resolve.ts"
import { step } from "./Run.ts"
import { Together, takingBack } from "./Together.ts"

/** The name of an image without one (moby's `danglingImageName`); its digest makes it unique. */
const danglingName = (target: Descriptor.Descriptor) => `moby-dangling@${target.digest}`

/** Labels that repeat an image's name. */
const nameLabels = ["io.containerd.image.name", "org.opencontainers.image.ref.name"]

/**
 * Keeps an image under its dangling name before it loses its last own, so that it is referred to at every moment (moby's
 * `softImageDelete`).
 */
const keepAsDangling = Effect.fnUntraced(function* (name: string, replacement: Descriptor.Descriptor) {
  const old = yield* Images.find(name)
  if (Option.isNone(old) || old.value.target.digest === replacement.digest) return
  const { labels, target } = old.value
  const named = yield* Images.pointingTo(target.digest)
  if (named.some((other) => other.name !== name)) return
  const kept = Object.fromEntries(Object.entries(labels).filter(([key]) => !nameLabels.includes(key)))
  yield* Images.put({ name: danglingName(target), target, labels: kept })
})

/** Gives the record of the name; its image stays, for it may get the name back. */
const holdOld = Effect.fnUntraced(function* (name: string) {
  const old = yield* Images.find(name)
  if (Option.isSome(old)) yield* hold(old.value.target)
  return Option.getOrUndefined(old)
})

const putOne = Effect.fnUntraced(function* (
  name: string,
  target: Descriptor.Descriptor,
  { imageLabels }: Source,
  request: Request
) {
  if (request.keepReplaced === true && request.names.length > 0) yield* keepAsDangling(name, target)
  const { made, takesBack } = yield* Together
  const before = takesBack ? yield* holdOld(name) : undefined
  const image: Images.Image = { name, target, labels: { ...imageLabels, ...request.labels } }
  const replaced = yield* Images.put(image)
  yield* made({ image, before })
  return { image, replaced }
})

const putIndex = Effect.fnUntraced(function* (name: string, target: Descriptor.Descriptor, base: Base) {
  const { made } = yield* Together
  const before = yield* holdOld(name)
  const image = yield* addToIndex(name, target, base)
  yield* made({ image, before })
  return image
})

const putAll = Effect.fnUntraced(function* (
  target: Descriptor.Descriptor,
  source: Source,
  base: Base,
  request: Request
) {
  const index = request.manifest === undefined ? undefined : yield* putIndex(request.manifest, target, base)
  const [first = danglingName(target), ...others] = request.names
  const { image, replaced } = yield* putOne(first, target, source, request)
  const rest = yield* Effect.forEach(others, (name) => putOne(name, target, source, request))
  return {
    image,
    index: Option.fromUndefinedOr(index),
    images: [image, ...rest.map((one) => one.image)],
    replaced: [replaced, ...rest.map((one) => one.replaced)].flatMap(Option.toArray)
  }
})

/**
 * Writes the records, all or none; the last effect of a commit. An interruption waits for it, so that the image is there or
 * not, and is known to be.
 */
export const createImages = (target: Descriptor.Descriptor, source: Source, base: Base, request: Request) => {
  const records = putAll(target, source, base, request)
  // Of one there is nothing to take back.
  const isOne = request.manifest === undefined && request.names.length <= 1
  return (isOne ? records : takingBack(records)).pipe(Effect.uninterruptible, step("createImage"))
}
