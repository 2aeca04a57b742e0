/**
 * Step `unpack`: the snapshot of every layer exists, so that the image runs at once.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { Snapshotter } from "../core/Snapshotter.ts"
import { unpackLayers } from "../core/Unpack.ts"
import type { Layer } from "../oci/Layer.ts"
import { step } from "./Run.ts"

/** Verifies that the image is unpacked, and unpacks what is not. The config's label keeps the snapshot. */
export const unpack = Effect.fnUntraced(function* (snapshotter: Snapshotter, layers: ReadonlyArray<Layer>) {
  yield* unpackLayers(snapshotter, layers)
}, step("unpack"))
