/** Bytes that compress as those of programs do: about to the half. */
import { Effect, Stream } from "effect"
import { compress } from "../../src/layer/Compression.ts"
import type { Settings } from "../../src/layer/Compressor.ts"

export const mebibyte = 1024 * 1024

/** The same ones each time. */
const make = (size: number): Buffer => {
  const bytes = Buffer.alloc(size)
  let state = 1
  for (let at = 0; at + 4 <= size; at += 4) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    bytes.writeUInt32LE((at & 8) === 0 ? state : at >>> 10, at)
  }
  return bytes
}

const source = make(24 * mebibyte)

/** At most 24 MiB. */
export const compressible = (size: number): Buffer => source.subarray(0, size)

/** Cut into pieces of these sizes, again and again. */
export const cut = (bytes: Uint8Array, sizes: ReadonlyArray<number>): Stream.Stream<Uint8Array> => {
  const pieces: Array<Uint8Array> = []
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = Math.max(1, sizes[i % sizes.length] ?? mebibyte)
    pieces.push(bytes.subarray(at, at + size))
    at += size
  }
  return Stream.fromIterable(pieces)
}

export const compressed = (
  compression: "gzip" | "zstd",
  bytes: Uint8Array,
  settings: Settings = {},
  sizes: ReadonlyArray<number> = [65_536]
) => Effect.map(Stream.mkUint8Array(cut(bytes, sizes).pipe(compress(compression, settings))), (out) => Buffer.from(out))
