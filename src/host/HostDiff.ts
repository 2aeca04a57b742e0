/**
 * The layer of what a copy of an overlay's upper directory says.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Stream from "effect/Stream"
import * as CompareEntries from "../layer/CompareEntries.ts"
import type { Lost } from "../layer/Concession.ts"
import * as DiffSource from "../layer/DiffSource.ts"
import * as DirectoryDiff from "../layer/DirectoryDiff.ts"
import type { GnuTar } from "../layer/GnuTar.ts"
import * as IdMap from "../layer/IdMap.ts"
import * as LargeFiles from "../layer/LargeFiles.ts"
import { LayerError } from "../layer/LayerError.ts"
import type { Judge } from "../layer/Omit.ts"
import * as RawPath from "../layer/RawPath.ts"
import { attempt } from "../layer/TarReader.ts"
import { compareTrees, type Overlay, type Owner, type TreeChanges } from "../layer/TreeChanges.ts"

export interface Trees {
  /** A copy, which nobody changes. */
  readonly upper: string
  readonly lower: string | undefined
  /** Maps owners in `upper` to those in `lower`. */
  readonly idMap: IdMap.IdMap | undefined
  /** What is in both, and in `upper` only as it came from there. Default: unknown. */
  readonly isUntouched?: Overlay["isUntouched"]
  /** Hears of what is in `upper` while it is found. */
  readonly see?: Overlay["see"]
}

export interface Options extends Trees {
  /** The overlay's marks are in `user.overlay.*`, not in `trusted.overlay.*`. What is in the other one is the container's. */
  readonly userxattr: boolean
  readonly judge: Judge | undefined
  readonly gnuTar: GnuTar
  /** Runs GNU tar in `/`, with the content of each name of a file, to compare. Default: as a child process. */
  readonly inRoot?: DiffSource.Run | undefined
  /** Hears what does not get into the layer. */
  readonly report: (lost: Lost) => void
}

type Kind = (name: string) => string | undefined

/** What kind of mark that attribute is; `undefined` when it is none. */
const kindOf = ({ userxattr }: Pick<Options, "userxattr">): Kind => {
  const prefix = userxattr ? "user.overlay." : "trusted.overlay."
  return (name) => (name.startsWith(prefix) ? name.slice(prefix.length) : undefined)
}

/**
 * Kernel documentation, overlayfs: what the entry shows is not, or not all, at this place, or is a mark of an overlay
 * in the container, which has another name there.
 */
const isElsewhere = (kind: string) => /^(?:redirect|metacopy|whiteout|overlay\..*)$/.test(kind)

/** The marks of the overlay are not the container's. Throws for those that only the kernel can read. */
const isAttribute =
  (kindOf: Kind) =>
  (name: string): boolean => {
    const kind = kindOf(name)
    if (kind === undefined) return true
    if (isElsewhere(kind)) {
      throw new LayerError({ kind: "overlay", message: `the overlay has marks of the kind ${kind}` })
    }
    return false
  }

const yes = 0x79

const isOpaque = (seen: CompareEntries.Seen | undefined, kindOf: Kind) =>
  seen?.xattrs.some(({ name, value }) => kindOf(name) === "opaque" && value[0] === yes) === true

const within = (root: RawPath.RawPath, path: RawPath.RawPath) => (path === "" ? root : RawPath.join(root, path))

const belowRoot = (directory: string) => RawPath.split(RawPath.fromBytes(Buffer.from(directory))).join("/")

const isMapped = (mappings: ReadonlyArray<IdMap.IdMapping>, upper: bigint, lower: bigint) =>
  Option.contains(IdMap.toContainer(mappings, Number(upper)), Number(lower))

/** The lower directories have the ids of the host where their files were given to the namespace, else the container's. */
const isSameOwner =
  (idMap: IdMap.IdMap | undefined) =>
  (upper: Owner, lower: Owner): boolean =>
    (upper.uid === lower.uid && upper.gid === lower.gid) ||
    (idMap !== undefined && isMapped(idMap.uids, upper.uid, lower.uid) && isMapped(idMap.gids, upper.gid, lower.gid))

/** What GNU tar says of paths of both directories, in one run. */
const readBoth = Effect.fnUntraced(function* (
  { gnuTar, inRoot: run, lower, upper }: Options,
  paths: ReadonlyArray<RawPath.RawPath>
) {
  const roots = { upper: belowRoot(upper), lower: belowRoot(lower ?? "") }
  const both =
    lower === undefined ? [] : paths.flatMap((path) => Object.values(roots).map((root) => within(root, path)))
  const source = { root: "/", paths: both, everyContent: true, report: () => undefined, run }
  const seen = yield* CompareEntries.read(DiffSource.fromGnuTar(gnuTar, source))
  const seenIn = (root: RawPath.RawPath) => (path: RawPath.RawPath) => seen.get(within(root, path))
  return { lower: seenIn(roots.lower), upper: seenIn(roots.upper) }
})

/** Without the marks of the overlay. Throws for those that only the kernel can read. */
const unmarked = (seen: CompareEntries.Seen | undefined, isAttribute: (name: string) => boolean) =>
  seen && { ...seen, xattrs: seen.xattrs.filter(({ name }) => isAttribute(name)) }

/**
 * Reads no file, so that the upper directory may be the one that the copy is being made of. Nothing tells when a file was
 * copied up: all that is there may have been touched.
 */
export const compare = (
  { idMap, isUntouched, lower, see, upper }: Trees,
  opaque: Overlay["opaque"] = new Set()
): Effect.Effect<TreeChanges, LayerError> =>
  compareTrees({ lower, upper, since: 0n, overlay: { opaque, isSameOwner: isSameOwner(idMap), isUntouched, see } })

/** What somebody may have touched in the upper directory, each name after the directories that lead to it. */
export const touchedIn = ({ changes, directories, suspects }: TreeChanges): ReadonlyArray<RawPath.RawPath> => {
  const touched = new Set<RawPath.RawPath>()
  for (const path of [...changes.keys(), ...suspects, ...directories]) {
    for (let up: RawPath.RawPath | undefined = path; up !== undefined && !touched.has(up); up = RawPath.parent(up)) {
      touched.add(up)
    }
  }
  return [...touched].toSorted()
}

/** What an opaque directory hides is not its lower one; which ones are is known when they were compared. */
const find = Effect.fnUntraced(function* (options: Options, first: TreeChanges, both: DirectoryDiff.Options) {
  const { report } = options
  const kind = kindOf(options)
  const seen = yield* readBoth(options, [...new Set([...first.directories, ...DirectoryDiff.openOf(first)])])
  const opaque = new Set(first.directories.filter((path) => path !== "" && isOpaque(seen.upper(path), kind)))
  const found = opaque.size === 0 ? first : yield* compare(options, opaque)
  const differing = yield* attempt(() => {
    const pairOf = (path: RawPath.RawPath) =>
      [seen.lower(path), seen.upper(path)].map((one) => unmarked(one, isAttribute(kind)))
    for (const path of found.directories) {
      const [below, above] = pairOf(path)
      if (!opaque.has(path)) CompareEntries.removedXattrs(path, below, above).forEach(report)
    }
    return DirectoryDiff.openOf(found).filter((path) => {
      const [below, above] = pairOf(path)
      return !CompareEntries.isSame(below, above)
    })
  }, "files")
  return { ...(yield* DirectoryDiff.complete(both, found, differing)), opaque }
})

export interface HostDiff {
  readonly changes: DirectoryDiff.Changes
  /** What is in the upper directory and not in the layer; `undefined` when it is not known by name. */
  readonly unlisted: ReadonlyArray<RawPath.RawPath> | undefined
}

const toDirectories = (options: Options): DirectoryDiff.Options => {
  const { gnuTar, judge, lower, report, upper } = options
  return { lower, upper, judge, report, xattr: isAttribute(kindOf(options)), gnuTar: Option.some(gnuTar) }
}

/**
 * Costs what the upper directory holds. Fails with a `LayerError` of the kind `overlay` where only the kernel knows what it
 * says. `compared` is what {@link compare} has given, if that was done before.
 */
export const diff = Effect.fnUntraced(function* (options: Options, compared?: TreeChanges) {
  const first = compared ?? (yield* compare(options))
  const { changes, isOther, names, opaque, unlisted } = yield* find(options, first, toDirectories(options))
  const isKnown = !isOther && changes.length - opaque.size === names - unlisted.length
  return { changes, unlisted: isKnown ? unlisted : undefined } satisfies HostDiff
})

/** The uncompressed layer, with the ids that the upper directory has. `run`: GNU tar, there; by default a child process. */
export const write = (
  changes: DirectoryDiff.Changes,
  options: Options,
  run?: DiffSource.Run
): Stream.Stream<Uint8Array, LayerError> => DirectoryDiff.write(changes, { ...toDirectories(options), run })

/** Of what was read already, and may hold more than the changes. */
export const writeRead = (
  changes: DirectoryDiff.Changes,
  options: Options,
  read: DiffSource.Reading
): Stream.Stream<Uint8Array, LayerError> =>
  DirectoryDiff.write(changes, {
    ...toDirectories(options),
    run: () => read,
    isMore: true,
    largeFiles: LargeFiles.none
  })
