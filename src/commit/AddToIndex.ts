/**
 * Adds the new image to a multi-platform index, as `buildah commit --manifest` does; part of step `createImage`.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as ContentStore from "../core/ContentStore.ts"
import * as Images from "../core/Images.ts"
import * as Leases from "../core/Leases.ts"
import type * as Descriptor from "../oci/Descriptor.ts"
import * as ImageConfig from "../oci/ImageConfig.ts"
import * as Index from "../oci/Index.ts"
import * as MediaType from "../oci/MediaType.ts"
import * as Platform from "../oci/Platform.ts"
import type { Base } from "./Base.ts"
import { ContainerBusy, InvalidOption } from "./CommitError.ts"
import { step } from "./Run.ts"

/** What is there must be an index; asked for before the container is read, too. */
export const checkIndex = Effect.fnUntraced(function* (name: string) {
  const found = yield* Images.find(name)
  if (Option.isNone(found) || MediaType.isIndex(found.value.target.mediaType)) return found
  const message = `${name} is a single image, to which none can be added: give another name, or remove it`
  return yield* new InvalidOption({ option: "manifest", message })
})

const nameOf = (platform: Platform.Platform) => Platform.format(Platform.normalize(platform))

/** However they write it: other tools say `arm64/v8` for `arm64`. */
const isSame = (one: Platform.Platform | undefined, other: Platform.Platform) =>
  one !== undefined && nameOf(one) === nameOf(other)

/** An image of the same platform makes room. */
const extended = (
  { manifests }: Index.Index,
  target: Descriptor.Descriptor,
  platform: Platform.Platform
): ReadonlyArray<Descriptor.Descriptor> => [
  ...(manifests ?? []).filter((other) => other.digest !== target.digest && !isSame(other.platform, platform)),
  { ...target, platform }
]

const newIndex = ({ format }: Base): Index.Index => ({
  schemaVersion: 2,
  mediaType: format === "oci" ? MediaType.ociIndex : MediaType.dockerManifestList,
  manifests: []
})

const readIndex = Effect.fnUntraced(function* ({ target }: Images.Image) {
  yield* Leases.hold(target)
  const bytes = yield* ContentStore.readBytes(target)
  return (yield* Effect.fromResult(Index.decode(bytes, target.mediaType))).value
})

/** Under the index's lock. */
export const addToIndex = Effect.fnUntraced(function* (name: string, target: Descriptor.Descriptor, base: Base) {
  const found = yield* checkIndex(name)
  const index = Option.isSome(found) ? yield* readIndex(found.value) : newIndex(base)
  const manifests = extended(index, target, ImageConfig.platform(base.config))
  const { bytes, descriptor } = Index.encode({ ...index, manifests })
  const labels = manifests.map(({ digest }, i) => [`containerd.io/gc.ref.content.m.${i}`, digest])
  const store = yield* ContentStore.ContentStore
  yield* store.writeBytes(bytes, { mediaType: descriptor.mediaType, labels: Object.fromEntries(labels) })
  const image: Images.Image = {
    name,
    target: descriptor,
    labels: Option.match(found, { onNone: () => ({}), onSome: ({ labels }) => labels })
  }
  yield* Images.put(image)
  return image
})

const patience = Schedule.exponential("20 millis").pipe(Schedule.jittered, Schedule.upTo({ duration: "10 seconds" }))

/** One commit at a time adds to an index, across processes: a lease is the lock, held until the scope closes. */
export const lockIndex = (name: string) => {
  const message = `another commit is adding to ${name}: try again when it is done`
  return Leases.scoped({ id: `effect-containerd/index/${name}`, expiresIn: "1 minute" }).pipe(
    Effect.retry({ while: ({ reason }) => reason._tag === "AlreadyExists", schedule: patience }),
    Effect.catchReason("ContainerdError", "AlreadyExists", () => new ContainerBusy({ message })),
    step("createImage")
  )
}
