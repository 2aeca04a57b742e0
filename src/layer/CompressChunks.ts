/**
 * Compresses chunks of a fixed size on Node's threads; each becomes a gzip member or a zstd frame of its own.
 *
 * @since 0.1.0
 */
import { promisify } from "node:util"
import * as Zlib from "node:zlib"
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import * as LentBytes from "../internal/LentBytes.ts"
import { LayerError } from "./LayerError.ts"

/** Bytes. Smaller ones make larger layers, of zstd above all; larger ones gain little and hold more memory. */
export const chunkSize = 2 * 1024 * 1024

export interface Chunk {
  readonly bytes: Uint8Array
  /** Says that nobody reads the bytes any more: others may come into their place. */
  readonly release: () => void
}

interface Filling {
  readonly buffer: Uint8Array
  readonly size: number
  readonly isFirst: boolean
  /** Buffers that were used before: new ones for all chunks would keep the garbage collector busy. */
  readonly released: Array<Uint8Array>
}

const empty = (isFirst: boolean, released: Array<Uint8Array>): Filling => {
  const buffer = released.pop() ?? Buffer.allocUnsafeSlow(isFirst ? smallSize : chunkSize)
  return { buffer, size: 0, isFirst, released }
}

/** Most layers of small changes are smaller: a whole buffer for each would keep the garbage collector busy, too. */
const smallSize = 64 * 1024

const roomFor = ({ buffer, size }: Filling, wanted: number): Uint8Array => {
  if (wanted <= buffer.length) return buffer
  const whole = Buffer.allocUnsafeSlow(chunkSize)
  whole.set(buffer.subarray(0, size))
  return whole
}

const toChunk = ({ buffer, released, size }: Filling): Chunk => ({
  bytes: buffer.subarray(0, size),
  release: () => void released.push(buffer)
})

/** Takes what fits, and gives the chunk away when it is full. */
const take = (filling: Filling, piece: Uint8Array, full: Array<Chunk>): Filling => {
  const size = Math.min(filling.size + piece.length, chunkSize)
  const taken = size - filling.size
  const buffer = roomFor(filling, size)
  buffer.set(taken === piece.length ? piece : piece.subarray(0, taken), filling.size)
  const filled = { ...filling, buffer, size }
  if (size < chunkSize) return filled
  full.push(toChunk(filled))
  return take(empty(false, filling.released), piece.subarray(taken), full)
}

/** The same bytes, all chunks but the last of `chunkSize`; of an empty stream an empty one. Each byte is copied once. */
export const toChunks = <E, R>(self: Stream.Stream<Uint8Array, E, R>): Stream.Stream<Chunk, E, R> =>
  Stream.mapAccumArray(
    self,
    () => empty(true, []),
    (filling, pieces) => {
      const full: Array<Chunk> = []
      const filled = pieces.reduce((state, piece) => take(state, piece, full), filling)
      pieces.forEach(LentBytes.giveBack)
      return [filled, full]
    },
    { onHalt: (filling) => (filling.size > 0 || filling.isFirst ? [toChunk(filling)] : []) }
  )

const gzip = promisify<Uint8Array, Zlib.ZlibOptions, Buffer>(Zlib.gzip)
const zstd = promisify<Uint8Array, Zlib.ZstdOptions, Buffer>(Zlib.zstdCompress)

/** Room for all that comes of a chunk, usually, so that a thread need not ask for more. */
const outputSize = (chunk: Uint8Array) => Math.max(chunk.length >>> 1, 1024)

/** The most: up to a seventh faster than by default, and half a percent larger (docs/compression.md). */
const memLevel = 9

const engines = {
  gzip: (level: number, chunk: Uint8Array) => gzip(chunk, { level, memLevel, chunkSize: outputSize(chunk) }),
  zstd: (level: number, chunk: Uint8Array) => {
    const params = { [Zlib.constants.ZSTD_c_compressionLevel]: level }
    return zstd(chunk, { params, chunkSize: outputSize(chunk) })
  }
}

/** libuv's, shared with all that Node does with files. */
const threads = () => Number(process.env["UV_THREADPOOL_SIZE"]) || 4

/** Twice as many chunks as are compressed at once are in memory, at most. */
export const compressChunks =
  (compression: keyof typeof engines, level: number, cores: number) =>
  <E, R>(chunks: Stream.Stream<Chunk, E, R>): Stream.Stream<Uint8Array, E | LayerError, R> => {
    const atOnce = Math.min(cores, threads())
    const compress = (chunk: Chunk) =>
      Effect.tryPromise({
        try: () => engines[compression](level, chunk.bytes).finally(chunk.release).then(LentBytes.once),
        catch: (cause) => new LayerError({ kind: "compression", message: `${compression}: ${String(cause)}`, cause })
      })
    return Stream.suspend(() => {
      // More are under way than compressed, for one that is done may have to wait for one before it.
      const turn = Semaphore.makeUnsafe(atOnce).withPermits(1)
      return Stream.mapEffect(chunks, (chunk) => turn(compress(chunk)), { concurrency: 2 * atOnce })
    })
  }
