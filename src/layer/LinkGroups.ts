/**
 * Which names of a directory stand for the same file, and which of them a layer has to name so that they do so again.
 *
 * @since 0.1.0
 */
import type { BigIntStats } from "node:fs"
import type * as RawPath from "./RawPath.ts"

export interface LinkGroups {
  /** Names by inode. */
  readonly upper: Map<string, Array<RawPath.RawPath>>
  /** Names that are in both directories. */
  readonly lower: Map<string, Array<RawPath.RawPath>>
  readonly inLower: Map<RawPath.RawPath, string>
}

export const make = (): LinkGroups => ({ upper: new Map(), lower: new Map(), inLower: new Map() })

const inodeOf = ({ dev, ino }: BigIntStats) => `${dev}:${ino}`

const append = (groups: Map<string, Array<RawPath.RawPath>>, inode: string, path: RawPath.RawPath) => {
  const names = groups.get(inode)
  if (names === undefined) groups.set(inode, [path])
  else names.push(path)
}

/** A name that is no directory; `lower` when it is there, too. Most files have one name and cost nothing. */
export const add = (
  self: LinkGroups,
  path: RawPath.RawPath,
  upper: BigIntStats,
  lower: BigIntStats | undefined
): void => {
  const wasLinked = lower !== undefined && lower.nlink > 1n
  if (upper.nlink > 1n || wasLinked) append(self.upper, inodeOf(upper), path)
  if (!wasLinked) return
  append(self.lower, inodeOf(lower), path)
  self.inLower.set(path, inodeOf(lower))
}

/** The names that were one file are, as far as they were left alone, still those that are one file. */
const isIntact = (
  self: LinkGroups,
  names: ReadonlyArray<RawPath.RawPath>,
  isChanged: (path: RawPath.RawPath) => boolean
): boolean => {
  const [first = ""] = names
  const inode = self.inLower.get(first)
  if (names.some((path) => self.inLower.get(path) !== inode)) return false
  if (inode === undefined) return names.length === 1
  const left = (self.lower.get(inode) ?? []).filter((path) => !isChanged(path))
  return left.length === names.length
}

/**
 * Calls `join` for each name that must come along: when a name of a group has changed, the others; when files were
 * joined or parted and nothing else, the whole group.
 */
export const complete = (
  self: LinkGroups,
  isChanged: (path: RawPath.RawPath) => boolean,
  join: (path: RawPath.RawPath) => void
): void => {
  const joinAll = (names: ReadonlyArray<RawPath.RawPath>) => {
    for (const path of names) if (!isChanged(path)) join(path)
  }
  for (const names of self.upper.values()) if (names.some(isChanged)) joinAll(names)
  for (const names of self.upper.values())
    if (!names.some(isChanged) && !isIntact(self, names, isChanged)) joinAll(names)
}

/** For each of those paths, which are in the order of the layer, that has an earlier name there: that one. */
export const firstNames = (
  self: LinkGroups,
  paths: ReadonlyArray<RawPath.RawPath>
): ReadonlyMap<RawPath.RawPath, RawPath.RawPath> => {
  const found = new Map<RawPath.RawPath, RawPath.RawPath>()
  if (self.upper.size === 0) return found
  const position = new Map(paths.map((path, index) => [path, index]))
  const order = (path: RawPath.RawPath) => position.get(path) ?? Number.POSITIVE_INFINITY
  for (const names of self.upper.values()) {
    const [first, ...others] = names.filter((path) => position.has(path)).toSorted((a, b) => order(a) - order(b))
    for (const path of others) if (first !== undefined) found.set(path, first)
  }
  return found
}
