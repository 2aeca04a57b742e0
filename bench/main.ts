/**
 * Measures this library beside `docker commit`, `podman commit` and `buildah commit`: `npm run bench`, as root.
 *
 * Brings and starts its own daemons. Writes `latest.json`, `latest.md` and `latest.svg`. Exit codes: 0 done, 1 failed, or
 * with `--judge` a target was not reached, 2 bad usage.
 */
import { spawnSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import { Console, Effect } from "effect"
import { type CliError, Command, Flag } from "effect/cli"
import { Failed, runMain, Usage } from "../examples/support/cli.ts"
import { fileSystems } from "./bed.ts"
import { isKnown, known } from "./cases.ts"
import { again, isIsolated } from "./isolate.ts"
import { measureAll } from "./measureAll.ts"
import { targetTable } from "./report.ts"
import { write } from "./results.ts"

const list = (name: string, description: string, defaults: ReadonlyArray<string>) =>
  Flag.String(name).pipe(
    Flag.withDescription(description),
    Flag.withDefault(defaults.join(",")),
    Flag.map((text) => text.split(",").filter((word) => word !== ""))
  )

const flags = {
  quick: Flag.Boolean("quick").pipe(
    Flag.withDescription("Small trees, and few runs: shows that everything works, not how fast it is"),
    Flag.withDefault(false)
  ),
  runs: Flag.Int("runs").pipe(
    Flag.withDescription("How often each tool commits (5; with --quick 1)"),
    Flag.withDefault(0)
  ),
  cases: list("cases", `Which of ${known.join(", ")}, separated by commas`, known),
  on: list("on", `What containerd's root is on: ${fileSystems.join(",")} (with --quick tmpfs only)`, []),
  out: Flag.String("out").pipe(
    Flag.withDescription(
      "The directory for the results (bench/results; with --quick a new one in the temporary directory)"
    ),
    Flag.withDefault("")
  ),
  judge: Flag.Boolean("judge").pipe(Flag.withDescription("Fail when a target was not reached"), Flag.withDefault(false))
}

type Args = Command.Command.Config.Infer<typeof flags>

const provision = Effect.suspend(() => {
  if (process.platform !== "linux" || process.getuid?.() !== 0) {
    return Effect.fail(new Failed({ message: "containers need Linux and root: run this with sudo" }))
  }
  const script = fileURLToPath(new URL("../test/support/provision.sh", import.meta.url))
  const items = ["containerd-2", "dockerd", "runc", "busybox", "podman", "buildah", "igzip", "zstd"]
  const { status } = spawnSync("bash", [script, ...items], { stdio: ["ignore", "ignore", "inherit"] })
  return status === 0 ? Effect.void : Effect.fail(new Failed({ message: "the daemons could not be brought" }))
})

/** What is measured is what users have. A quick run takes the sources as they are. */
const build = (isQuick: boolean) => {
  if (isQuick) return Effect.void
  const { status } = spawnSync("npm", ["run", "build"], { stdio: ["ignore", "ignore", "inherit"] })
  return status === 0 ? Effect.void : Effect.fail(new Failed({ message: "npm run build failed" }))
}

const check = ({ cases, on }: Args) => {
  const unknown = [
    ...cases.filter((id) => !isKnown(id)),
    ...on.filter((name) => !fileSystems.some((one) => one === name))
  ]
  return unknown.length === 0
    ? Effect.void
    : Effect.fail(new Usage({ message: `there is no ${unknown.join(", ")} to measure (see --help)` }))
}

const measured = Effect.fnUntraced(function* (args: Args) {
  const { cases, judge, quick } = args
  const on: ReadonlyArray<string> = args.on.length > 0 ? args.on : quick ? ["tmpfs"] : fileSystems
  const runs = args.runs > 0 ? args.runs : quick ? 1 : 5
  const results = yield* measureAll({ quick, runs, cases, on: fileSystems.filter((name) => on.includes(name)) })
  const directory = yield* write(results, args.out, quick)
  yield* Console.log(`${targetTable(results.targets)}\n\nThe results are in ${directory}.`)
  if (results.contradictions.length > 0) {
    return yield* new Failed({ message: `images do not hold the same files: ${results.contradictions.join("; ")}` })
  }
  if (results.failures.length > 0) return yield* new Failed({ message: results.failures.join("\n") })
  const missed = results.targets.filter(({ isReached }) => !isReached)
  if (judge && missed.length > 0)
    return yield* new Failed({ message: `not reached: ${missed.map(({ what }) => what).join("; ")}` })
})

const bench = Command.make(
  "bench",
  flags,
  Effect.fnUntraced(function* (args) {
    yield* check(args)
    if (isIsolated()) return yield* measured(args)
    yield* provision
    yield* Effect.suspend(() => build(args.quick))
    const code = yield* again
    if (code !== 0) return yield* new Failed({ message: "the benchmark failed, see above" })
  })
).pipe(Command.withDescription("Measure this library beside other tools"))

const run = Command.runWith(bench, { version: "0.1.0" })
type Failure = Exclude<Effect.Error<ReturnType<typeof run>>, CliError.CliError>

runMain(run(process.argv.slice(2)), (error: Failure) => (error._tag === "Usage" ? 2 : 1))
