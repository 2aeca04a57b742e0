import * as Zlib from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Schema, Stream } from "effect"
import { chunkSize } from "../../src/layer/CompressChunks.ts"
import { compress, decompress } from "../../src/layer/Compression.ts"
import { compressed, compressible, cut, mebibyte } from "./Compressible.ts"

const forms = ["gzip", "zstd"] as const

/** The members of a gzip stream begin with the same ten bytes; those of compressed data hardly ever do. */
const membersOf = (stream: Buffer): number => stream.toString("latin1").split("\x1f\x8b\x08\0\0\0\0\0\0").length - 1

const borders = [0, 1, chunkSize - 1, chunkSize, chunkSize + 1, 2 * chunkSize, 5 * chunkSize + 12_345]

describe.each(forms)("Node's chunks as %s", (form) => {
  const read = form === "gzip" ? Zlib.gunzipSync : Zlib.zstdDecompressSync

  it.live(
    "are the stream, and the same bytes however many at once and however it is cut",
    () =>
      Effect.gen(function* () {
        for (const size of borders) {
          const bytes = compressible(size)
          const one = yield* compressed(form, bytes, { concurrency: 1, level: 1 }, [mebibyte])
          const back = yield* Stream.mkUint8Array(Stream.make(one).pipe(decompress))
          assert.isTrue(Buffer.from(back).equals(bytes), `${size} bytes`)
          assert.isTrue(read(one).equals(bytes), `${size} bytes, by Node`)
          for (const concurrency of [2, 3, 16, undefined]) {
            const other = yield* compressed(form, bytes, { concurrency, level: 1 }, [size, 4096, 100_000])
            assert.isTrue(other.equals(one), `${size} bytes, ${concurrency} at once`)
          }
        }
      }),
    60_000
  )

  it.live.prop(
    "are the stream, of any size and cut anywhere",
    {
      extra: Schema.Int.check(Schema.isBetween({ minimum: -3000, maximum: 3000 })),
      count: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 3 })),
      sizes: Schema.NonEmptyArray(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 3 * mebibyte })))
    },
    ({ count, extra, sizes }) =>
      Effect.gen(function* () {
        const bytes = compressible(count * chunkSize + extra)
        const out = yield* compressed(form, bytes, { level: 1 }, [...sizes, 70_000])
        assert.isTrue(out.equals(yield* compressed(form, bytes, { level: 1, concurrency: 1 })))
        assert.isTrue(read(out).equals(bytes))
      }),
    { arbitrary: { runs: 8 }, timeout: 60_000 }
  )

  it.live("hold few chunks, whoever is slow", () =>
    Effect.gen(function* () {
      let [made, taken, ahead] = [0, 0, 0]
      const bytes = compressible(chunkSize)
      const count = 40
      const source = Stream.range(1, count).pipe(
        Stream.rechunk(1),
        Stream.map(() => {
          made++
          return bytes
        })
      )
      yield* source.pipe(
        compress(form, { level: 1, concurrency: 2 }),
        Stream.rechunk(1),
        Stream.runForEach(() =>
          Effect.andThen(
            Effect.sleep(2),
            Effect.sync(() => {
              taken++
              ahead = Math.max(ahead, made - taken)
            })
          )
        )
      )
      assert.strictEqual(taken, count)
      assert.isAtMost(ahead, 10)
    })
  )

  it.live(
    "take no memory that grows with the stream",
    () =>
      Effect.gen(function* () {
        const piece = compressible(mebibyte)
        const before = process.memoryUsage.rss()
        let peak = 0
        yield* Stream.range(1, 512).pipe(
          Stream.rechunk(1),
          Stream.map(() => piece),
          compress(form, { level: 1, concurrency: 2 }),
          Stream.runForEach(() => Effect.sync(() => (peak = Math.max(peak, process.memoryUsage.rss()))))
        )
        assert.isBelow((peak - before) / mebibyte, 200)
      }),
    60_000
  )

  it.live("stop when nobody wants more, when they are interrupted, and when their source fails", () =>
    Effect.gen(function* () {
      const endless = Stream.forever(Stream.make(compressible(chunkSize))).pipe(compress(form, { level: 1 }))
      yield* endless.pipe(Stream.take(2), Stream.runDrain)
      const fiber = yield* Effect.forkChild(Stream.runDrain(endless))
      yield* Effect.sleep(50)
      yield* Fiber.interrupt(fiber)
      const broken = Stream.concat(cut(compressible(3 * chunkSize + 5), [mebibyte]), Stream.fail("broken" as const))
      assert.strictEqual(yield* broken.pipe(compress(form), Stream.runDrain, Effect.flip), "broken")
    })
  )
})

describe("gzip", () => {
  it.live("is one member for each chunk", () =>
    Effect.gen(function* () {
      for (const [size, members] of [
        [0, 1],
        [chunkSize, 1],
        [chunkSize + 1, 2],
        [3 * chunkSize, 3]
      ] as const) {
        assert.strictEqual(membersOf(yield* compressed("gzip", compressible(size))), members)
      }
    })
  )

  it.effect("is not written by a program of zstd, nor the other way", () =>
    Effect.gen(function* () {
      for (const [form, compressor] of [
        ["gzip", "zstd"],
        ["zstd", "igzip"],
        ["zstd", "pigz"]
      ] as const) {
        const error = yield* Effect.flip(compressed(form, compressible(5), { compressor }))
        assert.deepStrictEqual([error.kind, error.message], ["compression", `${compressor} does not write ${form}`])
      }
    })
  )
})
