/** What was set out to be reached, and whether it was. */
import { dockerTool, find, type Summary } from "./statistics.ts"

export interface Target {
  readonly what: string
  readonly wanted: string
  readonly got: string
  readonly isReached: boolean
}

interface Comparison {
  readonly case: string
  readonly tool: string
  readonly value: (one: Summary) => number
  /** Theirs is at least so many times ours. */
  readonly times: number
  readonly what: string
}

const time = ({ ms }: Summary) => ms
const faster = (id: string, variant: string, times: number): Comparison => ({
  case: id,
  tool: `ours: ${variant}`,
  value: time,
  times,
  what: `(${id}) ${variant}: time`
})

const paused: Comparison = {
  ...faster("a", "host, gzip", 20),
  value: ({ frozenMs }) => frozenMs,
  what: "(a) host, gzip: time paused"
}

const smaller = (variant: string, larger: number): Comparison => ({
  ...faster("a", variant, 1 / larger),
  value: ({ size }) => size,
  what: `(a) ${variant}: layer at most ${Math.round((larger - 1) * 100)} % larger`
})

const comparisons: ReadonlyArray<Comparison> = [
  faster("a", "host, gzip", 1.6),
  smaller("host, gzip", 1.05),
  faster("a", "host, gzip by igzip", 3.5),
  smaller("host, gzip by igzip", 1.12),
  faster("a", "host, zstd", 3),
  faster("a", "host, zstd by zstd", 3),
  faster("a", "host, uncompressed", 4),
  paused,
  faster("b", "host, gzip", 2.5),
  faster("c", "host, gzip", 6),
  faster("d", "host, gzip", 20),
  faster("e", "host, gzip", 1.5),
  faster("tiny", "host, gzip", 1.5)
]

/** Nothing where it was not measured. */
const judged =
  (all: ReadonlyArray<Summary>, fileSystem: string) =>
  (comparison: Comparison): ReadonlyArray<Target> => {
    const { case: id, times, tool, value, what } = comparison
    const ours = find(all, { case: id, fileSystem, tool })
    const theirs = find(all, { case: id, fileSystem, tool: dockerTool })
    if (ours === undefined || theirs === undefined) return []
    const ratio = value(theirs) / Math.max(value(ours), 1)
    const isReached = ratio >= times
    return [{ what, wanted: `≥ ${times.toFixed(2)}×`, got: `${ratio.toFixed(2)}×`, isReached }]
  }

const growth = (all: ReadonlyArray<Summary>, fileSystem: string): ReadonlyArray<Target> => {
  const tool = "ours: host, gzip"
  const small = find(all, { case: "g-1000", fileSystem, tool })
  const large = find(all, { case: "g-100000", fileSystem, tool })
  if (small === undefined || large === undefined) return []
  const ratio = large.ms / small.ms
  const what = "(g) host, gzip: time at 100 000 files of that at 1 000"
  return [{ what, wanted: "≤ 1.20×", got: `${ratio.toFixed(2)}×`, isReached: ratio <= 1.2 }]
}

const mebibytes = (bytes: number) => bytes / 2 ** 20

/** The same as for a tenth of it, give or take what a garbage collector leaves. */
const memory = (all: ReadonlyArray<Summary>): ReadonlyArray<Target> => {
  const where = { fileSystem: "disk", tool: "ours: host, gzip" }
  const small = find(all, { ...where, case: "m-1024" })
  const large = find(all, { ...where, case: "m-10240" })
  if (small === undefined || large === undefined) return []
  const most = mebibytes(large.ownPeak)
  const ratio = large.ownPeak / small.ownPeak
  return [
    { what: "(m) peak RSS, 10 GiB", wanted: "≤ 250 MiB", got: `${most.toFixed(0)} MiB`, isReached: most <= 250 },
    { what: "(m) peak RSS, 10 GiB of 1 GiB", wanted: "≤ 1.15×", got: `${ratio.toFixed(2)}×`, isReached: ratio <= 1.15 }
  ]
}

/** On the file system of the first of the figures: tmpfs, where both were measured. */
export const judge = (all: ReadonlyArray<Summary>): ReadonlyArray<Target> => {
  const fileSystem = all.some((one) => one.fileSystem === "tmpfs") ? "tmpfs" : "disk"
  return [...comparisons.flatMap(judged(all, fileSystem)), ...growth(all, fileSystem), ...memory(all)]
}

/** Images of the same container that do not hold the same files: what was measured is wrong. */
export const contradictions = (all: ReadonlyArray<Summary>): ReadonlyArray<string> =>
  all.flatMap((one) => {
    const first = all.find((other) => other.case === one.case && other.fileSystem === one.fileSystem)
    if (first === undefined || (first.files === one.files && first.bytes === one.bytes)) return []
    const said = ({ bytes, files, tool }: Summary) => `${tool}: ${files} files, ${bytes} bytes`
    return [`(${one.case}) on ${one.fileSystem}: ${said(first)}; ${said(one)}`]
  })
