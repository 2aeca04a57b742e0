/**
 * One layer becomes one snapshot: prepare, apply, commit, in a scope that removes the active snapshot on any failure.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as ChainId from "../oci/ChainId.ts"
import type { Layer } from "../oci/Layer.ts"
import { ContainerdError, DigestMismatch } from "./ContainerdError.ts"
import { Differ } from "./Differ.ts"
import { Leases, snapshotResource } from "./Leases.ts"
import type { Active, Snapshotter } from "./Snapshotter.ts"
import { uniqueName } from "./UniqueName.ts"

/** A snapshot of that name is there already: hold it, then make sure that it still is. */
const holdExisting = Effect.fnUntraced(function* (snapshotter: Snapshotter, chainId: ChainId.ChainId) {
  const leases = yield* Leases
  yield* leases.addResource(snapshotResource(snapshotter.name, chainId))
  yield* snapshotter.stat(chainId)
})

/** A new active snapshot for a layer on top of a chain. Some snapshotters take the prefix as the sign of an extraction. */
export const prepareTarget = (snapshotter: Snapshotter, parent: string) =>
  snapshotter.prepare({ key: uniqueName("extract"), parent })

/**
 * Commits what holds a layer under its chain ID, the name by which every containerd client finds it. A committed
 * snapshot that is there already is success.
 */
export const commitTarget = Effect.fnUntraced(function* (
  snapshotter: Snapshotter,
  target: Active,
  chainId: ChainId.ChainId
) {
  yield* target
    .commit(chainId)
    .pipe(Effect.catchReason("ContainerdError", "AlreadyExists", () => holdExisting(snapshotter, chainId)))
  return chainId
})

/**
 * Extracts a layer into a prepared snapshot and commits that under its chain ID.
 *
 * Fails with `DigestMismatch` when what was extracted is not the layer with that diffID.
 */
export const extract = Effect.fnUntraced(function* (
  snapshotter: Snapshotter,
  target: Active,
  parent: Option.Option<ChainId.ChainId>,
  layer: Layer
) {
  const differ = yield* Differ
  const applied = yield* differ.apply(layer.descriptor, target.mounts)
  if (applied.digest !== layer.diffId) {
    const reason = new DigestMismatch({ expected: layer.diffId, actual: applied.digest })
    return yield* new ContainerdError({ method: `apply ${layer.descriptor.digest}`, reason })
  }
  return yield* commitTarget(snapshotter, target, ChainId.append(parent, layer.diffId))
})

/** Prepares and extracts. Fails with `NotFound` when the snapshot of the parent chain is not there. */
export const applyLayer = Effect.fnUntraced(function* (
  snapshotter: Snapshotter,
  parent: Option.Option<ChainId.ChainId>,
  layer: Layer
) {
  const target = yield* prepareTarget(
    snapshotter,
    Option.getOrElse(parent, () => "")
  )
  return yield* extract(snapshotter, target, parent, layer)
}, Effect.scoped)
