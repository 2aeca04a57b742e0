/**
 * Compression of layer streams.
 *
 * @since 0.1.0
 */

import { Duplex, pipeline, type Writable } from "node:stream"
import * as Zlib from "node:zlib"
import * as NodeStream from "@effect/platform-node/NodeStream"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Sink from "effect/Sink"
import * as Stream from "effect/Stream"
import type { Compression } from "../oci/MediaType.ts"
import { type Chunk, chunkSize, compressChunks, toChunks } from "./CompressChunks.ts"
import * as Compressor from "./Compressor.ts"
import { compressWith, type Program } from "./CompressWithProgram.ts"
import { LayerError } from "./LayerError.ts"

const through =
  (evaluate: () => Duplex, what: string) =>
  <E, R>(self: Stream.Stream<Uint8Array, E, R>): Stream.Stream<Uint8Array, E | LayerError, R> =>
    NodeStream.pipeThroughDuplex(self, {
      evaluate,
      onError: (cause) => new LayerError({ kind: "compression", message: `${what}: ${String(cause)}`, cause })
    })

type Bytes = AsyncIterable<Uint8Array>

const write = (engine: Writable, bytes: Uint8Array): Promise<void> =>
  new Promise((resolve, reject) => {
    engine.write(bytes, (error) => (error == null ? resolve() : reject(error)))
  })

type Through<A = Uint8Array> = <E, R>(self: Stream.Stream<A, E, R>) => Stream.Stream<Uint8Array, E | LayerError, R>

/** What is all in one chunk is not worth a process. */
const unlessSmall =
  (small: Through<Chunk>, large: Through<Chunk>): Through<Chunk> =>
  (chunks) =>
    Stream.unwrap(
      Effect.map(Stream.peel(chunks, Sink.head()), ([head, tail]) => {
        // What follows on one that is not full is nothing, or the failure of the source.
        const whole = Stream.concat(Stream.fromIterable(Option.toArray(head)), tail)
        return Option.exists(head, ({ bytes }) => bytes.length === chunkSize) ? large(whole) : small(whole)
      })
    )

const engineFor = (
  engine: Compressor.Engine,
  compression: Compressor.Packed,
  settings: Compressor.Settings
): Through<Chunk> => {
  const scale = Compressor.levels(engine, compression)
  if (scale === undefined) {
    const message = `${engine} does not write ${compression}`
    return () => Stream.fail(new LayerError({ kind: "compression", message }))
  }
  const level = settings.level ?? scale.usual
  const cores = Compressor.cores(settings)
  if (engine === "node") return compressChunks(compression, level, cores)
  return unlessSmall(compressSmall(engine, compression, settings), compressWith(engine, level, cores))
}

/** At the level that was asked for, where Node has the same scale. */
const compressSmall = (engine: Program, compression: Compressor.Packed, { level }: Compressor.Settings) =>
  engineFor("node", compression, engine === "igzip" ? {} : { level })

/**
 * The bytes depend on the input, the level and the engine alone: neither on how the stream is cut nor on the number of
 * cores. Memory is bounded. Fails with `LayerError` when the engine does, also after it gave a part.
 *
 * A program that is not in the PATH is such a failure: {@link Compressor.isAvailable} tells before.
 */
export const compress = (compression: Compression, settings: Compressor.Settings = {}): Through => {
  if (compression === "uncompressed") return (self) => self
  const chosen = Effect.map(Compressor.choose(settings, compression), (engine) =>
    engineFor(engine, compression, settings)
  )
  return (self) => Stream.unwrap(Effect.map(chosen, (through) => through(toChunks(self))))
}

const ignore = () => undefined

async function* gunzipped(source: Bytes): Bytes {
  // The iteration fails with the error of whatever failed.
  yield* pipeline(source, Zlib.createGunzip(), ignore)
}

/** Gives an engine all that it takes, and what it leaves: Node's stops at the end of a frame, inside of a chunk. */
const feed = async (engine: Zlib.ZstdDecompress, source: AsyncIterator<Uint8Array>, first: Uint8Array | undefined) => {
  for (let chunk = first; ; chunk = undefined) {
    const bytes = chunk ?? (await source.next()).value
    if (bytes === undefined) {
      engine.end()
      return undefined
    }
    const before = engine.bytesWritten
    await write(engine, bytes)
    const taken = engine.bytesWritten - before
    if (taken < bytes.length) return bytes.subarray(taken)
  }
}

/** Any number of frames, one after the other (RFC 8878, section 3.1). */
async function* unzstd(bytes: Bytes): Bytes {
  const source = bytes[Symbol.asyncIterator]()
  let rest: Uint8Array | undefined
  do {
    const engine = Zlib.createZstdDecompress()
    const fed = feed(engine, source, rest)
    // The engine fails, too, and that is what is told.
    fed.catch((cause) => engine.destroy(cause))
    yield* engine
    rest = await fed
  } while (rest !== undefined)
}

const startsWith = (bytes: Uint8Array, ...magic: ReadonlyArray<number>) => magic.every((byte, i) => bytes[i] === byte)

const isZstd = (head: Uint8Array) =>
  startsWith(head, 0x28, 0xb5, 0x2f, 0xfd) ||
  (((head[0] ?? 0) & 0xf0) === 0x50 && startsWith(head.subarray(1), 0x2a, 0x4d, 0x18))

const magicSize = 4

/** Looks at the first bytes and puts them back. */
async function* detect(source: Bytes): Bytes {
  const iterator = source[Symbol.asyncIterator]()
  let head = Buffer.alloc(0)
  while (head.length < magicSize) {
    const { done, value } = await iterator.next()
    if (done === true) break
    head = Buffer.concat([head, value])
  }
  const whole = (async function* () {
    yield head
    yield* { [Symbol.asyncIterator]: () => iterator }
  })()
  if (startsWith(head, 0x1f, 0x8b, 0x08)) yield* gunzipped(whole)
  else if (isZstd(head)) yield* unzstd(whole)
  else yield* whole
}

/**
 * The tar of a layer, whatever it is compressed with: the bytes tell, not the media type (as in containerd, for Docker's
 * `diff.tar` may be compressed). Several gzip members or zstd frames are one stream.
 */
export const decompress: <E, R>(self: Stream.Stream<Uint8Array, E, R>) => Stream.Stream<Uint8Array, E | LayerError, R> =
  through(() => Duplex.from(detect), "the layer cannot be decompressed")
