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

/** Directories that are in both. Only these can hide something. */
const sharedDirectories = (upper: Buffer, lower: Buffer): ReadonlyArray<RawPath.RawPath> => {
  const found: Array<RawPath.RawPath> = []
  const pending: Array<RawPath.RawPath> = [""]
  for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
    if (path !== "") found.push(path)
    for (const entry of entriesIn(RawPath.below(upper, path))) {
      if (!entry.isDirectory()) continue
      const below = RawPath.join(path, RawPath.fromBytes(entry.name))
      if (isDirectory(RawPath.below(lower, below))) pending.push(below)
    }
  }
  return found
}

/** Those that are marked as opaque. */
const opaqueDirectories = Effect.fnUntraced(function* ({ gnuTar, lower, upper, userxattr }: Options) {
  if (lower === undefined) return new Set<RawPath.RawPath>()
  const paths = yield* attempt(() => sharedDirectories(Buffer.from(upper), Buffer.from(lower)), "files")
  const opaque = new Set<RawPath.RawPath>()
  const kind = kindOf({ userxattr })
  const entries = DiffSource.fromGnuTar(gnuTar, { root: upper, paths, everyContent: false, report: () => undefined })
  yield* Stream.runForEach(entries, (events) =>
    Effect.sync(() => {
      for (const event of events) {
        if (event._tag !== "Entry") continue
        const isOpaque = event.entry.xattrs.some(({ name, value }) => kind(name) === "opaque" && value[0] === yes)
        if (isOpaque) opaque.add(event.entry.path)
      }
    })
  )
  return opaque
})

const yes = 0x79

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
  /** There is nothing in the copy that the layer does not say. */
  readonly isWhole: boolean
  /** The uncompressed layer, with the ids that the copy has. */
  readonly tar: Stream.Stream<Uint8Array, LayerError>
}

/** Costs what the copy holds. Fails with a `LayerError` of the kind `overlay` where only the kernel knows what it says. */
export const diff = Effect.fnUntraced(function* (options: Options) {
  const { gnuTar, idMap, judge, lower, report, since, upper } = options
  const overlay = { opaque: yield* opaqueDirectories(options), isSameOwner: isSameOwner(idMap) }
  const both: DirectoryDiff.Options = {
    ...{ lower, upper, overlay, judge, report, since },
    xattr: isAttribute(kindOf(options)),
    gnuTar: Option.some(gnuTar)
  }
  const { changes, names } = yield* DirectoryDiff.find(both)
  const isWhole = changes.length - overlay.opaque.size === names
  return { changes, isWhole, tar: DirectoryDiff.write(changes, both) } satisfies HostDiff
})
