/**
 * The content store: immutable blobs, each named by the digest of its bytes.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type * as Descriptor from "../oci/Descriptor.ts"
import * as Digest from "../oci/Digest.ts"
import { ContainerdError, DigestMismatch, FailedPrecondition } from "./ContainerdError.ts"
import type { Lease } from "./Leases.ts"

export interface Info {
  readonly digest: Digest.Digest
  /** Bytes. */
  readonly size: number
  readonly labels: Readonly<Record<string, string>>
}

/** A write that has begun and is not committed. */
export interface Ingest {
  readonly ref: string
  /** Bytes written so far. */
  readonly offset: number
  /** Bytes announced, 0 when unknown. */
  readonly total: number
}

export type Labels = Readonly<Record<string, string>>

/** When the data was read. */
export const labelsOf = ({ labels = {} }: Pick<WriteOptions, "labels">): Labels =>
  typeof labels === "function" ? labels() : labels

export interface WriteOptions {
  /** Of the descriptor that comes back; the store itself keeps no media types. */
  readonly mediaType: string
  /**
   * Set in the same write, so that the blob is never there without its garbage collection references. A function is
   * asked when the data was read, which is always without `expected`.
   */
  readonly labels?: Labels | (() => Labels) | undefined
  /** Names the ingest. With a name, a write that was cut off goes on where it stopped. Unique by default. */
  readonly ref?: string | undefined
  /** Refuse any other content; a blob of that digest that exists already saves the upload. */
  readonly expected?: { readonly digest: Digest.Digest; readonly size: number } | undefined
}

export class ContentStore extends Context.Service<
  ContentStore,
  {
    /** Fails with `NotFound` when the blob is not in this namespace. */
    readonly info: (digest: Digest.Digest) => Effect.Effect<Info, ContainerdError>
    /** The blob's bytes from `offset` (0) on; chunks of at most 1 MiB or so. Not verified: see {@link readBytes}. */
    readonly read: (
      digest: Digest.Digest,
      options?: { readonly offset?: number }
    ) => Stream.Stream<Uint8Array, ContainerdError>
    /**
     * Streams a blob in and gives its descriptor. Memory is bounded, whatever the size.
     *
     * A blob that exists already is success: it is put under the lease and gets the labels. On failure or interruption
     * the ingest is aborted, unless `ref` names it to be resumed.
     */
    readonly write: <E, R>(
      data: Stream.Stream<Uint8Array, E, R>,
      options: WriteOptions
    ) => Effect.Effect<Descriptor.Descriptor, ContainerdError | E, R | Lease>
    /** Writes a small blob (a document, at most 8 MiB) in one message. Otherwise as `write`. */
    readonly writeBytes: (
      bytes: Uint8Array,
      options: Pick<WriteOptions, "mediaType"> & { readonly labels?: Labels | undefined }
    ) => Effect.Effect<Descriptor.Descriptor, ContainerdError, Lease>
    /** Sets labels one by one and leaves the others alone; an empty value removes the label. */
    readonly setLabels: (
      digest: Digest.Digest,
      labels: Readonly<Record<string, string>>
    ) => Effect.Effect<void, ContainerdError>
    /** Blobs that match any of containerd's filters (`labels."k"==v`), all without one. */
    readonly list: (filters?: ReadonlyArray<string>) => Stream.Stream<Info, ContainerdError>
    /** Drops the record; the bytes go with the next collection. A blob that is gone already is success. */
    readonly delete: (digest: Digest.Digest) => Effect.Effect<void, ContainerdError>
    readonly ingests: Effect.Effect<ReadonlyArray<Ingest>, ContainerdError>
    /** Throws an ingest away. Only for ingests of one's own: a writer is not stopped by it, it fails at its end. */
    readonly abort: (ref: string) => Effect.Effect<void, ContainerdError>
  }
>()("effect-containerd/ContentStore") {}

/** Documents are read whole, so their size is limited (containerd and registries allow 4 MiB for a manifest). */
const documentLimit = 16 * 1024 * 1024

/**
 * Reads a whole document (manifest, index, config) and verifies its digest and size.
 *
 * Fails with `DigestMismatch` when the store's bytes are not what the descriptor says, and with `FailedPrecondition`
 * for more than 16 MiB: layers are streams, not documents.
 */
export const readBytes = Effect.fnUntraced(function* (descriptor: Descriptor.Descriptor) {
  const store = yield* ContentStore
  const method = "ContentStore.readBytes"
  if (descriptor.size > documentLimit) {
    const message = `${descriptor.digest} is ${descriptor.size} bytes, too large for a document`
    return yield* new ContainerdError({ method, reason: new FailedPrecondition({ message }) })
  }
  let read = 0
  const bytes = yield* store.read(descriptor.digest).pipe(
    // A descriptor with a small size may name a layer.
    Stream.takeUntil((chunk) => {
      read += chunk.length
      return read > descriptor.size
    }),
    Stream.mkUint8Array
  )
  const actual = Digest.fromBytes(bytes, Digest.algorithm(descriptor.digest))
  if (actual !== descriptor.digest || bytes.length !== descriptor.size) {
    const reason = new DigestMismatch({
      expected: `${descriptor.digest} (${descriptor.size} bytes)`,
      actual: `${actual} (${bytes.length} bytes)`
    })
    return yield* new ContainerdError({ method, reason })
  }
  return bytes
})
