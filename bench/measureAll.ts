/** All cases on all file systems. */
import { statfsSync } from "node:fs"
import { tmpdir } from "node:os"
import { Console, Effect } from "effect"
import * as Debris from "../test/support/Debris.ts"
import type { DaemonError } from "../test/support/Process.ts"
import * as Bed from "./bed.ts"
import * as Calls from "./calls.ts"
import { type Case, cases, isNamedBy } from "./cases.ts"
import { prepare } from "./isolate.ts"
import { describe } from "./machine.ts"
import { type Measured, measure } from "./measure.ts"
import type { Results } from "./report.ts"
import { summarise } from "./statistics.ts"
import { contradictions, judge } from "./targets.ts"
import * as Watch from "./watch.ts"

export interface Plan {
  readonly quick: boolean
  readonly runs: number
  /** Letters, or ids. */
  readonly cases: ReadonlyArray<string>
  readonly on: ReadonlyArray<Bed.FileSystem>
}

/** A change is on the disk as a tar, in the container, in its copy, and once more compressed and unpacked. */
const copies = 5

const lacksRoom = ({ change }: Case): boolean => {
  const { bavail, bsize } = statfsSync(tmpdir())
  return (change?.bytes ?? 0) * copies > bavail * bsize
}

const canRun = (fileSystem: Bed.FileSystem) => (one: Case) =>
  fileSystem === "disk" ? !lacksRoom(one) : one.diskOnly !== true

interface Part {
  readonly bed: Pick<Bed.Bed, "type" | "versions">
  readonly measured: ReadonlyArray<Measured>
  readonly failures: ReadonlyArray<string>
}

/** One case that fails does not take the others' results with it. */
const onOne = Effect.fnUntraced(function* (
  fileSystem: Bed.FileSystem,
  wanted: ReadonlyArray<Case>,
  { quick, runs }: Plan
): Effect.fn.Return<Part, DaemonError> {
  const selected = wanted.filter(canRun(fileSystem))
  return yield* Effect.scoped(
    Effect.gen(function* () {
      const directory = yield* Debris.directory
      const bed = yield* Bed.make(fileSystem, selected, quick ? "sources" : "built")
      const watch = yield* Watch.start
      const [measured, failures] = yield* Effect.partition(selected, (one) =>
        measure(one, bed, watch, { fileSystem, runs, directory }).pipe(
          Effect.scoped,
          Effect.mapError(({ message }) => `(${one.id}) on ${fileSystem}: ${message}`)
        )
      )
      return { bed, measured: measured.flat(), failures }
    })
  )
})

const countCalls = Effect.scoped(
  Effect.gen(function* () {
    yield* Console.error("calls")
    return yield* Calls.measure(yield* Debris.directory)
  })
)

/** What is neither measured on one file system nor on the other. */
const skippedOf = (wanted: ReadonlyArray<Case>, on: Plan["on"]): ReadonlyArray<string> =>
  wanted
    .filter((one) => !on.some((fileSystem) => canRun(fileSystem)(one)))
    .map(({ id, title }) => `(${id}) ${title}: not on a disk, or that has no room for it`)

const resultsOf = Effect.fnUntraced(function* (
  { on, quick, runs }: Plan,
  wanted: ReadonlyArray<Case>,
  parts: ReadonlyMap<Bed.FileSystem, Part>,
  calls: ReadonlyArray<Calls.Calls>
) {
  const measured = [...parts.values()].flatMap((part) => part.measured)
  const summaries = measured.map(summarise)
  const [first] = parts.values()
  return {
    quick,
    date: new Date().toISOString(),
    runs,
    machine: yield* describe(first?.bed.versions ?? {}),
    fileSystems: Object.fromEntries([...parts].map(([fileSystem, { bed }]) => [fileSystem, bed.type])),
    cases: wanted.map(({ id, title }) => ({ id, title })),
    summaries,
    calls,
    targets: judge(summaries),
    contradictions: contradictions(summaries),
    failures: [...parts.values()].flatMap((part) => part.failures),
    skipped: skippedOf(wanted, on),
    measured
  } satisfies Results
})

export const measureAll = (plan: Plan): Effect.Effect<Results, DaemonError> =>
  Effect.gen(function* () {
    yield* prepare
    const wanted = cases(plan.quick).filter((one) => isNamedBy(one, plan.cases))
    const parts = new Map<Bed.FileSystem, Part>()
    for (const fileSystem of plan.on) parts.set(fileSystem, yield* onOne(fileSystem, wanted, plan))
    return yield* resultsOf(plan, wanted, parts, plan.cases.includes("calls") ? yield* countCalls : [])
  }).pipe(Effect.scoped)
