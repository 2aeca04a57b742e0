import * as Fs from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Sandbox from "./Sandbox.ts"
import * as Tars from "./Tars.ts"
import * as Trees from "./Trees.ts"

const { bytes, end } = Tars
const { directory, hardLink, regular, symlink, whiteout, withPax } = Trees
const { content, extract, layer, names, sandbox, ways } = Sandbox

describe.each(ways)("a layer that means no good, by %s,", (_, options) => {
  const lowerLinks = (canary: string) => (root: string) => {
    Fs.mkdirSync(join(root, "d"))
    Fs.symlinkSync("../canary", join(root, "up"))
    Fs.symlinkSync(canary, join(root, "absolute"))
    Fs.symlinkSync("../../../../../../../../../../../..", join(root, "far"))
    Fs.symlinkSync("../canary/file", join(root, "file"))
    Fs.symlinkSync("loop", join(root, "loop"))
  }

  /** Inside of the root, where a chroot would put it. */
  const resolved: ReadonlyArray<readonly [what: string, entries: (canary: string) => ReadonlyArray<Uint8Array>]> = [
    ["an absolute symlink", () => [regular("absolute/file", "evil"), directory("absolute/dir", { mode: 0o711 })]],
    [
      "an absolute symlink of its own",
      (canary) => [symlink("own", canary), regular("own/file", "evil"), symlink("own/link", "x")]
    ],
    ["a chain of symlinks", (canary) => [symlink("c1", "d/c2"), symlink("d/c2", canary), regular("c1/file", "evil")]],
    ["a whiteout through a symlink", () => [whiteout("absolute/.wh.dir")]],
    ["an opaque marker through a symlink", () => [whiteout("absolute/.wh..wh..opq")]],
    ["a whiteout of a symlink", () => [whiteout(".wh.up"), whiteout(".wh.absolute"), whiteout(".wh.file")]],
    [
      "a symlink in the place of the name",
      () => [regular("file", "evil"), directory("up", { mode: 0 }), regular("absolute")]
    ],
    ["a hard link to a symlink", () => [hardLink("h", "file"), hardLink("i", "absolute"), regular("i/file", "evil")]],
    ["a lower directory that is emptied behind a symlink", (canary) => [symlink("d", canary), whiteout("d/.wh.dir")]]
  ]

  it.effect.each(resolved)("stays inside with %s", ([, entries]) =>
    Effect.gen(function* () {
      const { canary, isUntouched, root } = yield* sandbox
      lowerLinks(canary)(root)
      yield* extract(root, layer(...entries(canary)), options)
      isUntouched()
    })
  )

  it.effect("puts what is named through a symlink where a root would have it", () =>
    Effect.gen(function* () {
      const { canary, root } = yield* sandbox
      lowerLinks(canary)(root)
      Fs.symlinkSync("..", join(root, "d/above"))
      Fs.symlinkSync("/top", join(root, "d/top"))
      const through = ["absolute/1", "d/above/2", "d/top/3"].map((name) => regular(name, name))
      yield* extract(root, layer(...through), options)
      const found = [`${canary.slice(1)}/1`, "2", "top/3"].map((path) => content(root, path))
      assert.deepStrictEqual(found, ["absolute/1", "d/above/2", "d/top/3"])
    })
  )

  const long = "n".repeat(256)
  const refused: ReadonlyArray<readonly [what: string, pattern: RegExp, ...ReadonlyArray<Uint8Array>]> = [
    ["a name that climbs out", /"\.\.\/canary\/file" leads out of/, regular("../canary/file", "evil")],
    ["a name that climbs out later", /leads out of/, directory("a/b/../../../canary", { mode: 0 })],
    ["an absolute name", /"\/x" is absolute/, regular("/x", "evil")],
    ["an absolute name that climbs out", /is absolute/, regular("/../canary/file", "evil")],
    ["an absolute directory", /is absolute/, directory("/", { mode: 0 })],
    ["an absolute whiteout", /is absolute/, whiteout("/.wh.d")],
    [
      "a symlink of a lower layer that climbs out",
      /"up\/file" leads through a symlink that points out/,
      regular("up/file")
    ],
    ["a symlink that climbs far", /points out/, regular("far/x")],
    ["a symlink of its own that climbs out", /points out/, symlink("own", "../canary"), regular("own/file", "evil")],
    ["a chain of symlinks that climbs out", /points out/, symlink("d/c", "../up"), directory("d/c/dir", { mode: 0 })],
    ["a directory that becomes a symlink", /"m" changes its type/, directory("m"), regular("m/a"), symlink("m", "d")],
    ["a directory that was not named and becomes a symlink", /"m" changes its type/, regular("m/a"), symlink("m", "d")],
    ["a file that becomes a symlink", /"m" changes its type/, regular("m"), symlink("m", "../canary/file")],
    ["a symlink that becomes a directory", /"m" changes its type/, symlink("m", "d"), directory("m")],
    ["a symlink that becomes a hard link", /"m" changes its type/, symlink("m", "d"), regular("r"), hardLink("m", "r")],
    ["a whiteout through a symlink that climbs out", /points out/, whiteout("up/.wh.file")],
    ["an opaque marker through such a symlink", /points out/, whiteout("up/.wh..wh..opq")],
    ["a whiteout that climbs out", /leads out of/, whiteout("../canary/.wh.file")],
    ["a name in a circle of symlinks", /"loop\/x" leads through too many/, regular("loop/x")],
    ["a name through a file", /"r\/x" leads through "r", which is no directory/, regular("r"), regular("r/x")],
    ["a name with a NUL", /has a NUL/, withPax({ path: bytes("a\0b") }, regular("x"))],
    ["a name that is too long", /more than 255 bytes/, withPax({ path: long }, regular("x"))],
    ["a directory with a name that is too long", /more than 255 bytes/, withPax({ path: `${long}/x` }, regular("x"))],
    ["two names", /two names/, Tars.gnuLong("L", "../canary/file"), withPax({ path: "x" }, regular("x"))],
    ["a symlink to nothing", /symlink to no name/, symlink("s", "")],
    ["a symlink with a NUL", /symlink to no name/, withPax({ linkpath: bytes("a\0b") }, symlink("s", "x"))],
    [
      "a hard link that climbs out",
      /"h" is a link to "\.\.\/canary\/file", which leads out/,
      hardLink("h", "../canary/file")
    ],
    ["an absolute hard link", /"h" is a link to "\/d", which is absolute/, hardLink("h", "/d")],
    ["a hard link through a symlink that climbs out", /points out/, hardLink("h", "up/file")],
    ["a hard link through an absolute symlink", /which is not there/, hardLink("h", "absolute/file")],
    ["a hard link to a directory", /which is a directory/, hardLink("h", "d")],
    ["a hard link to nothing", /which is not there/, hardLink("h", "nothing")],
    ["a hard link to itself", /takes the place of/, regular("h"), hardLink("h", "h")],
    ["a hard link to what it replaces", /takes the place of/, directory("p"), regular("p/q"), hardLink("p", "p/q")],
    ["a root that is no directory", /stands for the root/, regular("."), regular("./")],
    ["a whiteout of no name", /whiteout of no name/, whiteout(".wh.")],
    ["a whiteout of its directory", /whiteout of no name/, whiteout("d/.wh..")],
    ["a whiteout of its parent", /whiteout of no name/, whiteout("d/.wh...")],
    ["a whiteout with a name that is too long", /more than 255 bytes/, withPax({ path: `.wh.${long}` }, whiteout("x"))],
    ["something in a whiteout", /inside of a whiteout/, regular(".wh.x/y")]
  ]

  it.effect.each(refused)("is refused for %s, before that has an effect", ([, pattern, ...entries]) =>
    Effect.gen(function* () {
      const { canary, isUntouched, root } = yield* sandbox
      lowerLinks(canary)(root)
      const error = yield* Effect.flip(extract(root, layer(...entries), options))
      assert.deepStrictEqual([error._tag, error.kind], ["LayerError", "unsafe"])
      assert.match(error.message, pattern)
      isUntouched()
    })
  )

  it.effect("can delete a name of 255 bytes", () =>
    Effect.gen(function* () {
      const name = "n".repeat(255)
      const { root } = yield* sandbox
      Fs.writeFileSync(join(root, name), "")
      yield* extract(root, layer(withPax({ path: `.wh.${name}` }, whiteout("x"))), options)
      assert.deepStrictEqual(names(root), [])
    })
  )

  it.effect.each([
    ["that ends too early", regular("a", "x".repeat(2000)).subarray(0, 1500)],
    ["with a damaged header", bytes(regular("a"), Buffer.alloc(512, "x"), end)],
    ["that goes on after its end", bytes(regular("a"), Buffer.alloc(512), regular("b"))],
    ["with a sparse file", bytes(withPax({ "GNU.sparse.major": "1" }, regular("a")), end)],
    ["with a type that nobody knows", bytes(Tars.header({ name: "a", type: "V" }), end)],
    ["with a time that is none", bytes(withPax({ mtime: "now" }, regular("a")), end)],
    ["with a directory that has content", bytes(Tars.file({ name: "a/", type: "\0", dialect: "v7" }, "x"), end)]
  ] as const)("%s fails, and nothing else happens", ([, tar]) =>
    Effect.gen(function* () {
      const { isUntouched, root } = yield* sandbox
      const error = yield* Effect.flip(extract(root, tar, options))
      assert.strictEqual(error.kind, "tar")
      isUntouched()
      assert.deepStrictEqual(Trees.processesFor(root), [])
    })
  )
})
