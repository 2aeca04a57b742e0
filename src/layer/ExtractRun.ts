/**
 * Does what the steps of an extraction say. Removals happen here and at once, entries go to the writer, which lags
 * behind: where the order between the two matters, the writer has to settle first.
 *
 * @since 0.1.0
 */
import { chmodSync, lstatSync, readdirSync } from "node:fs"
import * as Effect from "effect/Effect"
import * as Concession from "./Concession.ts"
import { isMerge, isWritersOwn, type Put, plan, type Step } from "./ExtractStep.ts"
import type { ExtractWriter } from "./ExtractWriter.ts"
import type { LayerError } from "./LayerError.ts"
import type * as Metadata from "./Metadata.ts"
import * as RawPath from "./RawPath.ts"
import { removeTree } from "./RemoveTree.ts"
import type * as Rights from "./Rights.ts"
import type * as TarEntry from "./TarEntry.ts"
import { attempt } from "./TarReader.ts"
import * as TreeModel from "./TreeModel.ts"

export interface Settings {
  /** On this machine. */
  readonly root: Buffer
  readonly model: TreeModel.TreeModel
  readonly rights: Rights.Rights
  readonly writer: ExtractWriter
  /** Nanoseconds since 1970: the time of directories that the layer does not mention. */
  readonly now: bigint
  /** Of what lower layers left. */
  readonly metadata: Metadata.Metadata
}

export interface ExtractRun extends Settings {
  readonly lost: Array<Concession.Lost>
  /** Of what this layer has put there. */
  readonly attributes: Map<RawPath.RawPath, Metadata.Attributes>
  /** Directories that the layer does not mention and that are still to be made. */
  readonly implicit: Array<{ readonly place: TreeModel.Place; readonly name: string; readonly node: TreeModel.Node }>
  /** Counts how often the writer settled. */
  run: number
  /** The content of the last entry goes to the writer. */
  takesContent: boolean
}

export const make = (settings: Settings): ExtractRun => ({
  ...settings,
  lost: [],
  attributes: new Map(),
  implicit: [],
  run: 0,
  takesContent: false
})

const isDirty = ({ made, pinned }: TreeModel.Node) => made || pinned
const isPinned = ({ pinned }: TreeModel.Node) => pinned
const isMade = ({ made }: TreeModel.Node) => made

const onMissing =
  (self: ExtractRun): TreeModel.OnMissing =>
  (place, name) => {
    const node = TreeModel.addChild(place.node, name, TreeModel.node("directory", { made: true }))
    self.implicit.push({ place, name, node })
    return node
  }

/** The writer may still have to do something that a removal would get in the way of. */
const mustSettle = (self: ExtractRun, step: Step): boolean => {
  if (step._tag === "Remove") return TreeModel.some(step.existing, isPinned)
  if (step._tag === "Clear") return TreeModel.some(step.place.node, isPinned)
  if (step._tag !== "Put" || step.existing === undefined || isWritersOwn(step)) return false
  // Described twice in one run, a directory would keep the attributes of the second time alone.
  if (isMerge(step)) return step.existing.attributesIn === self.run
  return TreeModel.some(step.existing, isDirty)
}

/** Lets an ordinary user write into a directory that its mode keeps closed, until the end. */
const open = (self: ExtractRun, { node, path }: TreeModel.Place): void => {
  if (self.rights.overridesModes || node.madeIn === self.run || node.openedIn === self.run) return
  node.openedIn = self.run
  const full = RawPath.below(self.root, path)
  const mode = lstatSync(full).mode & 0o7777
  if ((mode & 0o300) === 0o300) return
  chmodSync(full, mode | 0o700)
  node.closedMode = mode
}

const remove = (self: ExtractRun, place: TreeModel.Place, name: string, isDirectory: boolean): void => {
  open(self, place)
  removeTree(RawPath.below(self.root, RawPath.join(place.path, name)), isDirectory)
  place.node.children?.delete(name)
}

/** Takes away what lower layers left in a directory, and leaves what this layer has put there. */
const clear = (self: ExtractRun, { node, path }: TreeModel.Place): void => {
  if (!node.lower) return
  const entries = readdirSync(RawPath.below(self.root, path), { withFileTypes: true, encoding: "buffer" })
  for (const entry of entries) {
    const name = RawPath.fromBytes(entry.name)
    const child = node.children?.get(name)
    if (child === undefined || !TreeModel.some(child, isMade)) {
      remove(self, { node, path }, name, entry.isDirectory())
    } else if (child.type === "directory") {
      clear(self, { node: child, path: RawPath.join(path, name) })
    }
  }
  node.lower = false
}

const removeLower = (self: ExtractRun, place: TreeModel.Place, name: string, existing: TreeModel.Node): void => {
  const isDirectory = existing.type === "directory"
  if (!TreeModel.some(existing, isMade)) remove(self, place, name, isDirectory)
  else if (isDirectory) clear(self, { node: existing, path: RawPath.join(place.path, name) })
}

/**
 * The kernel lets an ordinary user set `user.*` only on what that user may write to, and GNU tar sets the mode first.
 * So what is read-only gets its mode at the end.
 */
const openMode = ({ overridesModes }: Rights.Rights, { mode, type, xattrs }: TarEntry.TarEntry): number =>
  overridesModes || xattrs.length === 0 || (type !== "0" && type !== "5") ? mode : mode | 0o200

/** Gives an entry to the writer, as far as the user may. */
const write = (self: ExtractRun, node: TreeModel.Node, entry: TarEntry.TarEntry): TarEntry.TarEntry => {
  const conceded = Concession.concede(entry, self.rights)
  self.lost.push(...conceded.lost)
  if (Object.keys(conceded.attributes).length > 0) self.attributes.set(entry.path, conceded.attributes)
  else self.attributes.delete(entry.path)
  const mode = openMode(self.rights, conceded.entry)
  node.closedMode = mode === conceded.entry.mode ? undefined : conceded.entry.mode
  self.writer.entry({ ...conceded.entry, mode })
  return conceded.entry
}

/** A directory without anything special. */
export const directoryEntry = (path: RawPath.RawPath, mode: number, mtime: bigint): TarEntry.TarEntry => ({
  ...{ path, type: "5", mode, mtime },
  ...{ uid: 0, gid: 0, size: 0, link: "", major: 0, minor: 0, xattrs: [] }
})

const makeImplicit = (self: ExtractRun): void => {
  for (const { name, node, place } of self.implicit) {
    open(self, place)
    node.madeIn = self.run
    write(self, node, directoryEntry(RawPath.join(place.path, name), 0o755, self.now))
  }
  self.implicit.length = 0
}

const describe = (self: ExtractRun, node: TreeModel.Node, entry: TarEntry.TarEntry): void => {
  const { xattrs } = write(self, node, entry)
  node.made = true
  node.mtime = entry.mtime
  if (xattrs.length > 0) node.attributesIn = self.run
}

/** A hard link is what it leads to, the metadata included. */
const link = (self: ExtractRun, target: NonNullable<Put["target"]>, path: RawPath.RawPath): void => {
  const from = RawPath.join(target.place.path, target.name)
  const same = self.attributes.get(from) ?? (target.node.made ? undefined : self.metadata.paths.get(from))
  if (same !== undefined) self.attributes.set(path, same)
  if (target.node.made) return
  target.node.pinned = true
  TreeModel.addChild(target.place.node, target.name, target.node)
}

const nodeOf = (self: ExtractRun, { entry, target }: Put): TreeModel.Node => {
  const made = { made: true, madeIn: self.run }
  if (target !== undefined) return TreeModel.node(target.node.type, { ...made, target: target.node.target })
  if (entry.type === "2") return TreeModel.node("symlink", { ...made, target: entry.link })
  return TreeModel.node(entry.type === "5" ? "directory" : "other", made)
}

const put = (self: ExtractRun, step: Put): void => {
  const { entry, existing, name, place, target } = step
  makeImplicit(self)
  open(self, place)
  const isMerged = isMerge(step)
  if (existing !== undefined && !isMerged && !isWritersOwn(step)) {
    remove(self, place, name, existing.type === "directory")
  }
  const node = existing !== undefined && isMerged ? existing : TreeModel.addChild(place.node, name, nodeOf(self, step))
  if (entry.type === "5") describe(self, node, entry)
  else self.takesContent = write(self, node, entry).size > 0
  if (target !== undefined) link(self, target, entry.path)
}

const perform = (self: ExtractRun, step: Step): void => {
  if (step._tag === "Put") put(self, step)
  else if (step._tag === "Root") describe(self, self.model.root, step.entry)
  else if (step._tag === "Remove") removeLower(self, step.place, step.name, step.existing)
  else if (step._tag === "Clear") clear(self, step.place)
}

export const settle = (self: ExtractRun): Effect.Effect<void, LayerError> =>
  Effect.suspend(() => {
    self.run += 1
    return self.writer.settle
  })

/** Refuses an entry before it has an effect, or does what it says. */
export const apply = Effect.fnUntraced(function* (self: ExtractRun, entry: TarEntry.TarEntry) {
  self.takesContent = false
  const step = yield* attempt(() => plan(self.model, entry, onMissing(self)), "files")
  if (mustSettle(self, step)) yield* settle(self)
  yield* attempt(() => perform(self, step), "files")
})
