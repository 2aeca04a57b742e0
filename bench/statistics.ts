/** Medians and what they say side by side. */
import type { Measured, Run } from "./measure.ts"

export const median = (values: ReadonlyArray<number>): number => {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length / 2
  return ((sorted[Math.ceil(middle) - 1] ?? 0) + (sorted[Math.floor(middle)] ?? 0)) / 2
}

export interface Summary {
  readonly case: string
  readonly fileSystem: string
  readonly tool: string
  /** Medians of the runs. */
  readonly ms: number
  readonly least: number
  readonly most: number
  readonly frozenMs: number
  readonly size: number
  /** The most of all runs. */
  readonly ownPeak: number
  readonly daemonsPeak: number
  /** Of one commit; none of tools that do not tell. */
  readonly calls: number | null
  readonly differ: string | null
  readonly files: number
  readonly bytes: number
}

export const summarise = ({ case: id, content, fileSystem, runs, tool }: Measured): Summary => {
  const all = (pick: (run: Run) => number) => runs.map(pick)
  const said = runs.flatMap((run) => run.said)
  return {
    ...{ case: id, fileSystem, tool },
    ms: median(all(({ ms }) => ms)),
    least: Math.min(...all(({ ms }) => ms)),
    most: Math.max(...all(({ ms }) => ms)),
    // Ours are told in whole milliseconds, and may be shorter than the watcher can see.
    frozenMs: median(runs.map(({ frozenMs, said }) => Math.max(frozenMs, ...said.map(({ pausedMs }) => pausedMs)))),
    size: median(all(({ size }) => size)),
    ownPeak: Math.max(...all(({ ownPeak }) => ownPeak)),
    daemonsPeak: Math.max(...all(({ daemonsPeak }) => daemonsPeak)),
    calls: said.length === 0 ? null : median(said.map(({ calls }) => calls)),
    differ: said[0]?.differ ?? null,
    ...content
  }
}

export const find = (
  all: ReadonlyArray<Summary>,
  where: { readonly case: string; readonly fileSystem: string; readonly tool: string }
): Summary | undefined =>
  all.find((one) => one.case === where.case && one.fileSystem === where.fileSystem && one.tool === where.tool)

export const dockerTool = "docker commit"
