import { execFileSync } from "node:child_process"
import * as Fs from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Option, Result, Schema, Stream } from "effect"
import type { Lost } from "../../src/layer/Concession.ts"
import * as DirectoryDiff from "../../src/layer/DirectoryDiff.ts"
import * as Extract from "../../src/layer/Extract.ts"
import * as Metadata from "../../src/layer/Metadata.ts"
import * as Rights from "../../src/layer/Rights.ts"
import * as RandomTrees from "./RandomTrees.ts"
import * as Tars from "./Tars.ts"
import * as Trees from "./Trees.ts"

const seed = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 2 ** 31 }))
const { directory, regular, whiteout, withPax } = Trees

const toPath = (name: string) => `/${name.replace(/^\.\//, "").replace(/\/$/, "")}`

/** Directories that a layer does not name keep their time only where nothing was made in them. */
const withTimesOf = (tree: Trees.Tree, tar: Uint8Array, without: ReadonlyArray<keyof Trees.Node> = []) => {
  const named = new Set(Tars.decode(tar).map(({ path }) => toPath(path)))
  return Object.fromEntries(
    Object.entries(tree).map(([path, node]) => {
      const skipped = [...without, ...(node.type === "4" && !named.has(path) ? (["mtime"] as const) : [])]
      return [path, Object.fromEntries(Object.entries(node).filter(([key]) => !skipped.some((one) => one === key)))]
    })
  )
}

/** What differs, and nothing else: trees are long. */
const assertSame = (actual: object, expected: object) => {
  const lines = (tree: object) => Object.entries(tree).map((entry) => JSON.stringify(entry))
  const [a, b] = [lines(actual), lines(expected)]
  const only = (some: ReadonlyArray<string>, others: ReadonlyArray<string>) =>
    some.filter((line) => !others.includes(line)).join("\n")
  assert.isTrue(only(a, b) + only(b, a) === "", `there is\n${only(a, b)}\nand there should be\n${only(b, a)}`)
}

const diff = (options: DirectoryDiff.Options) =>
  Effect.map(Stream.mkUint8Array(DirectoryDiff.diff(options)), (tar) => Buffer.from(tar))

const extract = (tar: Uint8Array, root: string, options?: Extract.Options) =>
  Extract.extract(Stream.fromIterable(Tars.chunked(tar, [7001])), root, options)

describe.runIf(Trees.hasGnuTar)("copy, change, diff, extract", () => {
  const trip = (number: number, way: { readonly gnuTar?: Option.Option<never> }) =>
    Effect.gen(function* () {
      const is = RandomTrees.random(number)
      const base = yield* Trees.temporary
      const lower = Trees.place(join(base, "lower"), directory("./"), ...RandomTrees.entries(is, 5 + is.int(25)))
      const upper = Trees.copy(lower, join(base, "upper"))
      const since = Trees.now(base)
      RandomTrees.mutate(is, upper, 1 + is.int(12))
      const lost: Array<Lost> = []
      const tar = yield* diff({ lower, upper, since, ...way, report: (one) => void lost.push(one) })
      const target = Trees.copy(lower, join(base, "target"))
      const { notApplied } = yield* extract(tar, target, way)
      return { lost, notApplied, tar, target: Trees.read(target), upper: Trees.read(upper) }
    })

  it.effect.prop(
    "gives the same tree, whatever is in it and whatever happens to it",
    { number: seed },
    ({ number }) =>
      Effect.gen(function* () {
        const { lost, notApplied, tar, target, upper } = yield* trip(number, {})
        // The one thing that a layer has no word for.
        assert.isTrue(lost.every(({ what }) => what.startsWith("the removal of the extended attribute")))
        const without = lost.length === 0 ? [] : (["xattrs"] as const)
        assertSame(withTimesOf(target, tar, without), withTimesOf(upper, tar, without))
        assert.deepStrictEqual(notApplied, [])
      }).pipe(Effect.scoped),
    { arbitrary: { runs: 150 }, timeout: 120_000 }
  )

  it.effect.prop(
    "loses nothing but attributes, devices and nanoseconds without GNU tar",
    { number: seed },
    ({ number }) =>
      Effect.gen(function* () {
        const { tar, target, upper } = yield* trip(number, { gnuTar: Option.none() })
        const lost = ["xattrs", "mtime"] as const
        const plain = (tree: Trees.Tree) =>
          Object.fromEntries(Object.entries(tree).filter(([path]) => /^(4|10|12)$/.test(upper[path]?.type ?? "")))
        assertSame(withTimesOf(plain(target), tar, lost), withTimesOf(plain(upper), tar, lost))
        assert.deepStrictEqual(Object.keys(target), Object.keys(upper))
      }).pipe(Effect.scoped),
    { arbitrary: { runs: 40 }, timeout: 120_000 }
  )

  it.effect.prop(
    "gives the layer of a whole tree back, for a user who may do nothing, too",
    { number: seed },
    ({ number }) =>
      Effect.gen(function* () {
        const is = RandomTrees.random(number)
        const base = yield* Trees.temporary
        const tree = Trees.place(join(base, "tree"), directory("./"), ...RandomTrees.entries(is, 5 + is.int(25)))
        const tar = yield* diff({ lower: undefined, upper: tree })
        const root = join(base, "root")
        Fs.mkdirSync(root)
        const rights = Rights.ordinary({ uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 })
        const { metadata } = yield* extract(tar, root, { rights })
        const again = yield* diff({ lower: undefined, upper: root, metadata })
        assertSame(Tars.decode(again), Tars.decode(tar))
      }).pipe(Effect.scoped),
    { arbitrary: { runs: 50 }, timeout: 120_000 }
  )
})

describe.runIf(Trees.hasGnuTar)("a user who may not do much", () => {
  const user = 65534
  const asUser = (args: ReadonlyArray<string>) => {
    const script = join(import.meta.dirname, "OrdinaryUser.ts")
    const node = [process.execPath, "--conditions=effect-containerd-source", script, ...args]
    const prefix = Trees.isRoot ? ["setpriv", `--reuid=${user}`, `--regid=${user}`, "--clear-groups", "--"] : []
    const [program = "", ...rest] = [...prefix, ...node]
    return execFileSync(program, rest, { encoding: "utf8", stdio: "pipe" })
  }

  it.effect(
    "makes the same layer of what could not be set",
    () =>
      Effect.gen(function* () {
        const base = yield* Trees.temporary
        Fs.chmodSync(base, 0o777)
        const capability = { "SCHILY.xattr.security.capability": Tars.capabilities[2] }
        const null3 = Tars.sealed(Tars.header({ name: "null", type: "3", mode: 0o666, mtime: Trees.time }))
        const first = [
          directory("./"),
          directory("closed", { mode: 0o555 }),
          regular("closed/a", "a", { uid: 5, gid: 6 }),
          regular("closed/b", "b"),
          directory("closed/deep", { mode: 0o500 }),
          regular("closed/deep/c", "c"),
          directory("hidden", { mode: 0 }),
          regular("hidden/secret", "s", { mode: 0, uid: 7 }),
          withPax(capability, regular("ping", "p", { mode: 0o755 })),
          null3,
          withPax({ "SCHILY.xattr.user.a": "1" }, directory("read-only", { mode: 0o555 })),
          withPax({ "SCHILY.xattr.user.a": "1" }, regular("read-only/file", "r", { mode: 0o444 })),
          regular("set", "u", { mode: 0o4755 })
        ]
        const second = [
          directory("closed", { mode: 0o555 }),
          whiteout("closed/.wh.b"),
          whiteout("closed/.wh.deep"),
          regular("closed/new", "n", { gid: 9 }),
          Trees.hardLink("closed/same", "closed/a"),
          whiteout("hidden/.wh.secret")
        ]
        const layers = [first, second].map((entries, index) => {
          const path = join(base, `layer${index}`)
          Fs.writeFileSync(path, Tars.bytes(...entries, Tars.end))
          return path
        })
        const out = join(base, "out")
        asUser([join(base, "root"), out, ...layers])
        const entries = Tars.decode(Fs.readFileSync(out)).map(({ gid, link, path, rest, type, uid }) => {
          const mode = Number.parseInt(rest.slice(100, 107), 8).toString(8)
          return `${type} ${path}${link === "" ? "" : ` -> ${link}`} ${mode} ${uid}:${gid}`
        })
        assert.deepStrictEqual(entries, [
          "5 ./ 755 0:0",
          "5 closed/ 555 0:0",
          "0 closed/a 644 5:6",
          "0 closed/new 644 0:9",
          "1 closed/same -> closed/a 644 5:6",
          "5 hidden/ 0 0:0",
          "3 null 666 0:0",
          "0 ping 755 0:0",
          "5 read-only/ 555 0:0",
          "0 read-only/file 444 0:0",
          "0 set 4755 0:0"
        ])
        const entriesWith = (record: string) =>
          Tars.decode(Fs.readFileSync(out)).flatMap(({ path, records }) => (records.includes(record) ? [path] : []))
        const [ping] = Tars.decode(Fs.readFileSync(out)).filter(({ path }) => path === "ping")
        assert.include(
          ping?.records ?? [],
          `SCHILY.xattr.security.capability=${Tars.capabilities[2].toString("latin1")}`
        )
        assert.strictEqual(entriesWith("SCHILY.xattr.user.a=1").join(" "), "read-only/ read-only/file")
        assert.strictEqual(Fs.statSync(join(base, "root/hidden")).mode & 0o777, 0o500)
      }),
    30_000
  )
})

describe("metadata", () => {
  const file = {
    owner: { uid: 5, gid: 6 },
    mode: { real: 0, shown: 0o400 },
    xattrs: [["security.capability", "AAEC"]]
  } as const
  const metadata: Metadata.Metadata = {
    self: { uid: 1000, gid: 1000 },
    paths: new Map<string, Metadata.Attributes>([
      ["__proto__", file],
      ["\xff/d", { special: { type: "4", major: 8, minor: 1 } }]
    ])
  }
  const entry = (path: string) => ({
    ...({
      path,
      type: "0",
      mode: 0o400,
      uid: 1000,
      gid: 1000,
      size: 0,
      mtime: 0n,
      link: "",
      major: 0,
      minor: 0,
      xattrs: []
    } as const)
  })

  it("comes back from its text; damaged text is refused", () => {
    const back = Metadata.fromJson(Metadata.toJson(metadata))
    assert.deepStrictEqual(Result.getOrThrow(back), metadata)
    for (const text of ["", "{}", '{"paths":[["a",{"mode":1}]]}']) {
      const result = Metadata.fromJson(text)
      assert.isTrue(Result.isFailure(result))
    }
  })

  it("gives an entry back what it should be", () => {
    const restored = Metadata.restore(metadata, entry("__proto__"), { root: "/", lower: undefined, sameContent: true })
    assert.deepStrictEqual([restored.uid, restored.gid, restored.mode], [5, 6, 0])
    assert.deepStrictEqual(restored.xattrs, [{ name: "security.capability", value: Buffer.from([0, 1, 2]) }])
    const device = Metadata.restore(metadata, entry("\xff/d"), { root: "/", lower: undefined, sameContent: true })
    assert.deepStrictEqual([device.type, device.major, device.minor, device.uid], ["4", 8, 1, 0])
  })

  it("yields to what was changed on the disk", () => {
    const changed = { ...entry("__proto__"), mode: 0o644, uid: 1001, size: 5 }
    const restored = Metadata.restore(metadata, changed, { root: "/", lower: undefined, sameContent: false })
    assert.deepStrictEqual([restored.uid, restored.gid, restored.mode, restored.xattrs.length], [1001, 1000, 0o644, 0])
    assert.strictEqual(
      Metadata.restore(metadata, { ...entry("\xff/d"), size: 1 }, { root: "/", lower: undefined, sameContent: false })
        .type,
      "0"
    )
  })
})
