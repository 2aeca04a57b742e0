/**
 * One layer becomes one snapshot: prepare, apply, commit, in a scope that removes the active snapshot on any failure.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { ContainerdError, DigestMismatch } from "../core/ContainerdError.ts"
import { Differ } from "../core/Differ.ts"
import { Leases, snapshotResource } from "../core/Leases.ts"
import type { Snapshotter } from "../core/Snapshotter.ts"
import type { Layer } from "../layer/Layer.ts"
import * as ChainId from "../oci/ChainId.ts"
import { uniqueName } from "./UniqueName.ts"

/** A snapshot of that name is there already: hold it, then make sure that it still is. */
const holdExisting = Effect.fnUntraced(function* (snapshotter: Snapshotter, chainId: ChainId.ChainId) {
  const leases = yield* Leases
  yield* leases.addResource(snapshotResource(snapshotter.name, chainId))
  yield* snapshotter.stat(chainId)
})

/**
 * Extracts a layer on the snapshot of its parent chain and commits the result under the new chain ID, the name by
 * which every containerd client finds it. A snapshot that is there already is success.
 *
 * Fails with `NotFound` when the parent's snapshot is not there, and with `DigestMismatch` when what was extracted is
 * not the layer with that diffID.
 */
export const applyLayer = Effect.fnUntraced(function* (
  snapshotter: Snapshotter,
  parent: Option.Option<ChainId.ChainId>,
  layer: Layer
) {
  const differ = yield* Differ
  const chainId = ChainId.append(parent, layer.diffId)
  // Some snapshotters take the prefix as the sign of an extraction, as containerd's own client gives it.
  const key = `${uniqueName("extract")} ${chainId}`
  const active = yield* snapshotter.prepare({ key, parent: Option.getOrElse(parent, () => "") })
  const applied = yield* differ.apply(layer.descriptor, active.mounts)
  if (applied.digest !== layer.diffId) {
    const reason = new DigestMismatch({ expected: layer.diffId, actual: applied.digest })
    return yield* new ContainerdError({ method: `apply ${layer.descriptor.digest}`, reason })
  }
  yield* active
    .commit(chainId)
    .pipe(Effect.catchReason("ContainerdError", "AlreadyExists", () => holdExisting(snapshotter, chainId)))
  return chainId
}, Effect.scoped)
