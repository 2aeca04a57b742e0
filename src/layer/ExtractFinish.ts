/**
 * What is left to do when all entries of a layer are in the directory.
 *
 * @since 0.1.0
 */
import { chmodSync, lstatSync } from "node:fs"
import * as Effect from "effect/Effect"
import * as ExtractRun from "./ExtractRun.ts"
import type { ExtractWriter } from "./ExtractWriter.ts"
import type * as Metadata from "./Metadata.ts"
import * as RawPath from "./RawPath.ts"
import { attempt } from "./TarReader.ts"
import * as TreeModel from "./TreeModel.ts"

const close = ({ model, root }: ExtractRun.ExtractRun): void => {
  for (const { node, path } of TreeModel.walk({ node: model.root, path: "" })) {
    if (node.closedMode !== undefined) chmodSync(RawPath.below(root, path), node.closedMode)
  }
}

const stamp = (self: ExtractRun.ExtractRun, stamper: ExtractWriter) =>
  Effect.gen(function* () {
    for (const { node, path } of TreeModel.walk({ node: self.model.root, path: "" })) {
      if (node.mtime === undefined) continue
      const { gid, mode, uid } = lstatSync(RawPath.below(self.root, path))
      stamper.entry({ ...ExtractRun.directoryEntry(path, mode & 0o7777, node.mtime), uid, gid })
      yield* stamper.flush
    }
    yield* stamper.settle
  })

/**
 * Settles the writer. If it had to settle before, directories that it was done with have changed since: the stamper,
 * which changes modes and times of directories and nothing else, gives them their times again.
 */
export const finish = Effect.fnUntraced(function* (self: ExtractRun.ExtractRun, stamper: ExtractWriter) {
  const settledBefore = self.run > 0
  yield* ExtractRun.settle(self)
  yield* attempt(() => close(self), "files")
  if (settledBefore) yield* stamp(self, stamper)
})

/** What an old path of a lower layer is now: that, something of this layer, or nothing. */
const fateOf = ({ model, root }: ExtractRun.ExtractRun, path: RawPath.RawPath): "lower" | "made" | "gone" => {
  let node = model.root
  for (const name of RawPath.split(path)) {
    const child = node.children?.get(name)
    if (child === undefined && !node.lower) return "gone"
    if (child === undefined) {
      const stats = lstatSync(RawPath.below(root, path), { throwIfNoEntry: false })
      return stats === undefined ? "gone" : "lower"
    }
    node = child
  }
  return node.made ? "made" : "lower"
}

/** The metadata of the directory after the extraction. */
export const metadata = (self: ExtractRun.ExtractRun): Metadata.Metadata => {
  const before = [...self.metadata.paths].filter(([path]) => fateOf(self, path) === "lower")
  const made = [...self.attributes].filter(([path]) => fateOf(self, path) === "made")
  const owner = self.rights.owners === undefined ? self.rights.self : self.metadata.self
  return { ...(owner === undefined ? {} : { self: owner }), paths: new Map([...before, ...made]) }
}
