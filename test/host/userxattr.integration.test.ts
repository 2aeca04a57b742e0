import { execFileSync } from "node:child_process"
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, layer } from "@effect/vitest"
import { Effect, Layer, Option, Stream } from "effect"
import * as HostDiff from "../../src/host/HostDiff.ts"
import type { Lost } from "../../src/layer/Concession.ts"
import * as GnuTar from "../../src/layer/GnuTar.ts"
import * as Tars from "../layer/Tars.ts"
import * as Cache from "../support/Cache.ts"
import { describeDaemons } from "../support/Daemons.ts"
import * as Debris from "../support/Debris.ts"
import { run } from "../support/Process.ts"

const sh = (directory: string, script: string) => execFileSync("sh", ["-ec", script], { cwd: directory })

/** An overlay that a script has changed: its directories, unmounted. */
const changed = Effect.fnUntraced(function* (options: string, script: string) {
  const home = yield* Debris.directory
  const [lower, upper, work, merged] = ["lower", "upper", "work", "merged"].map((name) => join(home, name))
  if (lower === undefined || upper === undefined || work === undefined || merged === undefined) return assert.fail()
  for (const path of [lower, upper, work, merged]) mkdirSync(path)
  for (const name of ["a", "b", "c"]) {
    mkdirSync(join(lower, name, "sub"), { recursive: true })
    writeFileSync(join(lower, name, "file"), name)
    writeFileSync(join(lower, name, "sub", "file"), name)
  }
  const where = `${options}lowerdir=${lower},upperdir=${upper},workdir=${work}`
  yield* Effect.acquireUseRelease(
    run("mount", ["-t", "overlay", "overlay", merged, "-o", where]),
    () => Effect.sync(() => sh(merged, script)),
    () => Effect.ignore(run("umount", [merged]))
  )
  return { lower, upper }
})

const diffOf = Effect.fnUntraced(function* (directories: { lower: string; upper: string }, userxattr: boolean) {
  const lost: Array<Lost> = []
  const gnuTar = Option.getOrThrow(yield* GnuTar.find)
  const report = (one: Lost) => lost.push(one)
  const options = { ...directories, userxattr, idMap: undefined, judge: undefined, since: 0n, gnuTar, report }
  const { changes } = yield* HostDiff.diff(options)
  const entries = Tars.decode(yield* Stream.mkUint8Array(HostDiff.write(changes, options)))
  return { lost, entries, names: entries.map(({ path }) => path.replace(/\/$/, "")) }
})

const change = `
rm -rf a && mkdir a && echo new > a/new
rm b/file
rm -rf c/sub && mkdir c/sub && touch c/sub/file
mkdir own && echo x > own/file && rm own/file
`

const kinds = [
  ["userxattr", "userxattr,", true],
  ["trusted", "", false]
] as const

describeDaemons("the marks of an overlay", () => {
  layer(Layer.empty, { excludeTestServices: true })((it) => {
    it.effect.each(kinds)("say what is opaque and what is gone (%s)", ([kind, options, userxattr]) =>
      Effect.gen(function* () {
        const directories = yield* changed(options, change)
        const marks = yield* run(Cache.program("attr", "getfattr"), ["-d", "-m", "-", join(directories.upper, "a")])
        assert.include(marks, kind === "userxattr" ? "user.overlay.opaque" : "trusted.overlay.opaque")
        const { entries, lost, names } = yield* diffOf(directories, userxattr)
        assert.deepStrictEqual(
          names,
          [
            ...["a", "a/.wh..wh..opq", "a/new", "b", "b/.wh.file"],
            ...["c", "c/sub", "c/sub/.wh..wh..opq", "c/sub/file", "own"]
          ].toSpliced(0, 0, ".")
        )
        assert.deepStrictEqual(lost, [])
        // None of the marks is in the layer.
        assert.notMatch(entries.flatMap(({ records }) => records).join(), /overlay/)
      })
    )

    it.effect.each(kinds)(
      "are not those of the other kind, which are the container's own (%s)",
      ([, options, userxattr]) =>
        Effect.gen(function* () {
          const [mine, other] = userxattr ? ["user", "trusted"] : ["trusted", "user"]
          const setfattr = Cache.program("attr", "setfattr")
          const directories = yield* changed(options, `touch b/own; chmod 700 a`)
          const mark = (kind: string, name: string, value: string) =>
            run(setfattr, ["-n", `${kind}.overlay.${name}`, "-v", value, join(directories.upper, "a")])
          for (const [name, value] of [
            ["opaque", "y"],
            ["redirect", "/b"]
          ] as const)
            yield* mark(`${other}`, name, value)
          const { entries, names } = yield* diffOf(directories, userxattr)
          assert.deepStrictEqual(names, [".", "a", "b", "b/own"])
          const records = entries.find(({ path }) => path === "a/")?.records.join() ?? ""
          assert.include(records, `${other}.overlay.opaque=y`)
          // As an overlay in the container would have it, whose marks the kernel shows under another name.
          yield* mark(`${mine}`, "overlay.opaque", "y")
          const error = yield* Effect.flip(diffOf(directories, userxattr))
          assert.deepInclude(error, { _tag: "LayerError", kind: "overlay" })
        })
    )
  })
})
