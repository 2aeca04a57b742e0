/**
 * The layer of what a copy of an overlay's upper directory says.
 *
 * @since 0.1.0
 */
import { lstatSync, readdirSync } from "node:fs"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { Lost } from "../layer/Concession.ts"
import * as DiffSource from "../layer/DiffSource.ts"
import * as DirectoryDiff from "../layer/DirectoryDiff.ts"
import type { GnuTar } from "../layer/GnuTar.ts"
import * as IdMap from "../layer/IdMap.ts"
import { LayerError } from "../layer/LayerError.ts"
import type { Judge } from "../layer/Omit.ts"
import * as RawPath from "../layer/RawPath.ts"
import type { Xattr } from "../layer/TarEntry.ts"
import { attempt } from "../layer/TarReader.ts"
import { type Owner, unlessGone } from "../layer/TreeChanges.ts"

export interface Options {
  /** A copy, which nobody changes. */
  readonly upper: string
  readonly lower: string | undefined
  /** The overlay's marks are in `user.overlay.*`, not in `trusted.overlay.*`. What is in the other one is the container's. */
  readonly userxattr: boolean
  /** Maps owners in `upper` to those in `lower`. */
  readonly idMap: IdMap.IdMap | undefined
  readonly judge: Judge | undefined
  /** What was not touched later, by the clock of the file system, and has the same attributes, is the same: nanoseconds since 1970. */
  readonly since: bigint
  readonly gnuTar: GnuTar
  /** Runs GNU tar in `/` for attributes of directories. Default: as a child process. */
  readonly inRoot?: DiffSource.Run | undefined
  /** Runs GNU tar in `upper` for the layer. Default: as a child process. */
  readonly inUpper?: DiffSource.Run | undefined
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

const isDirectory = (path: Buffer) =>
  unlessGone(() => lstatSync(path, { throwIfNoEntry: false }), undefined)?.isDirectory() === true

const entriesIn = (directory: Buffer) =>
  unlessGone(() => readdirSync(directory, { withFileTypes: true, encoding: "buffer" }), [])

/** Directories that are in both. Only these can hide something, or lack an attribute. */
const sharedDirectories = (upper: Buffer, lower: Buffer): ReadonlyArray<RawPath.RawPath> => {
  const found: Array<RawPath.RawPath> = []
  const pending: Array<RawPath.RawPath> = [""]
  for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
    found.push(path)
    for (const entry of entriesIn(RawPath.below(upper, path))) {
      if (!entry.isDirectory()) continue
      const below = RawPath.join(path, RawPath.fromBytes(entry.name))
      if (isDirectory(RawPath.below(lower, below))) pending.push(below)
    }
  }
  return found
}

type Attributes = ReadonlyMap<RawPath.RawPath, ReadonlyArray<Xattr>>

const none: ReadonlyArray<Xattr> = []

const readAttributes = Effect.fnUntraced(function* (
  { gnuTar, inRoot: run }: Options,
  paths: ReadonlyArray<RawPath.RawPath>
) {
  const found = new Map<RawPath.RawPath, ReadonlyArray<Xattr>>()
  const options = { root: "/", paths, everyContent: true, report: () => undefined, run }
  yield* Stream.runForEach(DiffSource.fromGnuTar(gnuTar, options), (events) =>
    Effect.sync(() => {
      for (const event of events) if (event._tag === "Entry") found.set(event.entry.path, event.entry.xattrs)
    })
  )
  return found
})

const yes = 0x79
const isOpaqueMark =
  (kindOf: Kind) =>
  ({ name, value }: Xattr) =>
    kindOf(name) === "opaque" && value[0] === yes

/** A layer has no word for that. */
const removed = (lower: ReadonlyArray<Xattr>, upper: ReadonlyArray<Xattr>, kindOf: Kind): ReadonlyArray<string> => {
  const kept = new Set(upper.map(({ name }) => name))
  return lower.filter(({ name }) => kindOf(name) === undefined && !kept.has(name)).map(({ name }) => RawPath.show(name))
}

const belowRoot = (directory: string) => RawPath.split(RawPath.fromBytes(Buffer.from(directory))).join("/")

/** Those that are marked as opaque. Reports attributes that the others have lost. */
const opaqueDirectories = Effect.fnUntraced(function* (options: Options) {
  const { lower, report, upper } = options
  const opaque = new Set<RawPath.RawPath>()
  if (lower === undefined) return opaque
  const kind = kindOf(options)
  const isOpaque = isOpaqueMark(kind)
  const shared = yield* attempt(() => sharedDirectories(Buffer.from(upper), Buffer.from(lower)), "files")
  const [above, below] = [belowRoot(upper), belowRoot(lower)]
  const paths = shared.flatMap((path) => [RawPath.join(above, path), RawPath.join(below, path)])
  const attributes: Attributes = yield* readAttributes(options, paths)
  for (const path of shared) {
    const own = attributes.get(RawPath.join(above, path)) ?? none
    if (path !== "" && own.some(isOpaque)) {
      opaque.add(path)
      continue
    }
    for (const name of removed(attributes.get(RawPath.join(below, path)) ?? none, own, kind)) {
      const what = `the removal of the extended attribute ${name}: a layer cannot say that of a directory`
      report({ path: RawPath.show(path), what })
    }
  }
  return opaque
})

const isMapped = (mappings: ReadonlyArray<IdMap.IdMapping>, upper: bigint, lower: bigint) =>
  Option.contains(IdMap.toContainer(mappings, Number(upper)), Number(lower))

/** The lower directories have the ids of the host where their files were given to the namespace, else the container's. */
const isSameOwner =
  (idMap: IdMap.IdMap | undefined) =>
  (upper: Owner, lower: Owner): boolean =>
    (upper.uid === lower.uid && upper.gid === lower.gid) ||
    (idMap !== undefined && isMapped(idMap.uids, upper.uid, lower.uid) && isMapped(idMap.gids, upper.gid, lower.gid))

export interface HostDiff {
  readonly changes: DirectoryDiff.Changes
  /** What is in the copy and not in the layer; `undefined` when it is not known by name. */
  readonly unlisted: ReadonlyArray<RawPath.RawPath> | undefined
  /** The uncompressed layer, with the ids that the copy has. */
  readonly tar: Stream.Stream<Uint8Array, LayerError>
}

/** Costs what the copy holds. Fails with a `LayerError` of the kind `overlay` where only the kernel knows what it says. */
export const diff = Effect.fnUntraced(function* (options: Options) {
  const { gnuTar, idMap, judge, lower, report, since, upper } = options
  const overlay = { opaque: yield* opaqueDirectories(options), isSameOwner: isSameOwner(idMap) }
  const both: DirectoryDiff.Options = {
    ...{ lower, upper, overlay, judge, report, since },
    run: options.inUpper,
    xattr: isAttribute(kindOf(options)),
    gnuTar: Option.some(gnuTar)
  }
  const { changes, isOther, names, unlisted } = yield* DirectoryDiff.find(both)
  const isKnown = !isOther && changes.length - overlay.opaque.size === names - unlisted.length
  return {
    changes,
    unlisted: isKnown ? unlisted : undefined,
    tar: DirectoryDiff.write(changes, both)
  } satisfies HostDiff
})
