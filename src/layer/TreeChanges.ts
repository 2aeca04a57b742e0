/**
 * Compares two directories by what the file system says about each name, without reading a file.
 *
 * @since 0.1.0
 */
import { type BigIntStats, lstatSync, readdirSync, readlinkSync } from "node:fs"
import * as Effect from "effect/Effect"
import type { Lost } from "./Concession.ts"
import type { LayerError } from "./LayerError.ts"
import * as LinkGroups from "./LinkGroups.ts"
import * as RawPath from "./RawPath.ts"
import { attempt } from "./TarReader.ts"
import * as Whiteout from "./Whiteout.ts"

/** Something that a layer has to say. */
export interface Change {
  readonly path: RawPath.RawPath
  /** `context`: not changed, but a parent of a change or another name of a changed file. */
  readonly kind: "added" | "modified" | "deleted" | "context"
  /** The content, if it has any, is that of the lower directory. */
  readonly sameContent: boolean
  /** The first name, in the order of the layer, of the same file. */
  readonly firstName?: RawPath.RawPath
  /** Bytes, of a regular file with one name. */
  readonly size?: number
}

/** The upper directory of an overlay: what it does not hold is as in the lower one, what is gone is a device 0/0. */
export interface Overlay {
  /** Directories that show nothing of the lower one. */
  readonly opaque: ReadonlySet<RawPath.RawPath>
  /** Whether an owner in `upper` is the one in `lower`. */
  readonly isSameOwner: (upper: Owner, lower: Owner) => boolean
  /** Whether nobody has touched what was copied from the lower directory, which then is not looked at. Default: no. */
  readonly isUntouched?: ((upper: BigIntStats) => boolean) | undefined
  /** Sees each name of the upper directory that is not untouched and that a tar can hold, in the order of a layer. */
  readonly see?: ((path: RawPath.RawPath, upper: BigIntStats) => void) | undefined
}

export type Owner = Pick<BigIntStats, "uid" | "gid">

export interface Options {
  /** `undefined`: everything is new. */
  readonly lower: string | undefined
  readonly upper: string
  /** Nanoseconds since 1970. */
  readonly since: bigint | undefined
  /** Default: `upper` holds everything. */
  readonly overlay?: Overlay | undefined
}

export interface TreeChanges {
  readonly changes: Map<RawPath.RawPath, Change>
  /** Touched since, although nothing that was compared differs. */
  readonly suspects: ReadonlyArray<RawPath.RawPath>
  /** Directories that are there in both, and were touched since. */
  readonly directories: ReadonlyArray<RawPath.RawPath>
  readonly links: LinkGroups.LinkGroups
  readonly lost: ReadonlyArray<Lost>
  /** Names of an overlay's upper directory that no layer can hold, or that say what is so without them. */
  readonly hidden: ReadonlyArray<RawPath.RawPath>
  /** An overlay's upper directory has something where the layer says that it is gone. */
  readonly isOther: boolean
  /** How many names the upper directory has, its own one counted in. */
  readonly names: number
}

/** The clock of the file system may be behind by a tick of the kernel. */
const tick = 20_000_000n
/** Milliseconds. */
const slice = 2
const formatMask = 0o170000n

/** A directory whose names are being looked at. */
interface Level {
  readonly path: RawPath.RawPath
  readonly inLower: boolean
  readonly names: ReadonlyArray<string>
  next: number
  /** Names of the lower directory that were not seen yet; not of an overlay. */
  readonly gone: Set<string>
}

interface Walk {
  readonly lower: string | undefined
  readonly upper: string
  readonly since: bigint | undefined
  readonly overlay: Overlay | undefined
  /** From the root down to where the walk is. */
  readonly levels: Array<Level>
  readonly changes: Map<RawPath.RawPath, Change>
  readonly suspects: Array<RawPath.RawPath>
  readonly directories: Array<RawPath.RawPath>
  readonly links: LinkGroups.LinkGroups
  readonly lost: Array<Lost>
  readonly hidden: Array<RawPath.RawPath>
  isOther: boolean
  names: number
}

const gone = new Set(["ENOENT", "ENOTDIR", "ELOOP", "EINVAL"])

/** `otherwise` where a name went away, or became something else, before it was looked at. */
export const unlessGone = <A, B>(look: () => A, otherwise: B): A | B => {
  try {
    return look()
  } catch (error) {
    if (error instanceof Error && "code" in error && gone.has(String(error.code))) return otherwise
    throw error
  }
}

const namesIn = (root: string, path: RawPath.RawPath): Array<string> =>
  readdirSync(RawPath.textBelow(root, path), { encoding: "latin1" }).toSorted()

const statsOf = (root: string | undefined, path: RawPath.RawPath): BigIntStats | undefined =>
  root === undefined
    ? undefined
    : unlessGone(() => lstatSync(RawPath.textBelow(root, path), { bigint: true, throwIfNoEntry: false }), undefined)

const sameTarget = ({ lower, upper }: Walk, path: RawPath.RawPath): boolean =>
  lower !== undefined &&
  unlessGone(
    () =>
      readlinkSync(RawPath.textBelow(lower, path), { encoding: "latin1" }) ===
      readlinkSync(RawPath.textBelow(upper, path), { encoding: "latin1" }),
    false
  )

const isSameOwner = ({ overlay }: Walk, upper: Owner, lower: Owner): boolean =>
  overlay === undefined ? upper.uid === lower.uid && upper.gid === lower.gid : overlay.isSameOwner(upper, lower)

/** The mode holds the type, too. A directory's time changes with what is in it and is not compared, as in containerd. */
const isSame = (walk: Walk, path: RawPath.RawPath, a: BigIntStats, b: BigIntStats): boolean => {
  if (a.mode !== b.mode || !isSameOwner(walk, a, b)) return false
  if (a.isDirectory()) return true
  if (a.mtimeNs !== b.mtimeNs || a.rdev !== b.rdev || a.size !== b.size) return false
  // To write to one name of a file parts it from the others, which may all be in the lower directory.
  if (walk.overlay !== undefined && a.nlink !== b.nlink) return false
  return !a.isSymbolicLink() || sameTarget(walk, path)
}

const enter = (walk: Walk, path: RawPath.RawPath, inLower: boolean): void => {
  const { lower, overlay, upper } = walk
  const names = overlay === undefined ? namesIn(upper, path) : unlessGone(() => namesIn(upper, path), [])
  const gone = overlay === undefined && inLower && lower !== undefined ? namesIn(lower, path) : []
  walk.levels.push({ path, inLower, names, next: 0, gone: new Set(gone) })
}

const isWhiteoutName = (name: string) => name.startsWith(Whiteout.prefix)

/** What no layer can hold is not there; said once, where the lower directory does not have it, too. */
const isVisible = (
  walk: Walk,
  path: RawPath.RawPath,
  name: string,
  upper: BigIntStats,
  lower?: BigIntStats
): boolean => {
  const isWhiteout = isWhiteoutName(name)
  if (!upper.isSocket() && !isWhiteout) return true
  const what = isWhiteout
    ? `the name begins with ${Whiteout.prefix}, which in a layer stands for a deletion`
    : "a socket cannot be in a layer"
  if (lower === undefined || lower.isSocket() !== upper.isSocket()) walk.lost.push({ path: RawPath.show(path), what })
  return false
}

/** The marker is, by its name, the whiteout of this one. */
const opaqueName = Whiteout.opaque.slice(Whiteout.prefix.length)

const opaque = (directory: RawPath.RawPath): [RawPath.RawPath, Change] => {
  const path = RawPath.join(directory, opaqueName)
  return [path, { path, kind: "deleted", sameContent: false }]
}

const sizeOf = (stats: BigIntStats) => (stats.isFile() && stats.nlink === 1n ? { size: Number(stats.size) } : undefined)

const compare = (walk: Walk, path: RawPath.RawPath, upper: BigIntStats, lower: BigIntStats | undefined): void => {
  if (!upper.isDirectory()) LinkGroups.add(walk.links, path, upper, lower)
  const isKept = lower !== undefined && (lower.mode & formatMask) === (upper.mode & formatMask)
  const isOpaque = isKept && walk.overlay?.opaque.has(path) === true
  if (upper.isDirectory()) enter(walk, path, isKept && !isOpaque)
  const isTouched = walk.since !== undefined && upper.ctimeNs >= walk.since - tick
  if (upper.isDirectory() && isKept && (isTouched || walk.since === undefined)) walk.directories.push(path)
  if (isOpaque) walk.changes.set(...opaque(path))
  if (lower === undefined) {
    walk.changes.set(path, { path, kind: "added", sameContent: walk.lower === undefined, ...sizeOf(upper) })
  } else if (!isSame(walk, path, upper, lower)) {
    const sameContent = isKept && lower.size === upper.size && lower.mtimeNs === upper.mtimeNs
    walk.changes.set(path, { path, kind: "modified", sameContent, ...sizeOf(upper) })
  } else if (isTouched) {
    walk.suspects.push(path)
  }
}

const markDeleted = (walk: Walk, path: RawPath.RawPath, name: string): void => {
  if (isWhiteoutName(name)) {
    walk.lost.push({ path: RawPath.show(path), what: "the deletion of such a name cannot be in a layer" })
  } else {
    walk.changes.set(path, { path, kind: "deleted", sameContent: false })
  }
}

/** Kernel documentation, overlayfs: what is gone is a device 0/0. */
export const isDeletion = (upper: BigIntStats) => upper.isCharacterDevice() && upper.rdev === 0n

/** Costs what the upper directory holds, however much the lower one does. */
const lookOverlay = (walk: Walk, overlay: Overlay, { inLower, path }: Level, name: string): void => {
  const below = RawPath.join(path, name)
  const upper = statsOf(walk.upper, below)
  if (upper === undefined) return
  if (inLower && overlay.isUntouched?.(upper) === true) {
    if (upper.isDirectory()) enter(walk, below, inLower)
    return
  }
  if (!upper.isSocket() && !isWhiteoutName(name)) overlay.see?.(below, upper)
  const lower = inLower ? statsOf(walk.lower, below) : undefined
  const isGone = isDeletion(upper)
  if (!isGone && isVisible(walk, below, name, upper, lower)) compare(walk, below, upper, lower)
  else if (lower !== undefined && (isGone || lower.isSocket() !== upper.isSocket())) {
    // A file that became a socket is gone, too.
    markDeleted(walk, below, name)
    walk.isOther ||= !isGone
  } else walk.hidden.push(below)
}

const look = (walk: Walk, { gone, path }: Level, name: string): void => {
  const below = RawPath.join(path, name)
  const lower = gone.has(name) ? statsOf(walk.lower, below) : undefined
  const upper = statsOf(walk.upper, below)
  if (upper === undefined) return
  const isHidden = !isVisible(walk, below, name, upper, lower)
  // What is hidden in both is the same; a file that became a socket is gone.
  if (!isHidden || upper.isSocket() === lower?.isSocket()) gone.delete(name)
  if (!isHidden) compare(walk, below, upper, lower)
}

const lookAt = (walk: Walk, level: Level, name: string): void => {
  walk.names += 1
  if (walk.overlay === undefined) look(walk, level, name)
  else lookOverlay(walk, walk.overlay, level, name)
}

const leave = (walk: Walk, { gone, path }: Level): void => {
  walk.levels.pop()
  for (const name of gone) markDeleted(walk, RawPath.join(path, name), name)
}

const begin = ({ lower, overlay, since, upper }: Options): Walk => {
  const walk: Walk = {
    lower,
    upper,
    since,
    overlay,
    levels: [],
    changes: new Map(),
    suspects: [],
    directories: [],
    links: LinkGroups.make(),
    lost: [],
    hidden: [],
    isOther: false,
    names: 1
  }
  const [before, now] = [statsOf(walk.lower, ""), lstatSync(upper, { bigint: true })]
  overlay?.see?.("", now)
  if (before !== undefined) compare(walk, "", now, before)
  else enter(walk, "", false)
  return walk
}

/** Goes on for a while. Whether there is more to do. */
const goOn = (walk: Walk): boolean => {
  const started = performance.now()
  for (let count = 1, level = walk.levels.at(-1); level !== undefined; count++, level = walk.levels.at(-1)) {
    const name = level.names[level.next++]
    if (name === undefined) leave(walk, level)
    else lookAt(walk, level, name)
    if (count % 16 === 0 && performance.now() - started > slice) return true
  }
  return false
}

/**
 * Walks both, each directory right before what is in it. Calls are synchronous, as ten times as fast; every few
 * milliseconds other fibers run.
 */
export const compareTrees = (options: Options): Effect.Effect<TreeChanges, LayerError> =>
  Effect.gen(function* () {
    const walk = yield* attempt(() => begin(options), "files")
    while (yield* attempt(() => goOn(walk), "files")) yield* Effect.yieldNow
    return walk
  })
