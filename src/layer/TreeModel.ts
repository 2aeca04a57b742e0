/**
 * What a directory holds while a layer is extracted into it: what this layer has put there, known from its entries, on
 * top of what lower layers left there, looked up on the disk. The writer may lag behind; the model does not.
 *
 * Names are resolved in it as in a root: an absolute symlink starts at the directory (containerd's `fs.RootPath`). One
 * that climbs above it is refused.
 *
 * @since 0.1.0
 */
import { type BigIntStats, lstatSync, readlinkSync } from "node:fs"
import { LayerError } from "./LayerError.ts"
import * as RawPath from "./RawPath.ts"

export interface Node {
  type: "directory" | "symlink" | "other"
  /** This layer put it here or, of a directory, described it. */
  made: boolean
  /** Of a directory: the disk may hold things of lower layers in it that are not among its children here. */
  lower: boolean
  /** The run of the writer in which a directory was made; that one may still write into it, whatever its mode. */
  madeIn: number
  /** The run in which an entry with extended attributes described it. */
  attributesIn: number
  /** The run for which an ordinary user's permission to write into it was seen to. */
  openedIn: number
  /** The mode that a file or a directory gets at the end, until when its owner may write to it. */
  closedMode: number | undefined
  /** Of a directory that an entry described: nanoseconds. */
  mtime: bigint | undefined
  /** Where a symlink leads. */
  target: string
  /** A hard link of this layer leads to this thing of a lower one. */
  pinned: boolean
  children: Map<string, Node> | undefined
}

/** A directory with the path that leads to it without a symlink. */
export interface Place {
  readonly node: Node
  readonly path: RawPath.RawPath
}

/** A component on the way that is not there yet. */
export type OnMissing = (place: Place, name: string) => Node | undefined

export interface TreeModel {
  readonly root: Node
  /** What is at that name; throws a `LayerError` when the disk cannot be read. */
  readonly lookup: (place: Place, name: string) => Node | undefined
  /**
   * The directory at the end of a path, through symlinks. For a missing component `onMissing` may make one; `undefined`
   * when it makes none. Throws a `LayerError` about `name` when the path leads through a file, out or in a circle.
   */
  readonly directory: (parts: ReadonlyArray<string>, name: RawPath.RawPath, onMissing: OnMissing) => Place | undefined
}

export const node = (type: Node["type"], fields: Partial<Node> = {}): Node => ({
  type,
  made: false,
  lower: false,
  madeIn: -1,
  attributesIn: -1,
  openedIn: -1,
  closedMode: undefined,
  mtime: undefined,
  target: "",
  pinned: false,
  children: undefined,
  ...fields
})

export const addChild = (parent: Node, name: string, child: Node): Node => {
  parent.children ??= new Map()
  parent.children.set(name, child)
  return child
}

/** True when the node, or something in it, has that property. */
export const some = (self: Node, predicate: (node: Node) => boolean): boolean => {
  if (predicate(self)) return true
  for (const child of self.children?.values() ?? []) if (some(child, predicate)) return true
  return false
}

/** Everything in the model, parents first. */
export function* walk(place: Place): Generator<Place> {
  yield place
  for (const [name, child] of place.node.children ?? [])
    yield* walk({ node: child, path: RawPath.join(place.path, name) })
}

export const unsafe = (path: RawPath.RawPath, why: string): LayerError =>
  new LayerError({ kind: "unsafe", message: `${RawPath.quote(path)} ${why}` })

/** As many as the kernel follows, and a few more. */
const maxLinks = 255

const fromStats = (stats: BigIntStats, full: Buffer): Node => {
  if (stats.isDirectory()) return node("directory", { lower: true })
  if (!stats.isSymbolicLink()) return node("other")
  return node("symlink", { target: RawPath.fromBytes(readlinkSync(full, { encoding: "buffer" })) })
}

export const make = (directory: string): TreeModel => {
  const base = Buffer.from(directory)
  const root = node("directory", { lower: true })

  const lookup = ({ node: parent, path }: Place, name: string): Node | undefined => {
    const known = parent.children?.get(name)
    if (known !== undefined || !parent.lower) return known
    const below = RawPath.join(path, name)
    if (name.length > RawPath.maxName) throw unsafe(below, `has a name of more than ${RawPath.maxName} bytes`)
    const full = RawPath.below(base, below)
    const stats = lstatSync(full, { bigint: true, throwIfNoEntry: false })
    if (stats === undefined) return undefined
    const found = fromStats(stats, full)
    // Files are looked at once; directories and symlinks are on the way to others.
    return found.type === "other" ? found : addChild(parent, name, found)
  }

  const directoryAt: TreeModel["directory"] = (parts, whole, onMissing) => {
    const stack: Array<Place> = [{ node: root, path: "" }]
    const rest = parts.toReversed()
    let links = 0
    for (let name = rest.pop(); name !== undefined; name = rest.pop()) {
      if (name === "..") {
        if (stack.length === 1) throw unsafe(whole, "leads through a symlink that points out of the layer's directory")
        stack.pop()
        continue
      }
      const at = stack.at(-1) ?? { node: root, path: "" }
      const found = lookup(at, name) ?? onMissing(at, name)
      if (found === undefined) return undefined
      const path = RawPath.join(at.path, name)
      if (found.type === "other") throw unsafe(whole, `leads through ${RawPath.quote(path)}, which is no directory`)
      if (found.type === "directory") {
        stack.push({ node: found, path })
        continue
      }
      if (++links > maxLinks) throw unsafe(whole, "leads through too many symlinks")
      rest.push(...RawPath.split(found.target).toReversed())
      if (found.target.startsWith("/")) stack.length = 1
    }
    return stack.at(-1)
  }

  return { root, lookup, directory: directoryAt }
}
