/**
 * The seam between the pipeline and the ways of reading a container.
 *
 * What happens under the pause is `capture`: it gives something stable that depends on the container no longer. From
 * that follow both the layer and the snapshot that holds the change. By the differ, the blob is the stable thing and
 * the snapshot follows by applying it.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type * as ChainId from "../oci/ChainId.ts"
import type { Layer } from "../oci/Layer.ts"
import type { CommitError } from "./CommitError.ts"

export interface Captured<R> {
  /** Which way the container was read. */
  readonly differ: string
  /** What that way did not carry into the layer, a line each. */
  readonly notCarried: ReadonlyArray<string>
  /** The layer, `None` when nothing changed. */
  readonly layer: Effect.Effect<Option.Option<Layer>, CommitError, R>
  /** Makes the committed snapshot named by the chain ID of the parent's layers and this one. */
  readonly snapshot: (layer: Layer) => Effect.Effect<ChainId.ChainId, CommitError, R>
}
