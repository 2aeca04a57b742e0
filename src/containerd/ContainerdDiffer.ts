/** @since 0.1.0 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Differ } from "../core/Differ.ts"
import { Connection } from "./Connection.ts"
import { fromDescriptor, toDescriptor, toMount } from "./Convert.ts"
import { services } from "./Wire.ts"

/** What the walking differ cannot put into a layer, in every version up to 2.3. */
const notCarried: ReadonlyArray<string> = [
  "extended attributes other than security.capability, ACLs among them",
  "fractions of a second in modification times",
  "holes of sparse files",
  "sockets"
]

const make = Effect.gen(function* () {
  const { unary } = yield* Connection
  const { diff } = services()
  // Every version writes these; asking would cost a call.
  const supported = new Map<string, boolean>([
    ["application/vnd.oci.image.layer.v1.tar", true],
    ["application/vnd.oci.image.layer.v1.tar+gzip", true]
  ])

  /** Versions and builds differ, so the differ itself is asked, with two empty file systems. */
  const probe = (mediaType: string) =>
    unary(diff.Diff, { left: [], right: [], mediaType }, "data").pipe(
      Effect.as(true),
      Effect.catchReason("ContainerdError", "Unimplemented", () => Effect.succeed(false)),
      Effect.tap((answer) => Effect.sync(() => supported.set(mediaType, answer)))
    )

  return Differ.of({
    name: "containerd",
    supports: (mediaType) =>
      Effect.suspend(() => {
        const known = supported.get(mediaType)
        return known === undefined ? probe(mediaType) : Effect.succeed(known)
      }),
    // Without a ref of ours, the server itself removes what it had written when the call fails or is cancelled.
    diff: ({ lower, mediaType, upper }) =>
      Effect.flatMap(
        unary(diff.Diff, { left: lower.map(toMount), right: upper.map(toMount), mediaType }, "data"),
        (response) =>
          Effect.map(fromDescriptor("Diff.Diff", response.diff), (descriptor) => ({ descriptor, notCarried }))
      ),
    apply: (layer, mounts) =>
      Effect.flatMap(
        unary(diff.Apply, { diff: toDescriptor(layer), mounts: mounts.map(toMount) }, "data"),
        ({ applied }) => fromDescriptor("Diff.Apply", applied)
      )
  })
})

export const layer: Layer.Layer<Differ, never, Connection> = Layer.effect(Differ, make)
