/**
 * Takes out of a copy what the layer does not say, so that the copy can be the snapshot.
 *
 * @since 0.1.0
 */
import { lstatSync } from "node:fs"
import type * as Effect from "effect/Effect"
import type { LayerError } from "../layer/LayerError.ts"
import * as RawPath from "../layer/RawPath.ts"
import { removeTree } from "../layer/RemoveTree.ts"
import { attempt } from "../layer/TarReader.ts"

/** A directory, and the time that it is to have, in nanoseconds since 1970. */
export interface Timed {
  readonly path: RawPath.RawPath
  readonly mtime: bigint
}

/** Those that stay and have something taken out of them. */
const parentsOf = (root: Buffer, paths: ReadonlyArray<RawPath.RawPath>): ReadonlyArray<Timed> => {
  const gone = new Set(paths)
  const parents = new Set(paths.map((path) => RawPath.parent(path) ?? "").filter((path) => !gone.has(path)))
  return [...parents].map((path) => ({
    path,
    mtime: lstatSync(RawPath.below(root, path), { bigint: true }).mtimeNs
  }))
}

/** Everything that is in one of the paths is among them. Gives the directories whose times have changed by it. */
export const prune = (
  root: string,
  paths: ReadonlyArray<RawPath.RawPath>
): Effect.Effect<ReadonlyArray<Timed>, LayerError> =>
  attempt(() => {
    const base = Buffer.from(root)
    const parents = parentsOf(base, paths)
    // What is in a directory before it: it has the longer name.
    for (const path of paths.toSorted((a, b) => b.length - a.length)) {
      const full = RawPath.below(base, path)
      const stats = lstatSync(full, { throwIfNoEntry: false })
      if (stats !== undefined) removeTree(full, stats.isDirectory())
    }
    return parents
  }, "files")
