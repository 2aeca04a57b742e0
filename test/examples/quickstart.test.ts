import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { Embedded } from "effect-containerd"
import * as Root from "../embedded/Root.ts"
import * as Layout from "../suite/Layout.ts"
import * as Cli from "../support/Cli.ts"
import { sleep } from "../support/Process.ts"

const digest = Schema.String.check(Schema.isPattern(/^sha256:[0-9a-f]{64}$/))

const Result = Schema.fromJsonString(
  Schema.Struct({
    layout: Schema.String,
    ref: Schema.String,
    digest,
    layers: Schema.Array(Schema.Struct({ digest, size: Schema.Int, diffId: digest, mediaType: Schema.String }))
  })
)

const program = [process.execPath, "--conditions=effect-containerd-source", "examples/quickstart.ts"]

/** Temporary directories are made in the test's own, so that it shows what is left of them. */
const start = (tmp: string, args: ReadonlyArray<string>) => Cli.start(args, { program, env: { TMPDIR: tmp } })

const run = (tmp: string, args: ReadonlyArray<string>) =>
  Effect.scoped(Effect.flatMap(start(tmp, args), ({ result }) => result))

const runJson = Effect.fnUntraced(function* (tmp: string, args: ReadonlyArray<string>) {
  const { exitCode, stderr, stdout } = yield* run(tmp, ["--json", ...args])
  assert.deepStrictEqual({ exitCode, stderr }, { exitCode: 0, stderr: "" })
  return yield* Schema.decodeEffect(Result)(stdout, { onExcessProperty: "error" })
})

const runText = Effect.fnUntraced(function* (tmp: string, args: ReadonlyArray<string>) {
  const { exitCode, stderr, stdout } = yield* run(tmp, args)
  assert.deepStrictEqual({ exitCode, stderr }, { exitCode: 0, stderr: "" })
  return stdout
})

/** What the report says that happened to paths. */
const changesIn = (stdout: string): ReadonlyArray<string> => stdout.match(/(?<=^ {2})[ACD] \/.*/gm) ?? []

const added = ["A /quickstart", "A /quickstart/hello.sh", "A /quickstart/hello.txt", "A /quickstart/latest"]

/** Nothing but images and what they unpack to. */
const assertClean = (layout: string) => {
  assert.deepStrictEqual(Layout.problems(layout), [])
  assert.deepStrictEqual(Layout.staleRecords(layout), [])
  assert.deepStrictEqual(readdirSync(join(layout, ".effect-containerd")).toSorted(), [
    "ingest",
    "snapshots",
    "state.db"
  ])
  assert.deepStrictEqual(readdirSync(join(layout, ".effect-containerd/ingest")), [])
  assert.strictEqual(readdirSync(join(layout, ".effect-containerd/snapshots/directory")).length, 2)
}

/** Node's own recursion follows symlinks. */
const everythingIn = (directory: string): ReadonlyArray<string> =>
  readdirSync(directory, { withFileTypes: true })
    .map((entry) => ({ path: join(directory, entry.name), isDirectory: entry.isDirectory() }))
    .flatMap(({ isDirectory, path }) => [path, ...(isDirectory ? everythingIn(path) : [])])
    .toSorted()

/** A file system of three files, and of a symlink that leads out. */
const makeTree = (path: string): string => {
  mkdirSync(join(path, "share/doc"), { recursive: true })
  for (const name of ["a", "b", "c"]) writeFileSync(join(path, "share/doc", name), `${name}\n`, { mode: 0o600 })
  symlinkSync("/etc", join(path, "etc"))
  return path
}

const changed = ["C /share", "C /share/doc", "C /share/doc/a", "C /share/doc/b", "D /share/doc/c"]

/** An archive that holds images of one tree, under these names. */
const makeArchive = Effect.fnUntraced(function* (directory: string, names: ReadonlyArray<string>) {
  const archive = join(directory, "archive.tar")
  const layout = join(directory, "source")
  yield* Effect.gen(function* () {
    for (const name of names) {
      const tree = makeTree(join(directory, `tree-${name}`))
      writeFileSync(join(tree, "name"), name)
      yield* Embedded.fromDirectory(tree, { name })
    }
    yield* Embedded.exportArchive(
      names.map((name) => `docker.io/library/${name}:latest`),
      archive
    )
  }).pipe(Effect.provide(Embedded.layer({ root: layout })))
  return { archive, layout }
})

describe("npm start", { timeout: 60_000 }, () => {
  it.live("makes an image of this machine's programs, says what became of it and where it is", () =>
    Effect.gen(function* () {
      const tmp = yield* Root.directory
      const stdout = yield* runText(tmp, [])
      const [name = "", ...others] = readdirSync(tmp)
      assert.deepStrictEqual(others, [])
      const layout = join(tmp, name)
      assertClean(layout)
      assert.deepStrictEqual(changesIn(stdout), ["C /etc", "C /etc/issue", "C /etc/motd", "D /etc/shells", ...added])
      assert.include(stdout, `  layout  ${layout}\n  remove  rm -rf ${layout}\n`)
      assert.include(stdout, `  skopeo inspect oci:${layout}:changed\n`)
      assert.match(
        stdout,
        /^Layers\n {2}sha256:[0-9a-f]{12} +\d\.\d MB\n {2}sha256:[0-9a-f]{12} +\d+ B {2}the changes$/m
      )
      assert.match(stdout, /npm run demo .*\n {2}npm run commit -- CONTAINER app:1 .*\n$/)
      assert.notMatch(stdout, /\p{Cc}(?<!\n)/u)
      assert.notInclude(stdout, "Not in the image")
    }).pipe(Effect.scoped)
  )

  it.live("prints one JSON object, and takes a layout that is there already", () =>
    Effect.gen(function* () {
      const tmp = yield* Root.directory
      const dir = join(tmp, "new/layout")
      const first = yield* runJson(tmp, ["--dir", dir])
      assert.strictEqual(first.layout, dir)
      assert.strictEqual(first.ref, "changed")
      assert.deepStrictEqual(
        first.layers.map(({ mediaType }) => mediaType),
        ["application/vnd.oci.image.layer.v1.tar+gzip", "application/vnd.oci.image.layer.v1.tar+gzip"]
      )
      const second = yield* runJson(tmp, ["--dir", dir])
      assert.notStrictEqual(second.digest, first.digest)
      assert.include(readFileSync(join(dir, "index.json"), "utf8"), second.digest)
      assertClean(dir)
      assert.deepStrictEqual(readdirSync(tmp), ["new"])
    }).pipe(Effect.scoped)
  )

  it.live("gives a name that other tools find the image by, where another image has the tag", () =>
    Effect.gen(function* () {
      const tmp = yield* Root.directory
      const root = join(tmp, "layout")
      yield* Effect.provide(
        Embedded.fromDirectory(makeTree(join(tmp, "tree")), { name: "other:changed" }),
        Embedded.layer({ root })
      )
      assert.strictEqual((yield* runJson(tmp, ["--dir", root])).ref, "docker.io/library/quickstart:changed")
    }).pipe(Effect.scoped)
  )

  it.live("takes a root file system, and never follows a symlink of it; an empty one will do", () =>
    Effect.gen(function* () {
      const tmp = yield* Root.directory
      const tree = makeTree(join(tmp, "tree"))
      const stdout = yield* runText(tmp, ["--from", tree, "--dir", join(tmp, "one")])
      assert.deepStrictEqual(changesIn(stdout), [...added, ...changed])
      assert.deepStrictEqual(readdirSync(join(tree, "share/doc")), ["a", "b", "c"])
      mkdirSync(join(tmp, "empty"))
      const empty = yield* runText(tmp, ["--from", join(tmp, "empty"), "--dir", join(tmp, "two")])
      assert.deepStrictEqual(changesIn(empty), added)
    }).pipe(Effect.scoped)
  )

  it.live("takes an OCI layout and an archive, and one of several images", () =>
    Effect.gen(function* () {
      const tmp = yield* Root.directory
      const { archive, layout } = yield* makeArchive(tmp, ["app"])
      for (const [i, from] of [archive, layout].entries()) {
        const dir = join(tmp, `out${i}`)
        const stdout = yield* runText(tmp, ["--from", from, "--dir", dir])
        assert.deepStrictEqual(changesIn(stdout), [
          "C /name",
          ...added,
          "C /share",
          "C /share/doc",
          "C /share/doc/a",
          "D /share/doc/b"
        ])
        assertClean(dir)
      }
      const several = yield* makeArchive(join(tmp, "several"), ["one", "two"])
      const dir = join(tmp, "chosen")
      const refused = yield* run(tmp, ["--from", several.archive, "--dir", dir])
      assert.strictEqual(refused.exitCode, 1)
      assert.match(
        refused.stderr,
        /several images: choose one with --image \(docker.io\/library\/one:latest, .*two:latest\)\n$/
      )
      assert.isFalse(existsSync(dir))
      assert.lengthOf((yield* runJson(tmp, ["--from", several.archive, "--dir", dir, "--image", "two"])).layers, 2)
      const before = everythingIn(dir)
      const gone = yield* run(tmp, ["--from", several.archive, "--dir", dir, "--image", "three"])
      assert.match(gone.stderr, /holds no image three; it holds: .*one:latest, .*two:latest\n$/)
      assert.deepStrictEqual(everythingIn(dir), before)
    }).pipe(Effect.scoped)
  )
})

describe("npm start with what it cannot use", { timeout: 60_000 }, () => {
  it.live("says so in one line, and touches nothing", () =>
    Effect.gen(function* () {
      const tmp = yield* Root.directory
      const at = (name: string) => join(tmp, name)
      const other = makeTree(at("other"))
      writeFileSync(at("text"), "no archive\n".repeat(100))
      mkdirSync(at("empty"))
      const before = everythingIn(tmp)
      const cases: ReadonlyArray<readonly [args: ReadonlyArray<string>, exitCode: number, message: RegExp]> = [
        [["--from", at("gone")], 1, /there is no .*gone \(--from takes a root file system, /],
        [["--from", at("text")], 1, /text: .*\(--from takes/],
        [["--from", at("text"), "--dir", at("new")], 1, /text: .*\(--from takes/],
        [["--from", at("text"), "--dir", at("empty")], 1, /text: .*\(--from takes/],
        [["--dir", other], 1, /other is neither empty nor an OCI image layout .*: give another directory/],
        [["--dir", at("text")], 1, /text'?: give another directory with --dir/],
        [["--from", other, "--dir", join(other, "layout")], 2, /--dir .* is in what --from names/],
        [["--image", "app"], 2, /--image chooses from an archive: name one with --from/],
        [["--from", other, "--image", "app"], 2, /--image chooses from an archive/],
        [["--colour"], 2, /Unrecognized flag: --colour/],
        [["word"], 2, /Unexpected positional argument: "word"/]
      ]
      const check = Effect.fnUntraced(function* ([args, exitCode, message]: (typeof cases)[number]) {
        const result = yield* run(tmp, args)
        assert.match(result.stderr, /^error: .*\n$/, args.join(" "))
        assert.match(result.stderr, message)
        assert.deepStrictEqual([result.exitCode, result.stdout], [exitCode, ""], args.join(" "))
      })
      yield* Effect.forEach(cases, check, { concurrency: 2, discard: true })
      assert.deepStrictEqual(everythingIn(tmp), before)
    }).pipe(Effect.scoped)
  )

  it.live("and after Ctrl-C nothing is left", () =>
    Effect.gen(function* () {
      const tmp = yield* Root.directory
      for (const dir of [[], ["--dir", join(tmp, "layout")]]) {
        const running = yield* start(tmp, dir)
        while (readdirSync(tmp).length === 0) yield* sleep(5)
        yield* running.kill("SIGINT")
        assert.deepStrictEqual(yield* running.result, { exitCode: 130, stderr: "interrupted\n", stdout: "" })
        assert.deepStrictEqual(readdirSync(tmp), [])
      }
    }).pipe(Effect.scoped)
  )
})
