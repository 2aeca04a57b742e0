/**
 * Image records: a name that points to a descriptor. Everything the target refers to stays for as long as the record.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Descriptor from "../oci/Descriptor.ts"
import type { Digest } from "../oci/Digest.ts"
import { ContainerdError, Unavailable } from "./ContainerdError.ts"

export interface Image {
  /** Free text for containerd, a normalised reference by convention (`docker.io/library/app:1`). */
  readonly name: string
  readonly target: Descriptor.Descriptor
  readonly labels: Readonly<Record<string, string>>
}

export class Images extends Context.Service<
  Images,
  {
    /** Fails with `NotFound`. */
    readonly get: (name: string) => Effect.Effect<Image, ContainerdError>
    readonly list: (filters?: ReadonlyArray<string>) => Effect.Effect<ReadonlyArray<Image>, ContainerdError>
    /** Fails with `AlreadyExists`. The target's blob is not checked: write it, with its references, before. */
    readonly create: (image: Image) => Effect.Effect<void, ContainerdError>
    /** Replaces target and labels at once. Fails with `NotFound`. */
    readonly update: (image: Image) => Effect.Effect<void, ContainerdError>
    /** A name that is gone already is success. */
    readonly delete: (name: string) => Effect.Effect<void, ContainerdError>
  }
>()("effect-containerd/Images") {}

/** None where `get` fails with `NotFound`. */
export const find = Effect.fnUntraced(function* (name: string) {
  const images = yield* Images
  return yield* images.get(name).pipe(
    Effect.asSome,
    Effect.catchReason("ContainerdError", "NotFound", () => Effect.succeedNone)
  )
})

/** The records that point to a digest. */
export const pointingTo = Effect.fnUntraced(function* (digest: Digest) {
  const images = yield* Images
  return yield* images.list([`target.digest==${JSON.stringify(digest)}`])
})

const attempts = 8

const putOnce = Effect.fnUntraced(function* (image: Image) {
  const images = yield* Images
  // Two clients may create and delete the name between our calls, so each "it is there" / "it is gone" is tried again.
  for (let attempt = 0; attempt < attempts; attempt++) {
    const created = yield* Effect.as(images.create(image), true).pipe(
      Effect.catchReason("ContainerdError", "AlreadyExists", () => Effect.succeed(false))
    )
    if (created) return Option.none<Image>()
    const replaced = yield* images.get(image.name).pipe(
      Effect.tap(images.update(image)),
      Effect.asSome,
      Effect.catchReason("ContainerdError", "NotFound", () => Effect.succeedNone)
    )
    if (Option.isSome(replaced)) {
      return Option.filter(replaced, (old) => old.target.digest !== image.target.digest)
    }
  }
  const message = `${image.name} is being created and deleted by somebody else all the time`
  return yield* new ContainerdError({ method: "Images.put", reason: new Unavailable({ message }) })
})

/**
 * Creates the record or points the existing one to the new target: there is no moment in which the name is gone. After a
 * lost answer the record may be there, so it is put once more.
 *
 * Gives the image that the name stood for before, if it was another one.
 */
export const put = (image: Image) => Effect.retry(putOnce(image), { while: ({ isRetryable }) => isRetryable, times: 2 })
