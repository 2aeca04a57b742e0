import { readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, it } from "@effect/vitest"
import { Effect, Exit, Schema } from "effect"
import { describeDaemons } from "./support/Daemons.ts"
import * as Debris from "./support/Debris.ts"
import { run } from "./support/Process.ts"

const Results = Schema.fromJsonString(
  Schema.Struct({
    machine: Schema.Struct({ cpus: Schema.Number, versions: Schema.Record(Schema.String, Schema.String) }),
    fileSystems: Schema.Record(Schema.String, Schema.String),
    summaries: Schema.Array(
      Schema.Struct({
        case: Schema.String,
        tool: Schema.String,
        ms: Schema.Number,
        frozenMs: Schema.Number,
        size: Schema.Number,
        ownPeak: Schema.Number,
        daemonsPeak: Schema.Number,
        calls: Schema.NullOr(Schema.Number),
        differ: Schema.NullOr(Schema.String),
        files: Schema.Number
      })
    ),
    calls: Schema.Array(Schema.Struct({ what: Schema.String, docker: Schema.Number, ours: Schema.Number })),
    targets: Schema.Array(Schema.Struct({ what: Schema.String, isReached: Schema.Boolean })),
    contradictions: Schema.Array(Schema.String)
  })
)

const bench = (...args: ReadonlyArray<string>) => run("npm", ["run", "--silent", "bench", "--", ...args])

const quick = Effect.gen(function* () {
  const out = yield* Debris.directory
  const said = yield* bench("--quick", "--out", out)
  const read = (name: string) => readFileSync(join(out, name), "utf8")
  const results = yield* Schema.decodeUnknownEffect(Results)(read("latest.json"))
  return { said, results, markdown: read("latest.md"), svg: read("latest.svg") }
})

/** What it measures is not judged here: other things run on this machine. */
describeDaemons("npm run bench -- --quick", () => {
  it.live(
    "measures all tools in all cases, and writes figures, tables and a chart",
    () =>
      Effect.gen(function* () {
        const { markdown, results, said, svg } = yield* quick
        const { calls, contradictions, fileSystems, machine, summaries, targets } = results
        assert.deepStrictEqual(fileSystems, { tmpfs: "tmpfs" })
        assert.containsAllKeys(machine.versions, ["containerd", "Docker Engine", "podman", "buildah", "Node"])
        assert.deepStrictEqual(contradictions, [])
        const ids = [...new Set(summaries.map((one) => one.case))]
        assert.deepStrictEqual(ids, ["a", "b", "c", "d", "e", "tiny", "f", "g-20", "g-200"])
        const ofFirst = summaries.filter((one) => one.case === "a")
        assert.sameMembers(
          ofFirst.filter(({ calls }) => calls === null).map(({ tool }) => tool),
          ["docker commit", "podman commit", "buildah commit"]
        )
        for (const { differ, files, frozenMs, ms, ownPeak, size, tool } of ofFirst) {
          assert.isAbove(ms, 0, tool)
          assert.isAbove(size, 1e6, tool)
          assert.strictEqual(files, 60, tool)
          if (tool !== "buildah commit") assert.isAbove(frozenMs, 0, tool)
          if (tool !== "docker commit") assert.isAbove(ownPeak, 2 ** 20, tool)
          if (differ !== null) assert.include(tool, `ours: ${differ}`)
        }
        for (const { docker, ours, what } of calls) {
          assert.isAbove(docker, 10, what)
          assert.isAbove(ours, 10, what)
        }
        assert.isNotEmpty(targets)
        assert.include(said, "| target, against docker commit |")
        assert.include(markdown, "### (a) 6 MB in 60 files\n\n| tool | time (median) |")
        assert.match(svg, /^<svg .*role="img"/)
        assert.match(svg, /<rect [^>]*class="ours"\/>/)
      }).pipe(Effect.scoped),
    { timeout: 300_000 }
  )

  it.live("refuses what it does not know, before anything is started", () =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(bench("--cases", "a,z"))
      assert.isTrue(Exit.isFailure(exit))
      assert.include(String(exit), "there is no z to measure")
    })
  )
})
