import { assert, describe, it } from "@effect/vitest"
import { Effect, Option } from "effect"
import { judgeOf } from "../../src/commit/Omissions.ts"
import { type CommitOptions, check } from "../../src/commit/Options.ts"
import type { Verdict } from "../../src/layer/Omit.ts"
import type * as TarEntry from "../../src/layer/TarEntry.ts"

type Options = Omit<CommitOptions, "container">

const entryOf = (path: string, fields: Partial<TarEntry.TarEntry>): TarEntry.TarEntry => ({
  ...{ path, type: "0", mode: 0o644, uid: 0, gid: 0, size: 0, mtime: 0n, link: "", major: 0, minor: 0, xattrs: [] },
  ...fields
})

/** A path with a slash at its end is a directory, one with `=` a file that is not empty, one with `->` a symlink. */
const read = (text: string): readonly [path: string, entry: TarEntry.TarEntry] => {
  const path = text.replace(/[/=]$|->.*$/g, "")
  if (text.endsWith("/")) return [path, entryOf(path, { type: "5" })]
  if (text.includes("->")) return [path, entryOf(path, { type: "2", link: text.replace(/^.*->/, "") })]
  return [path, entryOf(path, { size: text.endsWith("=") ? 1 : 0 })]
}

/** A deletion is judged under the name that is gone. */
const gone = (path: string): readonly [path: string, entry: TarEntry.TarEntry] => [
  path,
  entryOf(path.replace(/([^/]*)$/, ".wh.$1"), {})
]

const mounted = (...destinations: ReadonlyArray<string>) => ({
  spec: { mounts: destinations.map((destination) => ({ destination })) }
})

const judge = (spec: ReturnType<typeof mounted>, options: Options, [path, entry]: ReturnType<typeof read>) =>
  Effect.map(check({ container: "c", ...options }), (request) =>
    Option.match(judgeOf(spec, request), { onNone: () => "no judge", onSome: (f) => f(path, entry) })
  )

describe("what runtimes make to mount something over", () => {
  const container = mounted("/proc", "/mnt/dir/", "//mnt//file", "/mnt/é", "/")
  it.effect.each<readonly [string, Verdict]>([
    ["proc/", "if-empty"],
    ["mnt/dir/", "if-empty"],
    ["mnt/file", "omit"],
    [Buffer.from("mnt/é").toString("latin1"), "omit"],
    // With something in it, it was the user's before it was mounted over.
    ["mnt/file=", "keep"],
    ["mnt/file->x", "keep"],
    ["mnt/", "keep"],
    ["mnt/dir/file", "keep"],
    ["mnt/other", "keep"],
    // Not mounted over, so the user has emptied it.
    ["etc/hosts", "keep"],
    // No mount tells of these.
    [".dockerenv", "omit"],
    ["run/.containerenv", "omit"],
    ["dev/shm/", "if-empty"],
    ["etc/mtab->/proc/mounts", "omit"],
    ["etc/hosts=", "keep"],
    ["etc/hosts->x", "keep"],
    ["etc/", "keep"]
  ])("%s: %s", ([text, verdict]) =>
    Effect.gen(function* () {
      assert.strictEqual(yield* judge(container, {}, read(text)), verdict)
      assert.strictEqual(yield* judge(container, { stubs: "keep" }, read(text)), "no judge")
      // What never ran has no mounts, and nobody made anything in it.
      assert.strictEqual(yield* judge(mounted(), {}, read(text)), "no judge")
    })
  )

  it.effect("is nothing that was deleted", () =>
    Effect.gen(function* () {
      for (const path of ["etc/hosts", "mnt/file", "proc"]) {
        assert.strictEqual(yield* judge(container, {}, gone(path)), "keep")
      }
    })
  )
})

describe("what is left out", () => {
  it.effect.each<readonly [Options, string, Verdict]>([
    [{ exclude: ["var/cache"] }, "var/cache/", "omit"],
    [{ exclude: ["var/cache"] }, "var/cache/deep/file=", "omit"],
    [{ exclude: ["var/cache"] }, "var/cached=", "keep"],
    [{ exclude: ["var/cache"] }, "srv/var/cache/", "keep"],
    [{ exclude: ["/var/cache/", "./srv//x"] }, "var/cache/file=", "omit"],
    [{ exclude: ["/var/cache/", "./srv//x"] }, "srv/x=", "omit"],
    [{ exclude: ["*.log"] }, "a.log=", "omit"],
    [{ exclude: ["*.log"] }, "d/a.log=", "keep"],
    [{ exclude: ["**/*.log"] }, "d/e/a.log=", "omit"],
    [{ exclude: ["**/*.log"] }, ".hidden.log=", "omit"],
    [{ exclude: ["home/?/.cache"] }, "home/a/.cache/x=", "omit"],
    [{ exclude: ["{a,b}/[xy]"] }, "b/y=", "omit"],
    [{ exclude: ["!(a)"] }, "b=", "omit"],
    [{ exclude: ["\\!a"] }, "!a=", "omit"],
    [{ exclude: ["é"] }, Buffer.from("é=").toString("latin1"), "omit"],
    [{ exclude: ["**"] }, "a/b=", "omit"],
    // The root directory has an entry of its own, with some differs.
    [{ exclude: ["**"] }, "/", "omit"],
    [{ exclude: ["*"] }, "/", "keep"],
    [{ include: ["srv/app"] }, "srv/app/", "keep"],
    [{ include: ["srv/app"] }, "srv/app/deep/file=", "keep"],
    [{ include: ["srv/app"] }, "srv/", "if-empty"],
    [{ include: ["srv/app"] }, "etc/", "if-empty"],
    [{ include: ["srv/app"] }, "/", "if-empty"],
    [{ include: ["srv/app"] }, "srv/file=", "omit"],
    [{ include: ["srv/app"] }, "srv->elsewhere", "omit"],
    [{ include: ["**/*.log", "srv"] }, "var/a.log=", "keep"],
    // Both: the stricter one decides.
    [{ include: ["srv"], exclude: ["**/*.log"] }, "srv/a.log=", "omit"],
    [{ include: ["srv"], exclude: ["**/*.log"] }, "srv/a=", "keep"],
    [{ include: ["srv"], exclude: ["**/*.log"] }, "var/", "if-empty"],
    [{ include: ["srv"], exclude: ["var"] }, "var/", "omit"]
  ])("%j: %s: %s", ([options, text, verdict]) =>
    Effect.gen(function* () {
      assert.strictEqual(yield* judge(mounted(), options, read(text)), verdict)
    })
  )

  it.effect("is deletions, too", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* judge(mounted(), { exclude: ["d"] }, gone("d/x")), "omit")
      assert.strictEqual(yield* judge(mounted(), { exclude: ["d/y"] }, gone("d/x")), "keep")
      assert.strictEqual(yield* judge(mounted(), { include: ["d/x"] }, gone("d/x")), "keep")
      assert.strictEqual(yield* judge(mounted(), { include: ["d/y"] }, gone("d/x")), "omit")
    })
  )

  it.effect("is decided beside what runtimes make", () =>
    Effect.gen(function* () {
      const container = mounted("/mnt/dir")
      const options = { include: ["mnt"], exclude: ["etc/hosts"] }
      const verdicts = yield* Effect.forEach(["mnt/dir/", "mnt/own=", "etc/hosts=", "etc/hostname"], (text) =>
        judge(container, options, read(text))
      )
      assert.deepStrictEqual(verdicts, ["if-empty", "keep", "omit", "omit"])
      assert.strictEqual(yield* judge(container, { ...options, stubs: "keep" }, read("mnt/dir/")), "keep")
    })
  )
})
