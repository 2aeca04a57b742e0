/** The results in words: a Markdown document. */
import type { Calls } from "./calls.ts"
import type { Case } from "./cases.ts"
import type { Machine } from "./machine.ts"
import type { Measured } from "./measure.ts"
import { dockerTool, find, type Summary } from "./statistics.ts"
import type { Target } from "./targets.ts"

export interface Results {
  readonly quick: boolean
  readonly date: string
  readonly runs: number
  readonly machine: Machine
  /** What containerd's root was on. */
  readonly fileSystems: Readonly<Record<string, string>>
  readonly cases: ReadonlyArray<Pick<Case, "id" | "title">>
  readonly summaries: ReadonlyArray<Summary>
  /** What the summaries are made of. */
  readonly measured: ReadonlyArray<Measured>
  readonly calls: ReadonlyArray<Calls>
  readonly targets: ReadonlyArray<Target>
  readonly contradictions: ReadonlyArray<string>
  /** Cases that could not be measured. */
  readonly failures: ReadonlyArray<string>
  readonly skipped: ReadonlyArray<string>
}

type Row = ReadonlyArray<string>

const line = (cells: Row): string => `| ${cells.join(" | ")} |`

const table = (head: Row, rows: ReadonlyArray<Row>): string =>
  [line(head), line(head.map((_, i) => (i === 0 ? "---" : "---:"))), ...rows.map(line)].join("\n")

const section = (title: string, body: string): string => `## ${title}\n\n${body}`

export const milliseconds = (ms: number): string => {
  if (ms >= 10_000) return `${(ms / 1000).toFixed(1)} s`
  return ms >= 1000 ? `${(ms / 1000).toFixed(2)} s` : `${ms.toFixed(ms < 100 ? 1 : 0)} ms`
}

const size = (bytes: number): string => {
  if (bytes >= 1e6) return `${(bytes / 1e6).toFixed(1)} MB`
  return bytes >= 1000 ? `${(bytes / 1000).toFixed(1)} kB` : `${bytes} B`
}

const mebibytes = (bytes: number): string => (bytes / 2 ** 20).toFixed(0)

const head = [
  ...["tool", "time (median)", "least – most", "docker ÷ this", "frozen"],
  ...["own peak, MiB", "with daemons, MiB", "image adds", "calls"]
]

const rowOf = (one: Summary, all: ReadonlyArray<Summary>): Row => {
  const docker = find(all, { ...one, tool: dockerTool })
  return [
    one.tool,
    milliseconds(one.ms),
    `${milliseconds(one.least)} – ${milliseconds(one.most)}`,
    docker === undefined ? "" : `${(docker.ms / one.ms).toFixed(2)}×`,
    one.tool.startsWith("buildah") ? "does not run" : milliseconds(one.frozenMs),
    one.ownPeak === 0 ? "" : mebibytes(one.ownPeak),
    mebibytes(one.ownPeak + one.daemonsPeak),
    size(one.size),
    one.calls === null ? "" : String(one.calls)
  ]
}

const caseTable = (all: ReadonlyArray<Summary>, fileSystem: string, { id, title }: Pick<Case, "id" | "title">) => {
  const rows = all.filter((one) => one.case === id && one.fileSystem === fileSystem)
  return rows.length === 0
    ? []
    : [
        `### (${id}) ${title}\n\n${table(
          head,
          rows.map((one) => rowOf(one, all))
        )}`
      ]
}

const fileSystemParts = ({ cases, fileSystems, summaries }: Results): ReadonlyArray<string> =>
  Object.entries(fileSystems).flatMap(([fileSystem, type]) => {
    const tables = cases.flatMap((one) => caseTable(summaries, fileSystem, one))
    return [section(`containerd's root on ${fileSystem === "disk" ? `the disk (${type})` : type}`, tables.join("\n\n"))]
  })

export const targetTable = (targets: ReadonlyArray<Target>): string =>
  table(
    ["target, against docker commit", "wanted", "got", ""],
    targets.map(({ got, isReached, wanted, what }) => [what, wanted, got, isReached ? "reached" : "not reached"])
  )

const callTable = (calls: ReadonlyArray<Calls>): string =>
  table(
    ["calls to containerd", "docker commit", "ours"],
    calls.map(({ docker, ours, what }) => [what, String(docker), String(ours)])
  )

const machineOf = ({ cpus, kernel, memoryGiB, versions }: Machine): string => {
  const named = Object.entries(versions).map(([name, version]) => `${name} ${version}`)
  return `${cpus} CPUs, ${memoryGiB} GiB of memory, Linux ${kernel}; ${named.join(", ")}.`
}

const notes = `Medians of the runs, all tools in turn in each round; the first commit of each is not counted, and each image is
removed with all its content before the next. \`docker commit\` is the Engine's call \`POST /commit\`, \`podman commit\` that
of podman's service, \`buildah commit\` the command. Ours is the library in a process of its own, on the same containers as
\`docker commit\`. podman and buildah (driver overlay) do not compress: they unpack the layer into their store. "frozen" is
seen from outside, in the container's cgroup. Memory: the tool's own processes with their children, and
with what containerd and dockerd had beside them.`

export const markdown = (results: Results): string => {
  const { calls, contradictions, date, failures, machine, quick, runs, skipped, targets } = results
  const warning = quick ? "\n\n**Made with `--quick`: it shows that the harness works, the times say nothing.**" : ""
  const parts = [
    `# Benchmarks\n\n${date.slice(0, 10)}, ${runs} runs each. ${machineOf(machine)}${warning}\n\n${notes}`,
    ...(targets.length === 0 ? [] : [section("Targets", targetTable(targets))]),
    ...fileSystemParts(results),
    ...(calls.length === 0 ? [] : [section("Calls", callTable(calls))]),
    ...(contradictions.length === 0 ? [] : [section("Images that differ", contradictions.join("\n\n"))]),
    ...(failures.length === 0 ? [] : [section("Failed", failures.join("\n\n"))]),
    ...(skipped.length === 0 ? [] : [section("Left out", skipped.join("\n\n"))])
  ]
  return `${parts.join("\n\n")}\n`
}
