/** How suites and their cases are named, so that the table finds them again. */
import { differences, type Key, type Where } from "./Differences.ts"

/** In the order of the table. */
export const suites = [
  "content store",
  "snapshotter",
  "differ",
  "leases",
  "images",
  "commit",
  "commit options"
] as const
export type Suite = (typeof suites)[number]

/** Of the `describe` that holds the cases of a suite on a backend. */
export const title = (suite: Suite, backend: string): string => `${suite}: ${backend}`

export const parseTitle = (text: string): { readonly suite: Suite; readonly backend: string } | undefined => {
  const suite = suites.find((one) => text.startsWith(`${one}: `))
  return suite === undefined ? undefined : { suite, backend: text.slice(suite.length + 2) }
}

/** Ends the name of a case in which the backends differ. */
export const differs = (...keys: ReadonlyArray<Key>): string => ` (differs: ${keys.join(", ")})`

const isKey = (text: string): text is Key => text in differences

/** The name of a case without that, and the keys. */
export const parseCase = (text: string): { readonly name: string; readonly keys: ReadonlyArray<Key> } => {
  const [, name = text, keys = ""] = /^(.*) \(differs: (.*)\)$/.exec(text) ?? []
  return { name, keys: keys.split(", ").filter(isKey) }
}

/** `embedded`, or a version of containerd and perhaps a snapshotter; `host` is overlayfs, read without the daemon. */
export const parseBackend = (text: string): Where => {
  const [version = "", snapshotter = ""] = text.split(" ")
  if (text === "embedded") return { backend: "embedded" }
  return snapshotter === "host"
    ? { backend: "containerd", version, snapshotter: "overlayfs", host: true }
    : { backend: "containerd", version, snapshotter }
}
