/** An image in words and as JSON. */
import { Result } from "effect"
import { type ImageConfig, type Layer, Reference } from "effect-containerd"
import type { PathChange } from "./layerPaths.ts"

export interface Outcome {
  /** The directory of the layout. */
  readonly layout: string
  /** The command that removes it, if nobody asked for that directory in particular. */
  readonly remove: string | undefined
  /** Of the image in the layout, for other tools. */
  readonly ref: string
  readonly name: string
  readonly digest: string
  readonly base: string
  /** The lowest first. */
  readonly layers: ReadonlyArray<Layer.Layer>
  readonly history: ReadonlyArray<ImageConfig.History>
  readonly changes: ReadonlyArray<PathChange>
  /** What was there and is not in the image. */
  readonly notCarried: ReadonlyArray<string>
  /** What an ordinary user could not make so in the container, and is in the image all the same. */
  readonly notApplied: ReadonlyArray<string>
}

export const toJson = ({ digest, layers, layout, ref }: Outcome): string =>
  JSON.stringify({
    layout,
    ref,
    digest,
    layers: layers.map(({ descriptor, diffId }) => ({
      digest: descriptor.digest,
      size: descriptor.size,
      diffId,
      mediaType: descriptor.mediaType
    }))
  })

const units = ["kB", "MB", "GB", "TB"]

const size = (bytes: number): string => {
  const power = Math.min(Math.floor(Math.log10(Math.max(bytes, 1)) / 3), units.length)
  return power === 0 ? `${bytes} B` : `${(bytes / 1000 ** power).toFixed(1)} ${units[power - 1]}`
}

const most = 20
const width = 76

/** The first ones, and how many more there are. */
const first = (lines: ReadonlyArray<string>): ReadonlyArray<string> =>
  lines.length <= most ? lines : [...lines.slice(0, most - 1), `… and ${lines.length - most + 1} more`]

const cut = (line: string): string => (line.length <= width ? line : `${line.slice(0, width - 1)}…`)

const section = (title: string, lines: ReadonlyArray<string>): ReadonlyArray<string> =>
  lines.length === 0 ? [] : ["", title, ...first(lines).map((line) => `  ${line}`)]

const layerLines = (layers: ReadonlyArray<Layer.Layer>): ReadonlyArray<string> =>
  layers.map(({ descriptor }, i) => {
    const digest = descriptor.digest.slice(0, "sha256:".length + 12)
    return `${digest}  ${size(descriptor.size).padStart(8)}${i === layers.length - 1 ? "  the changes" : ""}`
  })

const historyLines = (history: ReadonlyArray<ImageConfig.History>): ReadonlyArray<string> =>
  history.map(({ comment, created, created_by }) =>
    cut(
      `${(created ?? "").slice(0, 19).replace("T", " ")}  ${(comment ?? created_by ?? "").replace(/\s+/g, " ").trim()}`
    )
  )

/** For a command line. */
export const quoted = (text: string): string =>
  /^[\w./:@+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`

/** Podman makes an image's name of the path, so not every path will do. */
const toolLines = ({ layout, ref }: Outcome): ReadonlyArray<string> => {
  const image = quoted(`oci:${layout}:${ref}`)
  return [`skopeo inspect ${image}`, ...(/^[a-z0-9/._-]+$/.test(layout) ? [`podman pull ${image}`] : [])]
}

/** One line of it: how many, and the first two. */
const some = (title: string, all: ReadonlyArray<string>): ReadonlyArray<string> =>
  all.length === 0 ? [] : [`${title} (${all.length}): ${all.slice(0, 2).join("; ")}${all.length > 2 ? "; …" : ""}`]

const whereLines = ({ digest, layout, name, remove }: Outcome): ReadonlyArray<string> => [
  `name    ${name}`,
  `digest  ${digest}`,
  `layout  ${layout}`,
  ...(remove === undefined ? [] : [`remove  ${remove}`])
]

const familiar = (name: string): string =>
  Result.match(Reference.parse(name), { onFailure: () => name, onSuccess: Reference.familiar })

const more = `
On this machine's containerd, as root:
  npm run demo                        starts a private one and runs what it commits
  npm run commit -- CONTAINER app:1   commits a container of the one that runs here`

export const toText = (outcome: Outcome): string => {
  const { base, changes, history, layers, name, notApplied, notCarried } = outcome
  return [
    `Made ${familiar(name)} of a changed container of ${familiar(base)}.`,
    ...section(
      "Changed paths (A added, C changed, D deleted)",
      changes.map(({ kind, path }) => `${kind} ${path}`)
    ),
    ...some("Not in the image", notCarried),
    ...some("In the image, though not on this disk", notApplied),
    ...section("Layers", layerLines(layers)),
    ...section("History", historyLines(history)),
    ...section("Image", whereLines(outcome)),
    ...section("Other tools read it there", toolLines(outcome)),
    more
  ].join("\n")
}
