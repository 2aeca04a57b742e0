/**
 * Between the messages of the wire and the values of `core` and `oci`.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { ContainerdError, Unknown } from "../core/ContainerdError.ts"
import type { Mount } from "../core/Mount.ts"
import * as Descriptor from "../oci/Descriptor.ts"
import * as Digest from "../oci/Digest.ts"
import type { Descriptor__Output as WireDescriptor } from "./generated/containerd/types/Descriptor.ts"
import type { Mount__Output as WireMount } from "./generated/containerd/types/Mount.ts"

const broken = (method: string, message: string) => new ContainerdError({ method, reason: new Unknown({ message }) })

/** A message that an answer always has; the generated types cannot know that. */
export const present = <A>(method: string, value: A | null): Effect.Effect<A, ContainerdError> =>
  value === null ? Effect.fail(broken(method, "the answer lacks its message")) : Effect.succeed(value)

export const digest = (method: string, text: string): Effect.Effect<Digest.Digest, ContainerdError> =>
  Effect.mapError(Effect.fromResult(Digest.parse(text)), ({ message }) => broken(method, message))

export const fromDescriptor = (
  method: string,
  wire: WireDescriptor | null
): Effect.Effect<Descriptor.Descriptor, ContainerdError> =>
  Effect.gen(function* () {
    const { annotations, digest: text, mediaType, size } = yield* present(method, wire)
    if (!Number.isSafeInteger(size) || size < 0) {
      return yield* broken(method, `the answer has a descriptor of ${size} bytes`)
    }
    return Descriptor.make({
      mediaType,
      digest: yield* digest(method, text),
      size,
      ...(Object.keys(annotations).length === 0 ? {} : { annotations })
    })
  })

export const toDescriptor = (descriptor: Descriptor.Descriptor) => ({
  mediaType: descriptor.mediaType,
  digest: descriptor.digest,
  size: descriptor.size,
  annotations: { ...descriptor.annotations }
})

export const fromMount = ({ options, source, target, type }: WireMount): Mount => ({ type, source, target, options })
export const toMount = (mount: Mount) => ({ ...mount, options: [...mount.options] })

/** For removals: what is gone already is success. */
export const orGone = <A>(self: Effect.Effect<A, ContainerdError>): Effect.Effect<void, ContainerdError> =>
  self.pipe(
    Effect.asVoid,
    Effect.catchReason("ContainerdError", "NotFound", () => Effect.void)
  )
