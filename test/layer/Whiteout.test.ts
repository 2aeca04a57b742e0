import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import * as TarHeader from "../../src/layer/TarHeader.ts"
import * as TarRewrite from "../../src/layer/TarRewrite.ts"
import * as Whiteout from "../../src/layer/Whiteout.ts"
import * as BaseImage from "../support/BaseImage.ts"

const bytes = (text: string) => new TextEncoder().encode(text)

const rewritten = (tar: Uint8Array) => Stream.make(tar).pipe(TarRewrite.rewrite(Whiteout.timeless), Stream.mkUint8Array)

describe("Whiteout", () => {
  it("tells whiteouts by their names", () => {
    for (const name of [".wh.a", "d/.wh.a", "d/.wh..wh..opq", "d/e/.wh.ü"])
      assert.isTrue(Whiteout.is(bytes(name)), name)
    for (const name of ["a", "d/a.wh.b", ".wh.d/a", "d/.whx", ".wh"]) assert.isFalse(Whiteout.is(bytes(name)), name)
  })

  it.effect("takes the time from whiteouts, pax records of it too, and leaves everything else", () =>
    Effect.gen(function* () {
      const times = (mtime: Date, fraction: string) => [
        { name: "d/.wh.gone", mtime },
        { name: "d/.wh.precise", mtime, pax: { mtime: `${mtime.getTime() / 1000}${fraction}` } },
        { name: "d/kept", body: "kept", mtime: new Date(1_700_000_000_000) }
      ]
      const tarOf = (mtime: Date, fraction: string) => Effect.promise(() => BaseImage.tar(times(mtime, fraction)))
      const early = yield* rewritten(yield* tarOf(new Date(1_600_000_000_000), ".25"))
      const late = yield* rewritten(yield* tarOf(new Date(1_650_000_000_000), ".75"))
      assert.deepStrictEqual(Buffer.from(late), Buffer.from(early))

      const first = early.subarray(0, TarHeader.blockSize)
      TarHeader.verify(first)
      assert.strictEqual(TarHeader.mtime(first), 0)
      const last = early.subarray(early.length - 4 * TarHeader.blockSize)
      assert.strictEqual(TarHeader.mtime(last), 1_700_000_000)
    })
  )
})
