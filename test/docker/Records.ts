/** What containerd holds of an image, as `ctr` shows it: an eye that is not ours. */
import { Effect } from "effect"
import { Engine } from "./Engine.ts"

const ctr = (...args: ReadonlyArray<string>) =>
  Effect.flatMap(Engine, ({ containerd }) => containerd.ctr(args, { namespace: "moby" }))

type Labels = Readonly<Record<string, string>>

const labelsOf = (text: string): Labels =>
  text === "-"
    ? {}
    : Object.fromEntries(
        text.split(",").map((label) => {
          const [key = "", value = ""] = label.split(/=(.*)/)
          return [key, value]
        })
      )

/** The row of a table, and the labels in its last column. */
const find = (table: string, key: string) => {
  const columns =
    table
      .split("\n")
      .map((line) => line.trim().split(/\t+|\s+/))
      .find(([first]) => first === key) ?? []
  return { columns, labels: labelsOf(columns.at(-1) ?? "-") }
}

const blob = Effect.fnUntraced(function* (digest: string) {
  const { labels } = find(yield* ctr("content", "ls"), digest)
  return { labels, text: yield* ctr("content", "get", digest) }
})

const manifestOf = (text: string): { readonly config: { readonly digest: string } } => JSON.parse(text)

/** Everything of one image, with its own digests by what they are: two of the same container are equal. */
export const take = Effect.fnUntraced(function* (name: string) {
  const image = find(yield* ctr("images", "ls"), name)
  const [, , digest = ""] = image.columns
  const manifest = yield* blob(digest)
  const configDigest = manifestOf(manifest.text).config.digest
  const config = yield* blob(configDigest)
  const containerConfig = yield* blob(image.labels["org.mobyproject.image.containerconfig"] ?? "")
  const named = (labels: Labels) =>
    Object.entries(labels).map(([key, value]) => [
      // The order says what a reference is, whatever its name.
      key.replace(/^(containerd\.io\/gc\.ref\.content)\.(config|l\.\d+|\d+)$/, "$1"),
      value === digest ? "manifest" : value === configDigest ? "config" : value
    ])
  return {
    image: image.labels,
    manifest: named(manifest.labels).sort(),
    config: named(config.labels).sort(),
    containerConfig: { text: containerConfig.text, labels: named(containerConfig.labels) }
  }
})
