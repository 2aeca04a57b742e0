/**
 * The seam between the pipeline and the ways of reading a container.
 *
 * What happens under the pause is `capture`: it gives something stable that depends on the container no longer. From
 * that follow both the layer and the snapshot that holds the change. By the differ, the blob is the stable thing and
 * the snapshot follows by applying it; by the host, the snapshot is the stable thing and the blob follows by reading it.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type * as ChainId from "../oci/ChainId.ts"
import type { Layer } from "../oci/Layer.ts"
import type { Base } from "./Base.ts"
import type { CommitError } from "./CommitError.ts"

/** The snapshots that the container is compared with, and that the layer will stand on. */
export interface Below {
  readonly lower: string
  readonly target: string
}

export interface Captured<R> {
  /** Which way the container was read. */
  readonly differ: string
  /** `None` when nothing changed. */
  readonly layer: Option.Option<Layer>
  /** What that way did not carry into the layer, a line each. */
  readonly notCarried: ReadonlyArray<string>
  /** Makes the committed snapshot named by the chain ID of the parent's layers and this one. */
  readonly snapshot: (layer: Layer) => Effect.Effect<ChainId.ChainId, CommitError, R>
}

/** What can be made ready while the container still runs is; what is left is to read it. */
export interface Ready<R, R2> {
  readonly capture: (base: Base) => Effect.Effect<Captured<R>, CommitError, R2>
}
