/**
 * Makes a layer of what a directory has over another one of which it began as a copy.
 *
 * @since 0.1.0
 */
import { lstatSync, realpathSync, type Stats } from "node:fs"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as CompareEntries from "./CompareEntries.ts"
import type { Lost } from "./Concession.ts"
import * as DiffSource from "./DiffSource.ts"
import { fromBoth } from "./DiffWithBoth.ts"
import { fromNode } from "./DiffWithNode.ts"
import * as GnuTar from "./GnuTar.ts"
import * as LargeFiles from "./LargeFiles.ts"
import { LayerError } from "./LayerError.ts"
import * as LinkGroups from "./LinkGroups.ts"
import * as Metadata from "./Metadata.ts"
import { type Judge, type Judged, subject } from "./Omit.ts"
import * as RawPath from "./RawPath.ts"
import type * as TarEntry from "./TarEntry.ts"
import * as TarReader from "./TarReader.ts"
import * as TarRewrite from "./TarRewrite.ts"
import * as TarWriter from "./TarWriter.ts"
import * as TreeChanges from "./TreeChanges.ts"
import * as Whiteout from "./Whiteout.ts"

export interface Options {
  /** Left as it is. `undefined` when there is none: everything in `upper` is new. */
  readonly lower: string | undefined
  /** A copy of `lower` with its owners and times (`cp -a`), changed since. */
  readonly upper: string
  /**
   * When the copy was finished, by the clock of the file system, in nanoseconds since 1970. What was touched later is
   * read in both directories, if nothing else tells that it changed; so changes of extended attributes alone are found,
   * and of content under an old time. Default: size, time, mode and owner are trusted.
   */
  readonly since?: bigint | undefined
  /** Leaves out. A directory that is not changed itself goes with what was in it. */
  readonly judge?: Judge | undefined
  /** Which extended attributes count. Default: all. */
  readonly xattr?: DiffSource.Options["xattr"]
  /** Of `upper`, from its extraction: written back into the layer. */
  readonly metadata?: Metadata.Metadata | undefined
  /** Changes headers on their way: ids, times. */
  readonly edit?: TarRewrite.Edit | undefined
  /** Hears what does not get into the layer, such as sockets, and files that changed while they were read. */
  readonly report?: ((lost: Lost) => void) | undefined
  /** Runs GNU tar in `upper` for {@link write}. */
  readonly run?: DiffSource.Options["run"]
  /** What it gives may be more than was asked for, in the same order. */
  readonly isMore?: boolean | undefined
  /** Default: the one in the PATH. Without one, extended attributes are left out and reported. */
  readonly gnuTar?: Option.Option<GnuTar.GnuTar> | undefined
  /** Which files {@link write} reads without GNU tar, if they have no extended attributes. The bytes are the same. */
  readonly largeFiles?: LargeFiles.Limits | undefined
}

/** What a layer will say, in its order: by the bytes of the names, each directory before what is in it. */
export type Changes = ReadonlyArray<TreeChanges.Change>

export interface Found {
  readonly changes: Changes
  /** How many names `upper` has, its own one counted in. */
  readonly names: number
  /** Those of an overlay's upper directory that the layer does not say. */
  readonly unlisted: ReadonlyArray<RawPath.RawPath>
  /** It has something where the layer says that it is gone. */
  readonly isOther: boolean
}

const ignore = () => undefined

const tarOf = ({ gnuTar }: Options) => (gnuTar === undefined ? GnuTar.find : Effect.succeed(gnuTar))

/** The same paths in both, to compare them; what is lost in the layer is reported when that is written. */
const readBoth = Effect.fnUntraced(function* (options: Options, paths: ReadonlyArray<RawPath.RawPath>) {
  const { lower, upper, xattr } = options
  const nothing: CompareEntries.AllSeen = new Map()
  if (lower === undefined || paths.length === 0) return { lower: nothing, upper: nothing }
  const tar = yield* tarOf(options)
  const read = (root: string) => {
    const source = { root, paths, everyContent: true, report: ignore, xattr }
    return CompareEntries.read(Option.isSome(tar) ? DiffSource.fromGnuTar(tar.value, source) : fromNode(source))
  }
  return yield* Effect.all({ lower: read(lower), upper: read(upper) }, { concurrency: 2 })
})

/** Adds the directories that lead to each change. */
const withParents = (changes: Map<RawPath.RawPath, TreeChanges.Change>): void => {
  for (const path of [...changes.keys()]) {
    for (let up = RawPath.parent(path); up !== undefined && !changes.has(up); up = RawPath.parent(up)) {
      changes.set(up, { path: up, kind: "context", sameContent: true })
    }
  }
}

const inOrder = (changes: ReadonlyMap<RawPath.RawPath, TreeChanges.Change>): Changes =>
  [...changes.values()]
    .map((change) => [RawPath.sortKey(change.path), change] as const)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([, change]) => change)

const withFirstNames = (list: Changes, links: LinkGroups.LinkGroups): Changes => {
  if (links.upper.size === 0) return list
  const paths = list.map(({ path }) => path)
  const names = LinkGroups.firstNames(links, paths)
  return list.map((change): TreeChanges.Change => {
    const firstName = names.get(change.path)
    return firstName === undefined ? change : { ...change, firstName }
  })
}

const withRealPaths = (options: Options): Effect.Effect<Options, LayerError> =>
  TarReader.attempt(() => {
    const { lower, upper } = options
    return { ...options, lower: lower === undefined ? undefined : realpathSync(lower), upper: realpathSync(upper) }
  }, "files")

const typeOf = (stats: Stats): TarEntry.Type =>
  stats.isDirectory() ? "5" : stats.isSymbolicLink() ? "2" : stats.isFile() ? "0" : "3"

/** What a judge may ask of an entry; most verdicts follow from the path. */
class OnDisk implements Judged {
  readonly root: Buffer
  readonly path: RawPath.RawPath
  constructor(root: Buffer, path: RawPath.RawPath) {
    this.root = root
    this.path = path
  }
  get type() {
    return typeOf(this.stats)
  }
  get size() {
    return this.stats.size
  }
  private get stats() {
    return lstatSync(RawPath.below(this.root, this.path))
  }
}

const judged = (root: Buffer, { kind, path }: TreeChanges.Change): Judged =>
  kind === "deleted" ? { path: Whiteout.of(path), type: "0", size: 0 } : new OnDisk(root, path)

/** From the end: what is in a directory comes after it. */
const withoutOmitted = (list: Changes, { judge, upper }: Options): Changes => {
  if (judge === undefined) return list
  const root = Buffer.from(upper)
  const kept: Array<TreeChanges.Change> = []
  const needed = new Set<RawPath.RawPath>()
  for (const change of list.toReversed()) {
    const entry = judged(root, change)
    const isKept =
      needed.has(change.path) ||
      (judge(subject(entry.path), entry) === "keep" && !(change.kind === "context" && entry.type === "5"))
    if (!isKept) continue
    kept.push(change)
    const parent = RawPath.parent(change.path)
    if (parent !== undefined) needed.add(parent)
  }
  return kept.toReversed()
}

/** What a walk left open: it was touched, and only reading tells whether it has changed. */
export const openOf = (found: TreeChanges.TreeChanges): ReadonlyArray<RawPath.RawPath> => {
  withParents(found.changes)
  return found.suspects.filter((path) => !found.changes.has(path))
}

/** All that a layer has to say, once it is known which of those that were left open have changed. */
export const complete = (
  options: Options,
  found: TreeChanges.TreeChanges,
  differing: ReadonlyArray<RawPath.RawPath>
): Effect.Effect<Found, LayerError> =>
  TarReader.attempt(() => {
    const all = found.changes
    const { report = ignore } = options
    found.lost.forEach(report)
    for (const path of differing) all.set(path, { path, kind: "modified", sameContent: false })
    const isChanged = (path: RawPath.RawPath) => all.has(path)
    LinkGroups.complete(found.links, isChanged, (path) => all.set(path, { path, kind: "context", sameContent: true }))
    withParents(all)
    const list = withoutOmitted(inOrder(all), options)
    const listed = new Set(list.map(({ path }) => path))
    const others = [...found.suspects, ...found.hidden, ...(list.length === all.size ? [] : all.keys())]
    const unlisted = [...new Set(others.filter((path) => !listed.has(path)))]
    const changes = withFirstNames(list, found.links)
    return { changes, names: found.names, unlisted, isOther: found.isOther }
  }, "files")

/** {@link changes} of directories with real paths. */
export const find = Effect.fnUntraced(function* (options: Options) {
  const { lower, report = ignore, since, upper } = options
  const found = yield* TreeChanges.compareTrees({ lower, upper, since })
  const open = openOf(found)
  const contents = yield* readBoth(options, open)
  const differing = open.filter((path) => !CompareEntries.isSame(contents.lower.get(path), contents.upper.get(path)))
  const { changes } = yield* complete(options, found, differing)
  const directories = found.directories.filter((path) => found.changes.has(path))
  const attributes = yield* readBoth(options, directories)
  for (const path of directories) {
    CompareEntries.removedXattrs(path, attributes.lower.get(path), attributes.upper.get(path)).forEach(report)
  }
  return changes
})

/**
 * Finds what a layer has to say. Reads names and attributes of both directories, and contents only where something was
 * touched without a trace. Empty when nothing has changed.
 *
 * A directory counts as changed when its mode or its owner did, or when something in it did: then its time goes along.
 * Its time alone does not count, as in containerd. That an extended attribute of a directory is gone is reported, for a
 * layer has no word for it. Without GNU tar a change of extended attributes alone is not found.
 */
export const changes = (options: Options): Effect.Effect<Changes, LayerError> =>
  Effect.flatMap(withRealPaths(options), find)

const whiteout = (path: RawPath.RawPath): TarEntry.TarEntry => ({
  path: Whiteout.of(path),
  ...{ type: "0", mode: 0, uid: 0, gid: 0, size: 0, mtime: 0n, link: "", major: 0, minor: 0, xattrs: [] }
})

/** GNU tar makes hard links of files and symlinks only, and writes devices and FIFOs once for each name. */
const joined = (entry: TarEntry.TarEntry, { firstName }: TreeChanges.Change): TarEntry.TarEntry =>
  firstName === undefined || !["3", "4", "6"].includes(entry.type)
    ? entry
    : { ...entry, type: "1", link: firstName, major: 0, minor: 0, xattrs: [] }

/**
 * Those who unpack a hard link give the file to its owner once more, by which the kernel takes its capabilities away: so
 * each name says them, as in the layers of containerd and Docker.
 */
const withCapabilities = () => {
  const found = new Map<RawPath.RawPath, TarEntry.TarEntry["xattrs"]>()
  return (entry: TarEntry.TarEntry, { firstName = "" }: TreeChanges.Change): TarEntry.TarEntry => {
    if (entry.type === "1") return { ...entry, xattrs: found.get(firstName) ?? entry.xattrs }
    const capabilities = entry.xattrs.filter(({ name }) => name === "security.capability")
    if (capabilities.length > 0) found.set(entry.path, capabilities)
    return entry
  }
}

/** Puts what is read and what is gone together in their order. */
const merger = (
  list: Changes,
  { isMore = false, lower, metadata = Metadata.empty, report = ignore, upper: root }: Options
) => {
  const tar = TarWriter.make()
  const asked = isMore ? new Set(list.map(({ path }) => path)) : undefined
  let isAsked = true
  let next = 0
  const capable = withCapabilities()

  /** Whiteouts that come before a path, or before the end. */
  const upTo = (path: RawPath.RawPath | undefined): TreeChanges.Change | undefined => {
    for (let change = list[next]; change !== undefined; change = list[next]) {
      next += 1
      if (change.path === path) return change
      if (change.kind === "deleted") tar.entry(whiteout(change.path))
      else report({ path: RawPath.show(change.path), what: "it went away before it was read" })
    }
    return undefined
  }

  const onEvent = (event: DiffSource.Event) => {
    if (event._tag === "Entry") isAsked = asked?.has(event.entry.path) !== false
    if (!isAsked) return
    if (event._tag === "Data") tar.data(event.bytes)
    else onEntry(event.entry)
  }

  const onEntry = (entry: TarEntry.TarEntry) => {
    const change = upTo(entry.path)
    if (change === undefined) {
      throw new LayerError({ kind: "files", message: `${RawPath.quote(entry.path)} was not asked for` })
    }
    // What an overlay has in the place of what is gone.
    if (change.kind === "deleted") {
      tar.entry(whiteout(change.path))
      return
    }
    const { sameContent } = change
    const whole = joined(entry, change)
    const isPlain = metadata === Metadata.empty
    const restored = isPlain ? whole : Metadata.restore(metadata, whole, { root, lower, sameContent })
    tar.entry(capable(restored, change))
  }

  return {
    push: (events: ReadonlyArray<DiffSource.Event>): ReadonlyArray<Uint8Array> => {
      events.forEach(onEvent)
      return tar.take()
    },
    end: (): ReadonlyArray<Uint8Array> => {
      upTo(undefined)
      tar.end()
      return tar.take()
    }
  }
}

/**
 * Writes those changes of directories with real paths as an uncompressed layer (OCI image spec, layer.md). The same directories give the same bytes.
 *
 * Everything that is on the disk is in it: owners, modes, times to the nanosecond, hard links, symlinks, devices,
 * FIFOs, every extended attribute but SELinux labels, ACLs, names of any bytes. Sparse files are written in full, for a
 * layer knows no other way. What is gone is a whiteout at the place of its name, with the time 0, as in containerd 2.
 * Unlike containerd's, the layer names the root of the directory, too, as "./": its attributes can change.
 */
export const write = (list: Changes, options: Options): Stream.Stream<Uint8Array, LayerError> =>
  Stream.unwrap(
    Effect.gen(function* () {
      const { largeFiles = LargeFiles.usual, report = ignore, run, upper: root, xattr } = options
      const tar = yield* tarOf(options)
      const paths = list.filter(({ kind }) => kind !== "deleted").map(({ path }) => path)
      const { end, push } = merger(list, options)
      const source = { root, paths, everyContent: false, report, xattr, run }
      const entries = Option.isSome(tar)
        ? fromBoth(tar.value, source, LargeFiles.among(list, largeFiles))
        : fromNode(source)
      const layer = entries.pipe(
        Stream.mapEffect((events) => TarReader.attempt(() => push(events))),
        Stream.concat(Stream.fromEffect(TarReader.attempt(end))),
        Stream.flattenIterable
      )
      return options.edit === undefined ? layer : layer.pipe(TarRewrite.rewrite(options.edit))
    })
  )

/** A layer of what has changed: {@link changes} and {@link write} in one. */
export const diff = (options: Options): Stream.Stream<Uint8Array, LayerError> =>
  withRealPaths(options).pipe(
    Effect.flatMap((real) => Effect.map(find(real), (list) => write(list, real))),
    Stream.unwrap
  )
