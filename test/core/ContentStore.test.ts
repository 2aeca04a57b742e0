import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer, Stream } from "effect"
import * as ContentStore from "../../src/core/ContentStore.ts"
import * as Descriptor from "../../src/oci/Descriptor.ts"
import * as Digest from "../../src/oci/Digest.ts"
import { failing } from "./Fakes.ts"

const data = Buffer.from("a document")
const descriptor = Descriptor.of("application/json", data)

const holding = (read: ContentStore.ContentStore["Service"]["read"]) => Layer.mock(ContentStore.ContentStore, { read })
const inParts = (...parts: ReadonlyArray<Uint8Array>) => holding(() => Stream.fromIterable(parts))

describe("readBytes", () => {
  it.effect("gives the bytes, from however many chunks", () =>
    Effect.gen(function* () {
      for (const parts of [[data], [data.subarray(0, 1), Buffer.alloc(0), data.subarray(1)]]) {
        const bytes = yield* Effect.provide(ContentStore.readBytes(descriptor), inParts(...parts))
        assert.isTrue(data.equals(bytes))
      }
    })
  )

  it.effect("reads the blob that the descriptor names, with its own algorithm", () =>
    Effect.gen(function* () {
      const sha512 = { ...descriptor, digest: Digest.fromBytes(data, "sha512") }
      const layer = holding((digest) =>
        digest === sha512.digest ? Stream.make(data) : Stream.fail(failing("NotFound"))
      )
      assert.isTrue(data.equals(yield* Effect.provide(ContentStore.readBytes(sha512), layer)))
    })
  )

  it.effect("takes an empty document", () =>
    Effect.gen(function* () {
      const empty = Descriptor.of("text/plain", new Uint8Array())
      assert.strictEqual((yield* Effect.provide(ContentStore.readBytes(empty), inParts())).length, 0)
    })
  )

  it.effect.each([
    ["other bytes of the same size", descriptor, Buffer.from("a_document")],
    ["fewer bytes", descriptor, data.subarray(1)],
    ["the right bytes and another size", { ...descriptor, size: 11 }, data],
    ["no bytes", descriptor, Buffer.alloc(0)]
  ] as const)("refuses %s", ([, expected, actual]) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Effect.provide(ContentStore.readBytes(expected), inParts(actual)))
      assert.strictEqual(error.reason._tag, "DigestMismatch")
      assert.strictEqual(
        error.message,
        `ContentStore.readBytes: expected ${expected.digest} (${expected.size} bytes), got ${Digest.fromBytes(actual)} (${actual.length} bytes)`
      )
    })
  )

  it.effect("refuses what is too large to be a document without reading it", () =>
    Effect.gen(function* () {
      const layer = holding(() => Stream.die("it was read"))
      const large = { ...descriptor, size: 16 * 1024 * 1024 + 1 }
      const error = yield* Effect.flip(Effect.provide(ContentStore.readBytes(large), layer))
      assert.strictEqual(error.reason._tag, "FailedPrecondition")
      assert.include(error.message, `${descriptor.digest} is 16777217 bytes, too large for a document`)
      const limit = { ...descriptor, size: 16 * 1024 * 1024 }
      const exit = yield* Effect.exit(Effect.provide(ContentStore.readBytes(limit), layer))
      assert.deepStrictEqual(exit, Exit.die("it was read"))
    })
  )

  it.effect("does not read on when the store has more than the descriptor says", () =>
    Effect.gen(function* () {
      let chunks = 0
      const endless = Stream.forever(
        Stream.sync(() => {
          chunks++
          return Buffer.alloc(1024 * 1024)
        })
      )
      const error = yield* Effect.flip(
        Effect.provide(
          ContentStore.readBytes(descriptor),
          holding(() => Stream.take(endless, 64))
        )
      )
      assert.strictEqual(error.reason._tag, "DigestMismatch")
      assert.isBelow(chunks, 3)
    })
  )

  it.effect("passes the store's failure on", () =>
    Effect.gen(function* () {
      const layer = holding(() => Stream.concat(Stream.make(data), Stream.fail(failing("NotFound"))))
      const exit = yield* Effect.exit(Effect.provide(ContentStore.readBytes(descriptor), layer))
      assert.deepStrictEqual(exit, Exit.fail(failing("NotFound")))
    })
  )
})
