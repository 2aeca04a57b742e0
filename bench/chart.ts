/** The medians as bars: an SVG picture. */
import { milliseconds, type Results } from "./report.ts"
import type { Summary } from "./statistics.ts"

const width = 760
const left = 190
const right = 90
const bar = 14
const gap = 4
const heading = 30

const tools = [
  "docker commit",
  "podman commit",
  "buildah commit",
  "ours: host, gzip by igzip",
  "ours: host, gzip",
  "ours: containerd, gzip"
]

const escaped = (text: string): string => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;")

const text = (x: number, y: number, kind: string, said: string): string =>
  `<text x="${x}" y="${y}" class="${kind}">${escaped(said)}</text>`

/** The longest bar fills the width: each case has a scale of its own. */
const barOf = ({ ms, tool }: Summary, most: number, y: number): string => {
  const length = Math.max(1, Math.round((ms / most) * (width - left - right)))
  const kind = tool.startsWith("ours") ? "ours" : "peer"
  return [
    text(left - 8, y + bar - 3, "name", tool),
    `<rect x="${left}" y="${y}" width="${length}" height="${bar}" rx="2" class="${kind}"/>`,
    text(left + length + 6, y + bar - 3, "value", milliseconds(ms))
  ].join("")
}

const group = (title: string, rows: ReadonlyArray<Summary>, top: number): string => {
  const most = Math.max(...rows.map(({ ms }) => ms))
  const bars = rows.map((row, i) => barOf(row, most, top + heading + i * (bar + gap)))
  return [text(12, top + heading - 8, "title", title), ...bars].join("\n")
}

const style = `
text { font: 12px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600; font-size: 13px } .name { text-anchor: end }
.back { fill: #ffffff } .peer { fill: #8c959f } .ours { fill: #1a7f37 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .ours { fill: #3fb950 } .back { fill: #0d1117 } }`

/** Of the first file system, without the cases that show something else than a tool beside others. */
const groupsOf = ({ cases, fileSystems, summaries }: Results) => {
  const [fileSystem] = Object.keys(fileSystems)
  return cases.flatMap(({ id, title }) => {
    const found = summaries.filter(
      (one) => one.case === id && one.fileSystem === fileSystem && tools.includes(one.tool)
    )
    const rows = found.toSorted((a, b) => tools.indexOf(a.tool) - tools.indexOf(b.tool))
    return rows.length < 2 || id.startsWith("m") ? [] : [{ title: `(${id}) ${title}`, rows }]
  })
}

export const svg = (results: Results): string => {
  let top = 0
  const parts = groupsOf(results).map(({ rows, title }) => {
    const part = group(title, rows, top)
    top += heading + rows.length * (bar + gap) + 6
    return part
  })
  const [type = ""] = Object.values(results.fileSystems)
  const note = `Median times, containerd on ${type}; shorter is better. ${results.machine.cpus} CPUs, ${results.date.slice(0, 10)}.`
  const height = top + 34
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escaped(note)}">
<style>${style}</style>
<rect class="back" width="${width}" height="${height}"/>
${parts.join("\n")}
${text(12, top + 22, "note", note)}
</svg>
`
}
