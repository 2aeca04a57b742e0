import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { clampTimes } from "../../src/layer/ClampTimes.ts"
import * as Omit from "../../src/layer/Omit.ts"
import * as TarEntry from "../../src/layer/TarEntry.ts"
import * as TarReader from "../../src/layer/TarReader.ts"
import * as TarRewrite from "../../src/layer/TarRewrite.ts"
import * as Tars from "./Tars.ts"
import * as Trees from "./Trees.ts"

const { directory, hardLink, regular, symlink, whiteout } = Trees

const tarOf = (...entries: ReadonlyArray<Uint8Array>) => Buffer.from(Tars.bytes(...entries, Tars.end))

const judgeOf =
  (omitted: ReadonlyArray<string>, ifEmpty: ReadonlyArray<string> = []): Omit.Judge =>
  (path) =>
    omitted.includes(path) ? "omit" : ifEmpty.includes(path) ? "if-empty" : "keep"

const chunks = (tar: Uint8Array) => Stream.fromIterable(Tars.chunked(tar, [7, 500, 1024]))

const without = (tar: Uint8Array, judge: Omit.Judge) =>
  Effect.gen(function* () {
    const omissions = yield* Omit.scan(chunks(tar), judge)
    const out = yield* Stream.mkUint8Array(chunks(tar).pipe(TarRewrite.rewrite(Omit.omit(omissions))))
    return { kept: omissions.kept, tar: Buffer.from(out) }
  })

describe("leaving out", () => {
  it.effect("takes entries with their content, and leaves the bytes of the others", () =>
    Effect.gen(function* () {
      const [a, b, c] = [regular("a", "x".repeat(1500)), regular("d/b", "y".repeat(512)), regular("d/c", "z")]
      assert.deepStrictEqual((yield* without(tarOf(a, b, c), judgeOf(["d/b"]))).tar, tarOf(a, c))
      assert.deepStrictEqual((yield* without(tarOf(a, b, c), judgeOf(["a"]))).tar, tarOf(b, c))
      assert.deepStrictEqual((yield* without(tarOf(a, b, c), judgeOf([]))).tar, tarOf(a, b, c))
      assert.deepStrictEqual(yield* without(tarOf(a, b, c), judgeOf(["a", "d/b", "d/c"])), { kept: 0, tar: tarOf() })
    })
  )

  it.effect("takes a directory only when nothing that stays is in it", () =>
    Effect.gen(function* () {
      const judge = judgeOf(["e/f/gone"], ["e", "e/f", "g"])
      const entries = [directory("e"), directory("e/f"), regular("e/f/gone"), directory("g"), regular("g/stays")]
      const { kept, tar } = yield* without(tarOf(...entries), judge)
      assert.deepStrictEqual(tar, tarOf(...entries.slice(3)))
      assert.strictEqual(kept, 2)
    })
  )

  it.effect("asks about a deletion under the name that is gone", () =>
    Effect.gen(function* () {
      const [gone, opaque] = [whiteout("d/.wh.name"), whiteout("o/.wh..wh..opq")]
      assert.deepStrictEqual((yield* without(tarOf(gone, opaque), judgeOf(["d/name"]))).tar, tarOf(opaque))
      assert.deepStrictEqual((yield* without(tarOf(gone, opaque), judgeOf(["o"]))).tar, tarOf(gone))
    })
  )

  it.effect("gives the content of a file that goes to its next name", () =>
    Effect.gen(function* () {
      const entries = [
        regular("a", "content"),
        hardLink("b", "a"),
        symlink("s", "a"),
        hardLink("c", "a"),
        hardLink("d", "a")
      ]
      const { tar } = yield* without(tarOf(...entries), judgeOf(["a", "b"]))
      const found = Tars.decode(tar).map(({ link, path, type }) => [path, type, link])
      assert.deepStrictEqual(found, [
        ["c", "0", ""],
        ["s", "2", "a"],
        ["d", "1", "c"]
      ])
      assert.include(tar.toString("latin1"), "content")
    })
  )
})

describe("clampTimes", () => {
  it.effect("makes nothing younger, fractions of a second included, and leaves what is older", () =>
    Effect.gen(function* () {
      const young = Trees.withPax({ mtime: "100.5" }, regular("young", "x"))
      const old = Trees.withPax({ mtime: "99.5" }, regular("old", "x"))
      const out = yield* Stream.mkUint8Array(chunks(tarOf(young, old)).pipe(TarRewrite.rewrite(clampTimes(100))))
      const times = TarReader.make()
        .push(out)
        .flatMap((event) => (event._tag === "Entry" ? [TarEntry.decode(event.header)] : []))
        .map(({ mtime, path }) => [path, mtime])
      assert.deepStrictEqual(times, [
        ["young", 100_000_000_000n],
        ["old", 99_500_000_000n]
      ])
    })
  )
})
