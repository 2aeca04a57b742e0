import * as Zlib from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { compress, decompress } from "../../src/layer/Compression.ts"
import * as Digest from "../../src/oci/Digest.ts"
import * as Layer from "../../src/oci/Layer.ts"
import { bytes, file } from "./Tars.ts"

const data = Buffer.concat([Buffer.alloc(300_000, "abc"), file({}, "x")])
const chunks = [data.subarray(0, 1), data.subarray(1, 100_000), data.subarray(100_000)]

const compressed = (how: Parameters<typeof compress>[0], parts: ReadonlyArray<Uint8Array>) =>
  Effect.map(Stream.mkUint8Array(Stream.fromIterable(parts).pipe(compress(how))), (out) => Buffer.from(out))

describe("compress", () => {
  it.effect.each([
    ["gzip", Zlib.gunzipSync],
    ["zstd", Zlib.zstdDecompressSync]
  ] as const)("%s gives what the other side reads", ([how, read]) =>
    Effect.gen(function* () {
      const out = yield* compressed(how, chunks)
      assert.isBelow(out.length, data.length / 10)
      assert.isTrue(read(out).equals(data))
      assert.isTrue(read(yield* compressed(how, [])).equals(bytes()))
    })
  )

  it.effect.each(["gzip", "zstd"] as const)("%s gives the same bytes for the same chunks", (how) =>
    Effect.gen(function* () {
      assert.isTrue((yield* compressed(how, chunks)).equals(yield* compressed(how, chunks)))
    })
  )

  it.live.each(["gzip", "zstd"] as const)("%s gives the same bytes however late the end of its source comes", (how) =>
    Effect.gen(function* () {
      const late = (delay: number) =>
        Stream.concat(Stream.fromIterable(chunks), Stream.drain(Stream.fromEffect(Effect.sleep(delay))))
      const bytesOf = (source: Stream.Stream<Uint8Array>) => Stream.mkUint8Array(source.pipe(compress(how)))
      const soon = yield* bytesOf(Stream.fromIterable(chunks))
      for (const delay of [0, 1, 30]) assert.deepStrictEqual(yield* bytesOf(late(delay)), soon)
    })
  )

  it.effect("gzip says nothing of time and place, which would make another digest", () =>
    Effect.gen(function* () {
      const out = yield* compressed("gzip", chunks)
      assert.deepStrictEqual([...out.subarray(0, 8)], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0])
    })
  )

  it.effect("uncompressed leaves the stream as it is", () =>
    Effect.gen(function* () {
      assert.isTrue((yield* compressed("uncompressed", chunks)).equals(data))
    })
  )

  it.effect("passes the failure of its source on", () =>
    Effect.gen(function* () {
      const source = Stream.concat(Stream.make(data), Stream.fail("broken" as const))
      for (const how of ["gzip", "zstd", "uncompressed"] as const) {
        assert.strictEqual(yield* source.pipe(compress(how), Stream.runDrain, Effect.flip), "broken")
      }
    })
  )
})

const decompressed = (bytes: Uint8Array, size = bytes.length) =>
  Effect.map(
    Stream.mkUint8Array(
      Stream.range(0, Math.ceil(bytes.length / size) - 1).pipe(
        Stream.map((i) => bytes.subarray(i * size, (i + 1) * size)),
        decompress
      )
    ),
    (out) => Buffer.from(out)
  )

describe("decompress", () => {
  const forms = [
    ["gzip", Zlib.gzipSync(data)],
    [
      "gzip of many members",
      Buffer.concat([Zlib.gzipSync(data.subarray(0, 1000)), Zlib.gzipSync(data.subarray(1000))])
    ],
    ["zstd", Zlib.zstdCompressSync(data)],
    [
      "zstd of many frames, one that is skipped among them",
      Buffer.concat([
        Buffer.from([0x51, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]),
        Zlib.zstdCompressSync(data.subarray(0, 10)),
        Zlib.zstdCompressSync(data.subarray(10, 200_000)),
        Zlib.zstdCompressSync(Buffer.alloc(0)),
        Zlib.zstdCompressSync(data.subarray(200_000))
      ])
    ],
    ["no compression", data]
  ] as const

  it.effect.each(forms)("reads %s, however it is cut", ([, bytes]) =>
    Effect.gen(function* () {
      for (const size of [bytes.length, 1 + (bytes.length >> 7), 4096, 200]) {
        assert.isTrue((yield* decompressed(bytes, size)).equals(data), `pieces of ${size}`)
      }
      if (bytes.length < 5000) assert.isTrue((yield* decompressed(bytes, 1)).equals(data))
    })
  )

  it.effect("takes what is shorter than any magic number for a tar", () =>
    Effect.gen(function* () {
      for (const short of ["", "a", "\x1f\x8b"]) {
        const bytes = Buffer.from(short, "latin1")
        assert.isTrue((yield* decompressed(bytes, 1)).equals(bytes))
      }
    })
  )

  it.effect.each(forms.slice(0, -1))("fails for %s that is cut off or goes on with something else", ([, bytes]) =>
    Effect.gen(function* () {
      for (const damaged of [bytes.subarray(0, -5), Buffer.concat([bytes.subarray(0, -20), Buffer.alloc(20, 0xaa)])]) {
        const error = yield* Effect.flip(decompressed(damaged, 1000))
        assert.deepStrictEqual([error._tag, error.kind], ["LayerError", "compression"])
      }
    })
  )

  it.live("stops when nobody wants more, and passes the failure of its source on", () =>
    Effect.gen(function* () {
      for (const [, bytes] of forms) {
        const endless = Stream.forever(Stream.make(new Uint8Array(bytes)))
        yield* endless.pipe(decompress, Stream.take(2), Stream.runDrain)
        const broken = Stream.concat(Stream.make(bytes.subarray(0, 50)), Stream.fail("broken" as const))
        assert.strictEqual(yield* broken.pipe(decompress, Stream.runDrain, Effect.flip), "broken")
      }
    })
  )
})

describe("Layer", () => {
  it("knows the tar without entries", () => {
    assert.strictEqual(Layer.emptyDiffId, "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef")
  })

  it("takes another media type and stays the same blob", () => {
    const digest = Digest.fromBytes(data)
    const layer = { descriptor: { mediaType: "a", digest, size: 5, annotations: { k: "v" } }, diffId: digest }
    assert.deepStrictEqual(Layer.retyped(layer, "b"), {
      descriptor: { mediaType: "b", digest, size: 5, annotations: { k: "v" } },
      diffId: digest
    })
  })
})
