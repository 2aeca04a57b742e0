/**
 * The differ turns the difference of two file systems into a layer, and a layer back into files.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Descriptor from "../oci/Descriptor.ts"
import type { ContainerdError } from "./ContainerdError.ts"
import type { Lease } from "./Leases.ts"
import type { Mount } from "./Mount.ts"

/** A layer that was written. */
export interface Diffed {
  readonly descriptor: Descriptor.Descriptor
  /** What the file system held and the layer does not: for people, a line each, with the path where it is known. */
  readonly notCarried: ReadonlyArray<string>
}

export class Differ extends Context.Service<
  Differ,
  {
    /** Which way containers are read: `containerd`, `directory`. */
    readonly name: string
    /**
     * Whether `diff` can write that media type here. Asks the backend once and remembers the answer; the question may
     * write an empty layer, hence the lease.
     */
    readonly supports: (mediaType: string) => Effect.Effect<boolean, ContainerdError, Lease>
    /**
     * Writes what `upper` has over `lower` as a layer blob into the content store. Media types are OCI's (tar, gzip,
     * zstd where the backend has it, else `Unimplemented`). A compressed blob carries its diffID in the label
     * `containerd.io/uncompressed`; of an uncompressed one the digest is the diffID.
     *
     * Takes as long as it takes; interruption stops it.
     */
    readonly diff: (options: {
      readonly lower: ReadonlyArray<Mount>
      readonly upper: ReadonlyArray<Mount>
      readonly mediaType: string
    }) => Effect.Effect<Diffed, ContainerdError, Lease>
    /**
     * Extracts a layer into mounts of an active snapshot. The descriptor that comes back describes the uncompressed
     * tar, so its digest is the diffID of what was really extracted: compare it.
     */
    readonly apply: (
      layer: Descriptor.Descriptor,
      mounts: ReadonlyArray<Mount>
    ) => Effect.Effect<Descriptor.Descriptor, ContainerdError>
  }
>()("effect-containerd/Differ") {}
