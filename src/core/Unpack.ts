/**
 * Unpacking an image: the snapshot of every layer exists.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as ChainId from "../oci/ChainId.ts"
import type { Layer } from "../oci/Layer.ts"
import { applyLayer } from "./ApplyLayer.ts"
import type { Snapshotter } from "./Snapshotter.ts"

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
