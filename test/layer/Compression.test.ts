import * as Zlib from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { compress } from "../../src/layer/Compression.ts"
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
