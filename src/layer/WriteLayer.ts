/**
 * A tar becomes a layer blob of the content store.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { ContentStore } from "../core/ContentStore.ts"
import * as Digest from "../oci/Digest.ts"
import { type Layer, uncompressedLabel } from "../oci/Layer.ts"
import * as MediaType from "../oci/MediaType.ts"
import { compress } from "./Compression.ts"
import type { Compressor } from "./Compressor.ts"

export interface Form {
  readonly compression: MediaType.Compression
  readonly compressionLevel?: number | undefined
  readonly compressor?: Compressor | undefined
  readonly compressionConcurrency?: number | undefined
}

/** One pass; memory does not grow with the layer. A compressed blob carries its diffID in a label, as containerd's do. */
export const writeLayer = Effect.fnUntraced(function* <E, R>(tar: Stream.Stream<Uint8Array, E, R>, form: Form) {
  const store = yield* ContentStore
  const { compression, compressionConcurrency: concurrency, compressionLevel: level, compressor } = form
  const hasher = Digest.hasher()
  const stream = tar.pipe(
    Stream.map((chunk) => {
      hasher.update(chunk)
      return chunk
    }),
    compress(compression, { compressor, level, concurrency })
  )
  const labels = () => (compression === "uncompressed" ? {} : { [uncompressedLabel]: hasher.digest() })
  const descriptor = yield* store.write(stream, { mediaType: MediaType.layer("oci", compression), labels })
  return { descriptor, diffId: hasher.digest() } satisfies Layer
})
