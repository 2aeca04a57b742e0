/**
 * Compression of layer streams.
 *
 * @since 0.1.0
 */

import { Duplex, pipeline, type Writable } from "node:stream"
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

type Bytes = AsyncIterable<Uint8Array>

const write = (engine: Writable, bytes: Uint8Array): Promise<void> =>
  new Promise((resolve, reject) => {
    engine.write(bytes, (error) => (error == null ? resolve() : reject(error)))
  })

const writeAll = async (engine: Writable, source: Bytes): Promise<void> => {
  for await (const bytes of source) await write(engine, bytes)
  engine.end()
}

/**
 * Ends the engine only when it has taken all: it compresses the last bytes in another way when it knows that they are
 * the last, and whether it does would be a matter of time.
 */
const zstd = (level: number | undefined) =>
  async function* (source: Bytes): Bytes {
    const engine = Zlib.createZstdCompress(zstdOptions(level))
    const written = writeAll(engine, source)
    written.catch((cause) => engine.destroy(cause))
    yield* engine
    await written
  }

const zstdOptions = (level: number | undefined) =>
  level === undefined ? {} : { params: { [Zlib.constants.ZSTD_c_compressionLevel]: level } }

/** By default at the level that containerd's own differ uses: gzip 6, zstd 3. */
export const compress = (
  compression: Compression,
  level?: number
): (<E, R>(self: Stream.Stream<Uint8Array, E, R>) => Stream.Stream<Uint8Array, E | LayerError, R>) => {
  switch (compression) {
    case "gzip":
      return through(() => Zlib.createGzip(level === undefined ? {} : { level }), "gzip")
    case "zstd":
      return through(() => Duplex.from(zstd(level)), "zstd")
    case "uncompressed":
      return (self) => self
  }
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
