/** The table of the suites, backend by case, as text for people: in a terminal, and in docs/conformance.md. */
import { type Difference, differences, isOther } from "./Differences.ts"
import { parseBackend, parseCase, parseTitle, type Suite, suites } from "./Title.ts"

export type Mark = "✓" | "✗" | "–"

export interface Outcome {
  /** Of the `describe` and of the case in it. */
  readonly title: string
  readonly name: string
  readonly mark: Mark
}

interface Section {
  readonly suite: Suite
  readonly backends: ReadonlyArray<string>
  readonly rows: ReadonlyArray<{
    readonly name: string
    readonly keys: ReadonlyArray<string>
    readonly marks: ReadonlyArray<Mark | " ">
  }>
}

export type Table = ReadonlyArray<Section>

interface Cell extends ReturnType<typeof parseCase> {
  readonly backend: string
  readonly mark: Mark
  readonly ran: boolean
}

/** What holds in its other form is no promise kept. */
const cellsOf = (outcomes: ReadonlyArray<Outcome>, suite: Suite): ReadonlyArray<Cell> =>
  outcomes
    .flatMap(({ mark, name, title }) => {
      const of = parseTitle(title)
      if (of?.suite !== suite) return []
      const at = parseBackend(of.backend)
      const parsed = parseCase(name)
      const differs = mark === "✓" && parsed.keys.some((key) => isOther(key, at))
      return [{ ...parsed, backend: of.backend, mark: differs ? "–" : mark, ran: mark !== "–" }]
    })
    .toSorted((a, b) => Number(b.backend === "embedded") - Number(a.backend === "embedded"))

const sectionOf = (suite: Suite, cells: ReadonlyArray<Cell>): Section => {
  const backends = [...new Set(cells.map(({ backend }) => backend))]
  const byName = [...Map.groupBy(cells, ({ name }) => name)]
  // A filter skips cases, too.
  const rows = byName
    .filter(([, found]) => found.some(({ ran }) => ran))
    .map(([name, found]) => ({
      name,
      keys: [...new Set(found.flatMap(({ keys }) => keys))],
      marks: backends.map((backend) => found.find((cell) => cell.backend === backend)?.mark ?? " ")
    }))
  return { suite, backends, rows }
}

/** Of the suites of which at least one case ran. */
export const make = (outcomes: ReadonlyArray<Outcome>): Table =>
  suites.map((suite) => sectionOf(suite, cellsOf(outcomes, suite))).filter(({ rows }) => rows.length > 0)

export const toText = (table: Table): string =>
  table
    .flatMap(({ backends, rows, suite }) => [
      ` ${suite}: ${backends.join(", ")}`,
      ...rows.map(({ marks, name }) => `   ${marks.join(" ")}  ${name}`)
    ])
    .join("\n")

const row = (cells: ReadonlyArray<string>) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`

const markdown = (head: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>) =>
  [row(head), row(head.map(() => "---")), ...rows.map(row)].join("\n")

const sectionMarkdown = ({ backends, rows, suite }: Section) => {
  const lines = rows.map(({ keys, marks, name }) => [
    name,
    ...marks,
    keys.map((key) => `[${key}](#${key.toLowerCase()})`).join(", ")
  ])
  return `## ${suite[0]?.toUpperCase()}${suite.slice(1)}\n\n${markdown(["case", ...backends, "differs"], lines)}\n`
}

const differenceMarkdown = ([key, { containerd, embedded, why }]: readonly [string, Difference]) =>
  `### ${key}\n\n- embedded: ${embedded}\n- containerd: ${containerd}\n- why: ${why}\n`

export const command = "npm run conformance"

const intro = `# Conformance

What the suites in \`test/suite\` ask of every backend, and how each of them answers. The cases are the promises of the
services in \`src/core\` (containerd's own, where it makes one) and of a commit. containerd is a real daemon of the
version in the head of the column, with the snapshotter behind it where that matters. What the options of a commit do
may depend on the version and on the snapshotter, but not on both together: \`native\` is asked on 2.x only.

✓ holds. – does not hold there, or cannot be asked: the last column says by which difference, and the end of this page
what is there instead, and why. That, too, is what the case looks for.

This page is written by \`${command}\`, and a run of all suites fails when it is not what that would write.
`

export const toMarkdown = (table: Table): string =>
  [
    intro,
    ...table.map(sectionMarkdown),
    "## Where the backends differ\n",
    ...Object.entries(differences).map(differenceMarkdown)
  ].join("\n")

export const hasFailures = (table: Table): boolean =>
  table.some(({ rows }) => rows.some(({ marks }) => marks.includes("✗")))

/** Differences that no case shows. */
export const unused = (table: Table): ReadonlyArray<string> => {
  const used = new Set(table.flatMap(({ rows }) => rows.flatMap(({ keys }) => keys)))
  return Object.keys(differences).filter((key) => !used.has(key))
}
