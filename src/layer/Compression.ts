/**
 * Compression of layer streams.
 *
 * @since 0.1.0
 */

import type { Duplex } from "node:stream"
import * as Zlib from "node:zlib"
import * as NodeStream from "@effect/platform-node/NodeStream"
import type * as Stream from "effect/Stream"
import type { Compression } from "../oci/MediaType.ts"
import { LayerError } from "./LayerError.ts"

const through =
  (evaluate: () => Duplex, what: string) =>
  <E, R>(self: Stream.Stream<Uint8Array, E, R>): Stream.Stream<Uint8Array, E | LayerError, R> =>
    NodeStream.pipeThroughDuplex(self, {
      evaluate,
      onError: (cause) => new LayerError({ kind: "compression", message: `${what}: ${String(cause)}`, cause })
    })

/** Compresses at the level that containerd's own differ uses: gzip 6, zstd 3. */
export const compress = (
  compression: Compression
): (<E, R>(self: Stream.Stream<Uint8Array, E, R>) => Stream.Stream<Uint8Array, E | LayerError, R>) => {
  switch (compression) {
    case "gzip":
      return through(() => Zlib.createGzip(), "gzip")
    case "zstd":
      return through(() => Zlib.createZstdCompress(), "zstd")
    case "uncompressed":
      return (self) => self
  }
}
