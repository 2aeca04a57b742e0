/** The files that a run leaves. */
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Effect } from "effect"
import { DaemonError } from "../test/support/Process.ts"
import { svg } from "./chart.ts"
import { markdown, type Results } from "./report.ts"

/** Quick results never take the place of real ones by themselves. */
const directoryOf = (out: string, isQuick: boolean): string => {
  if (out !== "") return out
  return isQuick ? mkdtempSync(join(tmpdir(), "bench-")) : fileURLToPath(new URL("results", import.meta.url))
}

/** Gives the directory. */
export const write = (results: Results, out: string, isQuick: boolean): Effect.Effect<string, DaemonError> =>
  Effect.try({
    try: () => {
      const directory = directoryOf(out, isQuick)
      mkdirSync(directory, { recursive: true })
      writeFileSync(join(directory, "latest.json"), `${JSON.stringify(results, null, 2)}\n`)
      writeFileSync(join(directory, "latest.md"), markdown(results))
      writeFileSync(join(directory, "latest.svg"), svg(results))
      return directory
    },
    catch: (error) => new DaemonError({ command: "write the results", detail: String(error) })
  })
