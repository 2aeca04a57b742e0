/** Keeps docs/differential.md as the tests find it. */
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { assert } from "@effect/vitest"
import type { Counts, Loss } from "./Differential.ts"
import * as Differential from "./Differential.ts"

const file = fileURLToPath(new URL("../../docs/differential.md", import.meta.url))

const command = "CONFORMANCE=write npx vitest run --project integration --project peer test/host/differential"

const intro = `# The host differ beside others

Random changes of random images, through the mounts of their containers: files of every type made, written, removed,
renamed, replaced, linked and parted, directories emptied and made anew, owners, modes, times and attributes changed. Each
container is committed with \`differ: "host"\` and by another differ; both layers are unpacked by containerd, and every path
is compared with what the container shows: type, mode, owner, time to the nanosecond, content, hard links, device numbers
and all extended attributes. What is not in these tables is the same; the tests (\`test/host/differential.*.test.ts\`)
fail for anything else.

This page is written by \`${command}\`.
`

export type Table = readonly [title: string, losses: ReadonlyArray<Loss>, counts: Counts]

const row = (cells: ReadonlyArray<string | number>) => `| ${cells.join(" | ")} |`

const tableOf = ([title, losses, counts]: Table) => [
  ...[`### ${title}`, "", row(["what", "why", "change sets"]), row(["---", "---", "---"])],
  ...losses.map(({ what, why }) => row([what, why, counts.get(what) ?? 0])),
  ""
]

/** How many change sets show a loss is no promise, but that some do is. */
const withoutCounts = (text: string) => text.replaceAll(/\b[1-9]\d*\b/g, "N")

const sectionsOf = (): ReadonlyMap<string, string> => {
  const text = existsSync(file) ? readFileSync(file, "utf8") : ""
  return new Map(
    text
      .split(/^(?=## )/m)
      .slice(1)
      .map((section) => [section.slice(3, section.indexOf("\n")), section.trimEnd()])
  )
}

/** Writes the section, or asserts that it is there. */
export const check = (title: string, changeSets: number, tables: ReadonlyArray<Table>): void => {
  if (!Differential.isUsualSeed) return
  const section = [`## ${title}`, "", `${changeSets} change sets.`, "", ...tables.flatMap(tableOf)].join("\n").trimEnd()
  const sections = sectionsOf()
  if (process.env["CONFORMANCE"] === "write") {
    const all = new Map([...sections, [title, section] as const])
    writeFileSync(file, `${[intro, ...[...all].toSorted().map(([, text]) => `${text}\n`)].join("\n")}`)
  }
  const written = sectionsOf().get(title) ?? ""
  assert.strictEqual(withoutCounts(written), withoutCounts(section), `write it by: ${command}`)
}
