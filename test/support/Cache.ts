import { homedir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"

/** What provision.sh can bring. */
export type Item =
  | "containerd-1.6"
  | "containerd-1.7"
  | "containerd-2"
  | "dockerd"
  | "dockerd-26"
  | "buildx"
  | "runc"
  | "runsc"
  | "busybox"
  | "skopeo"
  | "umoci"
  | "podman"
  | "buildah"
  | "attr"
  | "igzip"
  | "pigz"
  | "zstd"

/** The same rule as in provision.sh, so that programs outside vitest find the cache too. */
const directory = (): string =>
  process.env["EFFECT_CONTAINERD_CACHE"] ??
  join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "effect-containerd")

export const bin = (item: Item): string => join(directory(), item, "bin")

export const program = (item: Item, name: string): string => join(bin(item), name)

/** A PATH on which the programs of these items come first. */
export const path = (items: ReadonlyArray<Item>, extra: ReadonlyArray<string> = []): string =>
  [...extra, ...items.map(bin), process.env["PATH"] ?? "/usr/sbin:/usr/bin:/sbin:/bin"].join(":")

/** This program's own, until the scope closes. */
export const setPath = (path: string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const before = process.env["PATH"] ?? ""
      process.env["PATH"] = path
      return before
    }),
    (before) => Effect.sync(() => (process.env["PATH"] = before))
  )

/** With these in front, until the scope closes. */
export const inPath = (items: ReadonlyArray<Item>, extra: ReadonlyArray<string> = []) =>
  Effect.suspend(() => setPath(path(items, extra)))
