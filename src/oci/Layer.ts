/**
 * A layer of an image: a blob, and the digest of the tar in it.
 *
 * @since 0.1.0
 */
import type * as Descriptor from "./Descriptor.ts"
import * as Digest from "./Digest.ts"

export interface Layer {
  /** The blob as it is stored, compressed or not. */
  readonly descriptor: Descriptor.Descriptor
  /** Digest of the uncompressed tar (image spec, "Layer DiffID"). */
  readonly diffId: Digest.Digest
}

/** The same blob under another media type. */
export const retyped = ({ descriptor, diffId }: Layer, mediaType: string): Layer => ({
  descriptor: { ...descriptor, mediaType },
  diffId
})

/**
 * The diffID of a tar without entries: two blocks of zeros, whoever writes it. Compressed forms of it differ between
 * versions of a compressor, so emptiness is told by this one.
 */
export const emptyDiffId: Digest.Digest = Digest.fromBytes(new Uint8Array(1024))

/** containerd's label on a compressed blob: the diffID. */
export const uncompressedLabel = "containerd.io/uncompressed"
