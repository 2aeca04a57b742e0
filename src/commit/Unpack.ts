/**
 * Step `unpack`: the snapshot of every layer exists, so that the image runs at once.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Snapshotter } from "../core/Snapshotter.ts"
import type { Layer } from "../layer/Layer.ts"
import * as ChainId from "../oci/ChainId.ts"
import { applyLayer } from "./ApplyLayer.ts"
import { step } from "./Run.ts"

const exists = (snapshotter: Snapshotter, chainId: ChainId.ChainId) =>
  Effect.as(snapshotter.stat(chainId), true).pipe(
    Effect.catchReason("ContainerdError", "NotFound", () => Effect.succeed(false))
  )

/**
 * Gives the chain ID of the layers after making sure of its snapshot: from the top down to the first one that is
 * there, then up again, applying what is missing.
 */
export const unpackLayers = Effect.fnUntraced(function* (snapshotter: Snapshotter, layers: ReadonlyArray<Layer>) {
  const chain = layers.map((_, i) => ChainId.fromDiffIds(layers.slice(0, i + 1).map(({ diffId }) => diffId)))
  let present = layers.length
  while (present > 0) {
    const top = chain[present - 1] ?? Option.none()
    if (Option.isNone(top) || (yield* exists(snapshotter, top.value))) break
    present--
  }
  for (const [i, layer] of layers.entries()) {
    if (i >= present) yield* applyLayer(snapshotter, chain[i - 1] ?? Option.none(), layer)
  }
  return chain.at(-1) ?? Option.none()
})

/** Verifies that the image is unpacked, and unpacks what is not. The config's label keeps the snapshot. */
export const unpack = Effect.fnUntraced(function* (snapshotter: Snapshotter, layers: ReadonlyArray<Layer>) {
  yield* unpackLayers(snapshotter, layers)
}, step("unpack"))
