/**
 * What an entry of a layer asks for, decided before anything is done: where its name leads, what is there, and whether
 * a layer may do that at all (OCI image spec, layer.md "Applying Changesets"; containerd's `archive.Apply`).
 *
 * @since 0.1.0
 */
import * as RawPath from "./RawPath.ts"
import type * as TarEntry from "./TarEntry.ts"
import { type Node, type OnMissing, type Place, type TreeModel, unsafe } from "./TreeModel.ts"
import * as Whiteout from "./Whiteout.ts"

export type Step =
  /** Nothing to do. */
  | { readonly _tag: "Skip" }
  /** The directory itself. */
  | { readonly _tag: "Root"; readonly entry: TarEntry.TarEntry }
  /** Takes away what lower layers left at a name, or in the directory of that name where this layer put something. */
  | { readonly _tag: "Remove"; readonly place: Place; readonly name: string; readonly existing: Node }
  /** Takes away what lower layers left in a directory. */
  | { readonly _tag: "Clear"; readonly place: Place }
  | Put

export interface Put {
  readonly _tag: "Put"
  readonly place: Place
  readonly name: string
  /** With its path resolved, and the link of a hard link, too. */
  readonly entry: TarEntry.TarEntry
  readonly existing: Node | undefined
  /** What a hard link leads to. */
  readonly target: { readonly place: Place; readonly name: string; readonly node: Node } | undefined
}

const skip: Step = { _tag: "Skip" }
const maxTarget = 4095
const makesNone: OnMissing = () => undefined

const checkName = (path: RawPath.RawPath, name: string) => {
  if (name.length > RawPath.maxName) throw unsafe(path, `has a name of more than ${RawPath.maxName} bytes`)
}

/** containerd cleans names, too; what is absolute or climbs out it puts into the directory, here it is refused. */
const partsOf = (path: RawPath.RawPath, entry: TarEntry.TarEntry): ReadonlyArray<string> => {
  const what = path === entry.path ? "" : `is a link to ${RawPath.quote(path)}, which `
  if (path.includes("\0")) throw unsafe(entry.path, `${what}has a NUL in its name`)
  if (path.startsWith("/")) throw unsafe(entry.path, `${what}is absolute: names of a layer begin at its own root`)
  const parts = RawPath.clean(path)
  if (parts === undefined) throw unsafe(entry.path, `${what}leads out of the layer's directory`)
  return parts
}

const isEmptyName = (name: string) => name === "" || name === "." || name === ".."

const whiteout = (model: TreeModel, parents: ReadonlyArray<string>, base: string, path: RawPath.RawPath): Step => {
  const name = base.slice(Whiteout.prefix.length)
  if (isEmptyName(name)) throw unsafe(path, "is a whiteout of no name")
  checkName(path, name)
  const place = model.directory(parents, path, makesNone)
  if (place === undefined) return skip
  if (base === Whiteout.opaque) return { _tag: "Clear", place }
  // Other names of aufs' own; nobody writes them any more, and nobody may take them for names of files.
  if (base.startsWith(Whiteout.auxiliary)) return skip
  const existing = model.lookup(place, name)
  return existing === undefined ? skip : { _tag: "Remove", place, name, existing }
}

const linkTarget = (model: TreeModel, entry: TarEntry.TarEntry, path: RawPath.RawPath): Put["target"] => {
  const says = `is a hard link to ${RawPath.quote(entry.link)}, which`
  const parts = partsOf(entry.link, entry)
  const name = parts.at(-1)
  const place = model.directory(parts.slice(0, -1), path, makesNone)
  const found = place === undefined || name === undefined ? undefined : model.lookup(place, name)
  if (place === undefined || name === undefined || found === undefined) throw unsafe(path, `${says} is not there`)
  if (found.type === "directory") throw unsafe(path, `${says} is a directory`)
  const target = RawPath.join(place.path, name)
  if (target === path || target.startsWith(`${path}/`)) throw unsafe(path, `${says} it takes the place of`)
  return { place, name, node: found }
}

const checkSymlink = (entry: TarEntry.TarEntry) => {
  if (entry.link === "" || entry.link.includes("\0")) throw unsafe(entry.path, "is a symlink to no name")
  if (entry.link.length > maxTarget) throw unsafe(entry.path, `is a symlink of more than ${maxTarget} bytes`)
}

const typeOf = (entry: TarEntry.TarEntry, target: Put["target"]): Node["type"] => {
  if (target !== undefined) return target.node.type
  return entry.type === "5" ? "directory" : entry.type === "2" ? "symlink" : "other"
}

/** No writer of layers does that; it is how a name is made to lead elsewhere after it was looked at. */
const checkType = ({ entry, existing, target }: Put) => {
  if (existing?.made !== true || existing.type === typeOf(entry, target)) return
  throw unsafe(entry.path, "changes its type in the middle of the layer")
}

/** `onMissing` makes the parents that the layer does not mention. Throws a `LayerError` for what is refused. */
export const plan = (model: TreeModel, entry: TarEntry.TarEntry, onMissing: OnMissing): Step => {
  const parts = partsOf(entry.path, entry)
  const parents = parts.slice(0, -1)
  const name = parts.at(-1)
  if (name === undefined) {
    if (entry.type !== "5") throw unsafe(entry.path, "stands for the root and is no directory")
    return { _tag: "Root", entry: { ...entry, path: "" } }
  }
  for (const parent of parents) {
    if (parent.startsWith(Whiteout.auxiliary)) return skip
    if (parent.startsWith(Whiteout.prefix)) throw unsafe(entry.path, "is inside of a whiteout")
    checkName(entry.path, parent)
  }
  if (name.startsWith(Whiteout.prefix)) return whiteout(model, parents, name, entry.path)
  checkName(entry.path, name)
  if (entry.type === "2") checkSymlink(entry)
  const place = model.directory(parents, entry.path, onMissing)
  if (place === undefined) return skip
  const path = RawPath.join(place.path, name)
  const target = entry.type === "1" ? linkTarget(model, entry, path) : undefined
  const link = target === undefined ? entry.link : RawPath.join(target.place.path, target.name)
  const existing = model.lookup(place, name)
  const put: Put = { _tag: "Put", place, name, entry: { ...entry, path, link }, existing, target }
  checkType(put)
  return put
}

/** A directory that is described again keeps what is in it. */
export const isMerge = ({ entry, existing }: Put): boolean => entry.type === "5" && existing?.type === "directory"

/** The writer takes a non-directory that it has written itself away; it knows when. */
export const isWritersOwn = ({ entry, existing }: Put): boolean =>
  entry.type !== "5" && existing !== undefined && existing.made && existing.type !== "directory"
