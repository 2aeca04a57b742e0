import { execFileSync } from "node:child_process"
import * as Fs from "node:fs"
import { createServer } from "node:net"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Option, Stream } from "effect"
import * as DirectoryDiff from "../../src/layer/DirectoryDiff.ts"
import type * as TarRewrite from "../../src/layer/TarRewrite.ts"
import * as Digest from "../../src/oci/Digest.ts"
import { emptyDiffId } from "../../src/oci/Layer.ts"
import * as Tars from "./Tars.ts"
import * as Trees from "./Trees.ts"

const { directory, hardLink, regular, symlink, withPax } = Trees

/** A tree and a copy of it. */
const pair = (...entries: ReadonlyArray<Uint8Array>) =>
  Effect.map(Trees.temporary, (base) => {
    const lower = Trees.place(join(base, "lower"), directory("./"), ...entries)
    const upper = Trees.copy(lower, join(base, "upper"))
    const at = (path: string) => join(upper, path)
    return { base, lower, upper, at, since: Trees.now(base) }
  })

const diff = (options: DirectoryDiff.Options) =>
  Effect.map(Stream.mkUint8Array(DirectoryDiff.diff(options)), (tar) => Buffer.from(tar))

const without = { gnuTar: Option.none() }
const byTar = { largeFiles: { least: Number.POSITIVE_INFINITY, together: 1 } }
const ways: ReadonlyArray<readonly [string, Pick<DirectoryDiff.Options, "gnuTar" | "largeFiles">]> = [
  ...(Trees.hasGnuTar ? [["GNU tar", byTar] as const] : []),
  ...(Trees.hasGnuTar ? [["GNU tar and Node", { largeFiles: { least: 0, together: 0 } }] as const] : []),
  ["Node alone", without]
]

/** `type path`, and where a link leads. */
const listed = (tar: Uint8Array) =>
  Tars.decode(tar).map(({ link, path, type }) => `${type} ${path}${link === "" ? "" : ` -> ${link}`}`)

describe.runIf(Trees.hasGnuTar).each(ways)("the difference, by %s,", (_, way) => {
  const listing = (options: DirectoryDiff.Options) => Effect.map(diff({ ...options, ...way }), listed)

  it.effect("of a copy is an empty layer, whatever time its directories have", () =>
    Effect.gen(function* () {
      const { at, lower, since, upper } = yield* pair(
        directory("d"),
        regular("d/a", "x"),
        symlink("s", "d"),
        hardLink("h", "d/a")
      )
      Fs.writeFileSync(at("d/temporary"), "x")
      Fs.rmSync(at("d/temporary"))
      for (const options of [
        { lower, upper },
        { lower, upper, since }
      ]) {
        assert.deepStrictEqual(yield* DirectoryDiff.changes({ ...options, ...way }), [])
        assert.strictEqual(Digest.fromBytes(yield* diff({ ...options, ...way })), emptyDiffId)
      }
    })
  )

  it.effect("names what was added, changed and deleted, sorted by bytes, with the directories that lead there", () =>
    Effect.gen(function* () {
      const old = ["a/old", "a/same", "a/b/deep", "a-b", "c", "gone/x", "gone/y", "z/same"]
      const { at, lower, upper } = yield* pair(
        ...["a", "a/b", "gone", "z"].map((name) => directory(name)),
        ...old.map((name) => regular(name, name))
      )
      Fs.rmSync(at("gone"), { recursive: true })
      Fs.rmSync(at("a/old"))
      Fs.writeFileSync(at("a/b/new"), "new")
      Fs.appendFileSync(at("a-b"), "more")
      Fs.chmodSync(at("c"), 0o600)
      Fs.mkdirSync(at("fresh"))
      Fs.symlinkSync("/etc/passwd", at("fresh/link"))
      const expected = ["5 ./", "5 a/", "5 a/b/", "0 a/b/new", "0 a/.wh.old", "0 a-b", "0 c"]
      assert.deepStrictEqual(yield* listing({ lower, upper }), [
        ...expected,
        ...["5 fresh/", "2 fresh/link -> /etc/passwd", "0 .wh.gone"]
      ])
      const changes = yield* DirectoryDiff.changes({ lower, upper, ...way })
      assert.deepStrictEqual(
        changes.map(({ kind, path }) => `${kind} ${path}`),
        [
          ...["context ", "context a", "context a/b", "added a/b/new", "deleted a/old", "modified a-b", "modified c"],
          ...["added fresh", "added fresh/link", "deleted gone"]
        ]
      )
    })
  )

  it.effect("says what takes the place of what", () =>
    Effect.gen(function* () {
      const { at, lower, upper } = yield* pair(
        ...[directory("dir"), regular("dir/x"), regular("file"), symlink("link", "dir"), symlink("other", "a")]
      )
      for (const path of ["dir", "file", "link", "other"]) Fs.rmSync(at(path), { recursive: true })
      Fs.writeFileSync(at("dir"), "file now")
      for (const path of ["file", "link"]) Fs.mkdirSync(at(path))
      Fs.writeFileSync(at("file/in"), "")
      Fs.symlinkSync("b", at("other"))
      assert.deepStrictEqual(yield* listing({ lower, upper }), [
        "5 ./",
        "0 dir",
        "5 file/",
        "0 file/in",
        "5 link/",
        "2 other -> b"
      ])
    })
  )

  it.effect("of a directory is its mode or its owner, not its time", () =>
    Effect.gen(function* () {
      const { at, lower, upper } = yield* pair(directory("a"), directory("a/b"), regular("a/b/c"), directory("t"))
      Fs.chmodSync(at("a/b"), 0o1700)
      Fs.utimesSync(at("t"), 5, 5)
      assert.deepStrictEqual(yield* listing({ lower, upper }), ["5 ./", "5 a/", "5 a/b/"])
    })
  )

  it.effect("keeps hard links joined, and tells when they are joined or parted", () =>
    Effect.gen(function* () {
      const groups = ["m", "n", "p", "q", "d"].flatMap((name) => [
        regular(`${name}1`, name),
        hardLink(`${name}2`, `${name}1`),
        hardLink(`${name}3`, `${name}1`)
      ])
      const { at, lower, upper } = yield* pair(...groups, regular("x", "same"), regular("y", "same"))
      Fs.appendFileSync(at("m2"), "modified")
      Fs.linkSync(at("n1"), at("a-new-name"))
      execFileSync("cp", ["-a", at("p1"), at("parted")])
      Fs.renameSync(at("parted"), at("p2"))
      Fs.rmSync(at("d2"))
      Fs.rmSync(at("y"))
      Fs.linkSync(at("x"), at("y"))
      const joined = (first: string, ...names: ReadonlyArray<string>) => [
        `0 ${first}`,
        ...names.map((name) => `1 ${name} -> ${first}`)
      ]
      assert.deepStrictEqual(yield* listing({ lower, upper }), [
        "5 ./",
        "0 a-new-name",
        "0 .wh.d2",
        ...joined("m1", "m2", "m3"),
        ...["1 n1 -> a-new-name", "1 n2 -> a-new-name", "1 n3 -> a-new-name"],
        ...joined("p1", "p3"),
        ...joined("x", "y")
      ])
    })
  )

  it.effect("finds content under an old time when it is told since when", () =>
    Effect.gen(function* () {
      const { at, lower, since, upper } = yield* pair(
        directory("d"),
        regular("d/a", "before"),
        regular("d/b", "before")
      )
      Fs.writeFileSync(at("d/a"), "after!")
      Fs.writeFileSync(at("d/b"), "before")
      for (const path of ["d/a", "d/b"]) Fs.utimesSync(at(path), Trees.time, Trees.time)
      assert.deepStrictEqual(yield* listing({ lower, upper }), [])
      assert.deepStrictEqual(yield* listing({ lower, upper, since }), ["5 ./", "5 d/", "0 d/a"])
    })
  )

  it.live("leaves out sockets and names that a layer cannot hold, and says so", () =>
    Effect.gen(function* () {
      const { at, lower, upper } = yield* pair(regular("a", "file"), regular(".wh.old"))
      Fs.rmSync(at("a"))
      Fs.rmSync(at(".wh.old"))
      for (const path of ["a", "new"]) {
        const server = createServer()
        yield* Effect.acquireRelease(
          Effect.callback<void>((resume) => void server.listen(at(path), () => resume(Effect.void))),
          () => Effect.callback<void>((resume) => void server.close(() => resume(Effect.void)))
        )
      }
      Fs.mkdirSync(at(".wh.dir"))
      Fs.writeFileSync(at(".wh.dir/in"), "")
      const lost: Array<string> = []
      const report: DirectoryDiff.Options["report"] = ({ path, what }) => void lost.push(`${path}: ${what}`)
      assert.deepStrictEqual(yield* listing({ lower, upper, report }), ["5 ./", "0 .wh.a"])
      assert.deepStrictEqual(lost.filter((line) => !line.startsWith(": ")).toSorted(), [
        ".wh.dir: the name begins with .wh., which in a layer stands for a deletion",
        ".wh.old: the deletion of such a name cannot be in a layer",
        "a: a socket cannot be in a layer",
        "new: a socket cannot be in a layer"
      ])
    })
  )

  it.effect("of nothing is everything; symlinks are not followed", () =>
    Effect.gen(function* () {
      const { base, upper } = yield* pair(directory("d", { mode: 0o700 }), regular("d/f", "x"))
      Fs.symlinkSync(base, join(upper, "out"))
      const tar = yield* diff({ lower: undefined, upper, ...way })
      assert.deepStrictEqual(listed(tar), ["5 ./", "5 d/", "0 d/f", `2 out -> ${base}`])
      assert.isTrue(tar.subarray(-1024).every((byte) => byte === 0))
    })
  )

  it.effect("holds sparse files in full, names of any bytes and times to the nanosecond", () =>
    Effect.gen(function* () {
      const { at, lower, upper } = yield* pair()
      Trees.sparse(at("sparse"), 3_000_000)
      const raw = Buffer.concat([Buffer.from(`${upper}/`), Buffer.from([0xff, 0x2d, 0x0a, 0x5c])])
      Fs.writeFileSync(raw, "raw")
      execFileSync("touch", ["-d", "2001-02-03T04:05:06.123456789Z", at("sparse")])
      execFileSync("touch", ["-d", "1960-01-01T00:00:00.5Z", at("sparse"), "-a"])
      const long = `${"d".repeat(150)}/${"f".repeat(150)}`
      Fs.mkdirSync(at(long), { recursive: true })
      const entries = Tars.decode(yield* diff({ lower, upper, ...way }))
      const find = (path: string) => entries.find((entry) => entry.path === path)
      assert.strictEqual(find("sparse")?.content, "\0".repeat(3_000_000))
      assert.include(find("sparse")?.records ?? [], "mtime=981173106.123456789")
      assert.strictEqual(find("\xff-\n\\")?.content, "raw")
      assert.isDefined(find(`${long}/`))
    })
  )

  it.effect("applies an edit, and is the same for the same trees", () =>
    Effect.gen(function* () {
      const { at, base, lower, since, upper } = yield* pair(
        directory("d"),
        ...["b", "a", "c"].map((name) => regular(`d/${name}`, name))
      )
      for (const name of ["z", "y", "a"]) Fs.writeFileSync(at(`d/${name}`), "new")
      const again = Trees.copy(upper, join(base, "again"))
      const edit: TarRewrite.Edit = (entry) => ({ ...entry, uid: 7, gid: 8, mtime: 9 })
      const tar = yield* diff({ lower, upper, edit, ...way })
      assert.isTrue(tar.equals(yield* diff({ lower, upper: again, edit, since, ...way })))
      assert.isTrue(Tars.decode(tar).every(({ gid, uid }) => uid === 7 && gid === 8))
      assert.isTrue((yield* diff({ lower, upper, ...way })).equals(yield* diff({ lower, upper: again, ...way })))
    })
  )

  it.effect("stays a sound layer when files change under its hands, and says so", () =>
    Effect.gen(function* () {
      const { at, lower, upper } = yield* pair()
      Fs.writeFileSync(at("big"), Buffer.alloc(16 * 1024 * 1024, "x"))
      Fs.writeFileSync(at("y"), "")
      Fs.writeFileSync(at("z"), "stays")
      const lost: Array<string> = []
      let [size, isDone] = [0, false]
      const stream = DirectoryDiff.diff({
        ...{ lower, upper, ...way },
        report: ({ path, what }) => void lost.push(`${path}: ${what}`)
      }).pipe(
        Stream.tap((bytes) =>
          Effect.sync(() => {
            size += bytes.length
            if (isDone || size < 1_000_000) return
            Fs.truncateSync(at("big"), 1_000_000)
            Fs.rmSync(at("y"))
            isDone = true
          })
        )
      )
      const tar = Buffer.from(yield* Stream.mkUint8Array(stream))
      assert.deepStrictEqual(listed(tar), ["5 ./", "0 big", "0 z"])
      assert.strictEqual(Tars.decode(tar).at(-1)?.content, "stays")
      assert.match(lost.join("\n"), /big.*shrank/)
      assert.match(lost.join("\n"), /^y: it went away before it was read/m)
    })
  )

  it.live("is given up at once when it is interrupted, and leaves no process", () =>
    Effect.gen(function* () {
      const { at, base, upper } = yield* pair()
      Trees.sparse(at("big"), 2 ** 32)
      const slow = DirectoryDiff.diff({ lower: undefined, upper, ...way }).pipe(Stream.tap(() => Effect.sleep(5)))
      const fiber = yield* Effect.forkChild(Stream.runDrain(slow), { startImmediately: true })
      yield* Effect.sleep(200)
      assert.strictEqual(Trees.processesFor(base).length, way === byTar ? 1 : 0)
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(Trees.processesFor(base), [])
    })
  )

  it.effect(
    "takes no memory that grows with it",
    () =>
      Effect.gen(function* () {
        const { at, lower, upper } = yield* pair()
        const mebibyte = 1024 * 1024
        Trees.sparse(at("big"), 500 * mebibyte)
        const used = () => process.memoryUsage().arrayBuffers + process.memoryUsage().heapUsed
        const before = used()
        let [peak, size] = [0, 0]
        yield* Stream.runForEach(DirectoryDiff.diff({ lower, upper, ...way }), (bytes) =>
          Effect.sync(() => {
            peak = Math.max(peak, used())
            size += bytes.length
          })
        )
        assert.isAbove(size, 500 * mebibyte)
        assert.isBelow((peak - before) / mebibyte, 200)
      }),
    30_000
  )
})

describe.runIf(Trees.hasGnuTar)("the difference", () => {
  it.effect("has the same bytes with and without GNU tar, where there are no extended attributes", () =>
    Effect.gen(function* () {
      const { at, lower, upper } = yield* pair(directory("d"), regular("d/a", "x"), regular("e"))
      Fs.writeFileSync(at("d/b"), Buffer.alloc(100_000, "y"))
      Fs.linkSync(at("d/b"), at("f"))
      Fs.symlinkSync("n".repeat(300), at("long"))
      execFileSync("mkfifo", [at("fifo")])
      Fs.rmSync(at("e"))
      const lost: Array<string> = []
      const node = yield* diff({ lower, upper, ...without, report: ({ what }) => void lost.push(what) })
      assert.isTrue(node.equals(yield* diff({ lower, upper })))
      assert.deepStrictEqual(lost, ["extended attributes and ACLs: GNU tar, which reads them, is not in the PATH"])
    })
  )

  it.effect("finds a changed extended attribute and a changed ACL when it is told since when", () =>
    Effect.gen(function* () {
      const xattr = (value: string) => ({ "SCHILY.xattr.user.a": value, "SCHILY.xattr.user.b%25": "same" })
      const files = (value: string) => [
        withPax(xattr(value), directory("d")),
        withPax(xattr(value), regular("d/f", "x")),
        withPax(xattr("same"), regular("e", "x"))
      ]
      const { lower, since, upper } = yield* pair(...files("1"), regular("g", "x", { mode: 0o664 }))
      const list = Trees.acl([1, 6], [2, 6, 1000], [4, 6], [0x10, 6], [0x20, 4])
      Trees.place(upper, ...files("2"))
      Trees.place(upper, withPax({ "SCHILY.xattr.system.posix_acl_access": list }, regular("g", "x", { mode: 0o664 })))
      assert.deepStrictEqual(listed(yield* diff({ lower, upper })), [])
      const entries = Tars.decode(yield* diff({ lower, upper, since }))
      assert.deepStrictEqual(
        entries.map(({ path, records }) => [path, ...records.filter((record) => !record.startsWith("mtime"))]),
        [
          ["./"],
          ["d/", "SCHILY.xattr.user.a=2", "SCHILY.xattr.user.b%=same"],
          ["d/f", "SCHILY.xattr.user.a=2", "SCHILY.xattr.user.b%=same"],
          ["g", `SCHILY.xattr.system.posix_acl_access=${list.toString("latin1")}`]
        ]
      )
    })
  )

  it.effect("reports an extended attribute whose name a layer cannot say", () =>
    Effect.gen(function* () {
      const { upper } = yield* pair(withPax({ "SCHILY.xattr.user.a%3Db": "1" }, regular("f")))
      const lost: Array<string> = []
      const tar = yield* diff({
        lower: undefined,
        upper,
        report: ({ path, what }) => void lost.push(`${path}: ${what}`)
      })
      assert.deepStrictEqual(lost, [`f: the extended attribute user.a=b: a layer cannot say a name with "="`])
      assert.deepStrictEqual(
        Tars.decode(tar).flatMap(({ records }) => records.filter((r) => r.startsWith("SCHILY"))),
        []
      )
    })
  )

  it.effect("reports that a directory lost an extended attribute, which a layer cannot say", () =>
    Effect.gen(function* () {
      const { at, lower, since, upper } = yield* pair(withPax({ "SCHILY.xattr.user.a": "1" }, directory("d")))
      Fs.rmdirSync(at("d"))
      Fs.mkdirSync(at("d"), { mode: 0o755 })
      const lost: Array<string> = []
      yield* diff({ lower, upper, since, report: ({ path, what }) => void lost.push(`${path}: ${what}`) })
      assert.deepStrictEqual(lost, [
        "d: the removal of the extended attribute user.a: a layer cannot say that of a directory"
      ])
    })
  )

  it.effect("fails with the name of what is not there", () =>
    Effect.gen(function* () {
      const { base, upper } = yield* pair()
      const error = yield* Effect.flip(diff({ lower: join(base, "none"), upper }))
      assert.deepStrictEqual([error._tag, error.kind], ["LayerError", "files"])
      assert.match(error.message, /none/)
    })
  )
})
