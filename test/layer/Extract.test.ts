import { createHash } from "node:crypto"
import * as Fs from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Stream } from "effect"
import * as Extract from "../../src/layer/Extract.ts"
import * as Sandbox from "./Sandbox.ts"
import * as Tars from "./Tars.ts"
import * as Trees from "./Trees.ts"

const { bytes, end, paxHeader, paxRecord } = Tars
const { directory, hardLink, regular, symlink, whiteout, withPax } = Trees
const { content, extract, layer, names, sandbox, ways, without } = Sandbox

describe.each(ways)("a layer, by %s,", (_, options) => {
  const applied = (lower: (root: string) => void, ...entries: ReadonlyArray<Uint8Array>) =>
    Effect.gen(function* () {
      const { isUntouched, root } = yield* sandbox
      lower(root)
      const result = yield* extract(root, layer(...entries), options)
      isUntouched()
      return { root, result }
    })
  const nothing = () => undefined
  const some = (root: string) => {
    Fs.mkdirSync(join(root, "d/sub"), { recursive: true })
    for (const path of ["file", "d/a", "d/b", "d/sub/c"]) Fs.writeFileSync(join(root, path), `lower ${path}`)
  }

  it.effect("has the digest and the size of its tar, trailing bytes and odd chunks included", () =>
    Effect.gen(function* () {
      const { root } = yield* sandbox
      const tar = bytes(regular("a", "x".repeat(3000)), end, Buffer.alloc(8192))
      for (const sizes of [[1000], [1], [513]]) {
        const { diffId, size } = yield* extract(root, tar, options, sizes)
        assert.strictEqual(diffId, `sha256:${createHash("sha256").update(tar).digest("hex")}`)
        assert.strictEqual(size, tar.length)
        assert.strictEqual(content(root, "a"), "x".repeat(3000))
      }
    })
  )

  it.effect("takes away with a whiteout what lower layers brought, and nothing of its own", () =>
    Effect.gen(function* () {
      const kept = [regular("d/new", "n"), regular("file", "new")]
      for (const entries of [
        [...kept, whiteout(".wh.file"), whiteout("d/.wh.a"), whiteout("d/.wh.new"), whiteout("d/.wh.none")],
        [whiteout(".wh.file"), whiteout("d/.wh.a"), whiteout("d/.wh.new"), ...kept, whiteout("none/.wh.none")]
      ]) {
        const { root } = yield* applied(some, ...entries)
        assert.deepStrictEqual(names(root).toSorted(), ["/d", "/d/b", "/d/new", "/d/sub", "/d/sub/c", "/file"])
        assert.strictEqual(content(root, "file"), "new")
      }
    })
  )

  it.effect("takes a whole directory away, but for what it put there", () =>
    Effect.gen(function* () {
      const { root } = yield* applied(some, whiteout(".wh.d"))
      assert.deepStrictEqual(names(root), ["/file"])
      const other = yield* applied(some, regular("d/sub/new"), whiteout(".wh.d"))
      assert.deepStrictEqual(names(other.root).toSorted(), ["/d", "/d/sub", "/d/sub/new", "/file"])
    })
  )

  it.effect("makes a directory opaque, before and after it is filled", () =>
    Effect.gen(function* () {
      const filled = [directory("d"), directory("d/sub"), regular("d/sub/new", "n"), regular("d/a", "new")]
      for (const entries of [
        [...filled, whiteout("d/.wh..wh..opq")],
        [whiteout("d/.wh..wh..opq"), ...filled]
      ]) {
        const { root } = yield* applied(some, ...entries)
        assert.deepStrictEqual(names(root).toSorted(), ["/d", "/d/a", "/d/sub", "/d/sub/new", "/file"])
        assert.strictEqual(content(root, "d/a"), "new")
      }
    })
  )

  it.effect("replaces a directory by a file and the other way round", () =>
    Effect.gen(function* () {
      const swapped = [regular("d", "file now"), directory("file"), regular("file/in", "x")]
      const { root } = yield* applied(some, ...swapped)
      assert.deepStrictEqual(names(root).toSorted(), ["/d", "/file", "/file/in"])
      const back = [directory("d"), regular("d/x", "x"), symlink("file", "d"), regular("file/through", "t")]
      yield* extract(root, layer(...back), options)
      assert.deepStrictEqual(names(root).toSorted(), ["/d", "/d/through", "/d/x", "/file"])
      yield* extract(root, layer(regular("file", "f"), regular("file", "g")), options)
      assert.strictEqual(content(root, "file"), "g")
      assert.strictEqual(content(root, "d/through"), "t")
    })
  )

  it.effect("describes a directory anew and keeps what is in it", () =>
    Effect.gen(function* () {
      const { root } = yield* applied(
        some,
        directory("./", { mode: 0o711, mtime: 5 }),
        directory("d", { mode: 0o1755, mtime: 1000 }),
        regular("d/new"),
        directory("d", { mode: 0o700, mtime: 2000 }),
        regular("d/newer")
      )
      const tree = Trees.read(root)
      assert.deepStrictEqual([tree["/"]?.mode, tree["/"]?.mtime], ["711", "5000000000"])
      assert.deepStrictEqual([tree["/d"]?.mode, tree["/d"]?.mtime], ["700", "2000000000000"])
      assert.isDefined(tree["/d/a"])
    })
  )

  it.effect("gives directories their times at the end, whatever was done in between", () =>
    Effect.gen(function* () {
      const { root } = yield* applied(
        some,
        directory("d", { mtime: 1000 }),
        directory("new", { mtime: 2000, mode: 0o750 }),
        hardLink("new/a", "d/a"),
        // The lower file may go only when the link is there, so the writer has to settle in the middle.
        whiteout("d/.wh.a"),
        regular("new/b")
      )
      const tree = Trees.read(root)
      assert.deepStrictEqual([tree["/d"]?.mtime, tree["/new"]?.mtime], ["1000000000000", "2000000000000"])
      assert.strictEqual(tree["/new"]?.mode, "750")
      assert.isUndefined(tree["/d/a"])
      assert.strictEqual(content(root, "new/a"), "lower d/a")
    })
  )

  it.effect("makes parents that it does not mention", () =>
    Effect.gen(function* () {
      const { root } = yield* applied(nothing, regular("p/q/r", "x"), regular("p/s", "y"))
      const tree = Trees.read(root)
      assert.deepStrictEqual([tree["/p"]?.mode, tree["/p/q"]?.mode], ["755", "755"])
      assert.strictEqual(content(root, "p/s"), "y")
    })
  )

  it.effect("joins hard links, also of symlinks, and to files of lower layers", () =>
    Effect.gen(function* () {
      const { root } = yield* applied(
        some,
        regular("one", "1"),
        hardLink("d/two", "./one"),
        symlink("s", "/no/where"),
        hardLink("t", "s"),
        hardLink("three", "d/../d/b")
      )
      const tree = Trees.read(root)
      assert.strictEqual(tree["/one"]?.links, "/d/two /one")
      assert.strictEqual(tree["/s"]?.links, "/s /t")
      assert.strictEqual(tree["/t"]?.content, "/no/where")
      assert.strictEqual(tree["/three"]?.links, "/d/b /three")
    })
  )

  it.effect("takes names of any bytes for nothing but names", () =>
    Effect.gen(function* () {
      const odd = ["-P", "--checkpoint-action=exec=touch evil", "@list", "*", "a\nb", "a\\nb", "tab\t", "...", " "]
      const raw = bytes([0xff, 0x80, 0x2e])
      const long = `${"n".repeat(255)}/${"m".repeat(255)}`
      const { root } = yield* applied(
        nothing,
        ...odd.map((name) => regular(name, name)),
        withPax({ path: raw }, regular("x", "raw")),
        withPax({ path: long }, regular("x", "long"))
      )
      const expected = [...odd, raw.toString("latin1"), "n".repeat(255), long].map((name) => `/${name}`)
      assert.deepStrictEqual(names(root).toSorted(), expected.toSorted())
      assert.strictEqual(content(root, long), "long")
    })
  )

  it.effect("ignores what a global header says, and what aufs kept for itself", () =>
    Effect.gen(function* () {
      const global = paxHeader(paxRecord("path", "../canary/evil"), "g")
      const { root } = yield* applied(
        nothing,
        global,
        regular("ok"),
        regular(".wh..wh.plnk/1"),
        whiteout(".wh..wh.orph")
      )
      assert.deepStrictEqual(names(root), ["/ok"])
    })
  )

  it.effect("takes a name with a slash at its end for a directory where there is no type", () =>
    Effect.gen(function* () {
      const { root } = yield* applied(nothing, Tars.header({ name: "old/", type: "\0", mode: 0o755, dialect: "v7" }))
      assert.strictEqual(Trees.read(root)["/old"]?.type, "4")
    })
  )

  it.effect("passes the failure of its source on", () =>
    Effect.gen(function* () {
      const { root } = yield* sandbox
      const source = Stream.concat(Stream.make(regular("a", "x")), Stream.fail("broken" as const))
      assert.strictEqual(yield* Effect.flip(Extract.extract(source, root, options)), "broken")
    })
  )

  it.live("is given up at once when it is interrupted, and leaves no process", () =>
    Effect.gen(function* () {
      const { root } = yield* sandbox
      const chunk = Buffer.alloc(65_536)
      const endless = Stream.concat(
        Stream.make(Tars.header({ name: "big", size: 2 ** 32 })),
        Stream.make(chunk).pipe(
          Stream.forever,
          Stream.tap(() => Effect.sleep(1))
        )
      )
      const fiber = yield* Effect.forkChild(Extract.extract(endless, root, options), { startImmediately: true })
      yield* Effect.sleep(150)
      assert.strictEqual(Trees.processesFor(root).length, options === without ? 0 : 1)
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(Trees.processesFor(root), [])
    })
  )

  it.effect(
    "takes no memory that grows with it",
    () =>
      Effect.gen(function* () {
        const { root } = yield* sandbox
        const chunk = Buffer.alloc(1024 * 1024, "x")
        const used = () => process.memoryUsage().arrayBuffers + process.memoryUsage().heapUsed
        const before = used()
        let peak = 0
        const tar = Stream.make<ReadonlyArray<Uint8Array>>(Tars.header({ name: "big", size: 500 * chunk.length })).pipe(
          Stream.concat(Stream.make(chunk).pipe(Stream.forever, Stream.take(500))),
          Stream.concat(Stream.make(end)),
          Stream.tap(() =>
            Effect.sync(() => {
              peak = Math.max(peak, used())
            })
          )
        )
        yield* Extract.extract(tar, root, options)
        assert.strictEqual(Fs.statSync(join(root, "big")).size, 500 * chunk.length)
        assert.isBelow((peak - before) / chunk.length, 100)
      }),
    30_000
  )
})
