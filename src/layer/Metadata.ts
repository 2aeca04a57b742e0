/**
 * What files should be, where the user who made them had not the right (umoci's rootless mode keeps the same in the
 * attribute `user.rootlesscontainers`). Stored beside the directory, and written back when a layer is made of it.
 *
 * @since 0.1.0
 */
import { lstatSync } from "node:fs"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { LayerError } from "./LayerError.ts"
import * as RawPath from "./RawPath.ts"
import type * as TarEntry from "./TarEntry.ts"

const Id = Schema.Natural

/** Of one path. What is absent is on the disk as it should be. */
export const Attributes = Schema.Struct({
  owner: Schema.optionalKey(Schema.Struct({ uid: Id, gid: Id })),
  /** `shown` is on the disk. Once that has been changed, the change counts. */
  mode: Schema.optionalKey(Schema.Struct({ real: Id, shown: Id })),
  /** On the disk there is an empty file in its place. */
  special: Schema.optionalKey(Schema.Struct({ type: Schema.Literals(["3", "4", "6"]), major: Id, minor: Id })),
  /** Names with their values in base 64. */
  xattrs: Schema.optionalKey(Schema.Array(Schema.Tuple([Schema.String, Schema.String])))
})
export type Attributes = typeof Attributes.Type

export interface Metadata {
  /** On the disk this owner stands for 0:0; absent when owners could be set. */
  readonly self?: { readonly uid: number; readonly gid: number }
  readonly paths: ReadonlyMap<RawPath.RawPath, Attributes>
  /** The files that these paths were when the directory was made; they may have other names since. */
  readonly files?: ReadonlyMap<Identity, RawPath.RawPath>
}

/** Of a file, whatever it is called: inodes are used again, so the time of its birth counts, too. */
type Identity = string

const identityOf = (root: Buffer, path: RawPath.RawPath): Identity => {
  const stats = lstatSync(RawPath.below(root, path), { bigint: true, throwIfNoEntry: false })
  return stats === undefined ? "" : `${stats.ino}:${stats.birthtimeNs}`
}

/** Notes which files the paths are in a directory that was just made. */
export const identify = (metadata: Metadata, directory: string): Metadata => {
  const root = Buffer.from(directory)
  return { ...metadata, files: new Map([...metadata.paths.keys()].map((path) => [identityOf(root, path), path])) }
}

export const empty: Metadata = { paths: new Map() }

export const isEmpty = ({ paths, self }: Metadata): boolean => self === undefined && paths.size === 0

const Json = Schema.fromJsonString(
  Schema.Struct({
    self: Schema.optionalKey(Schema.Struct({ uid: Id, gid: Id })),
    // Pairs and no record: any text can be a path, "__proto__" too.
    paths: Schema.Array(Schema.Tuple([Schema.String, Attributes])),
    files: Schema.optionalKey(Schema.Array(Schema.Tuple([Schema.String, Schema.String])))
  })
)

/** Text to store. Paths have a character for each byte. */
export const toJson = ({ files, paths, ...rest }: Metadata): string =>
  Schema.encodeSync(Json)({
    ...rest,
    paths: [...paths].toSorted(([a], [b]) => (a < b ? -1 : 1)),
    ...(files === undefined ? {} : { files: [...files] })
  })

export const fromJson = (text: string): Result.Result<Metadata, LayerError> =>
  Schema.decodeResult(Json)(text).pipe(
    Result.map(({ files, paths, ...rest }) => ({
      ...rest,
      paths: new Map(paths),
      ...(files === undefined ? {} : { files: new Map(files) })
    })),
    Result.mapError(
      (cause) =>
        new LayerError({ kind: "files", message: `the metadata of a directory is damaged: ${cause.message}`, cause })
    )
  )

const sameContentOnly = new Set(["security.capability"])

const restoreOwner = (entry: TarEntry.TarEntry, { self }: Metadata, owner: Attributes["owner"]) => {
  if (self === undefined || entry.uid !== self.uid || entry.gid !== self.gid) return {}
  return owner ?? { uid: 0, gid: 0 }
}

const restoreXattrs = (
  entry: TarEntry.TarEntry,
  xattrs: ReadonlyArray<readonly [string, string]>,
  sameContent: boolean
): ReadonlyArray<TarEntry.Xattr> => {
  const onDisk = new Set(entry.xattrs.map(({ name }) => name))
  const kept = xattrs
    // The kernel takes capabilities away from a file that is written to.
    .filter(([name]) => !onDisk.has(name) && (sameContent || !sameContentOnly.has(name)))
    .map(([name, value]) => ({ name, value: Buffer.from(value, "base64") }))
  return [...entry.xattrs, ...kept]
}

/** What is known of a file. */
interface Found {
  readonly attributes: Attributes
  /** The path that it had, if it is the file that they were noted of and not another one in its place. */
  readonly was: RawPath.RawPath | undefined
}

/** By the file itself, under whatever name it is now, else by its path. */
const find = ({ files, paths }: Metadata, root: string, path: RawPath.RawPath): Found => {
  if (files === undefined || paths.size === 0) return { attributes: paths.get(path) ?? {}, was: path }
  const was = files.get(identityOf(Buffer.from(root), path))
  return { attributes: paths.get(was ?? path) ?? {}, was }
}

export interface OnDisk {
  readonly root: string
  /** What `root` began as a copy of. */
  readonly lower: string | undefined
  /** Under that path the file holds what it held when the metadata were written. */
  readonly sameContent: boolean
}

/** By size and time, as the file may have another name now. */
const isUntouched = ({ lower, root }: OnDisk, was: RawPath.RawPath, path: RawPath.RawPath): boolean => {
  if (lower === undefined) return false
  const [before, now] = [RawPath.below(Buffer.from(lower), was), RawPath.below(Buffer.from(root), path)].map((full) =>
    lstatSync(full, { bigint: true, throwIfNoEntry: false })
  )
  return before !== undefined && now !== undefined && before.size === now.size && before.mtimeNs === now.mtimeNs
}

/**
 * An entry as it should be. What has been changed on the disk since then counts: another mode, another owner, another
 * file in its place, content in the place of a device.
 */
export const restore = (metadata: Metadata, entry: TarEntry.TarEntry, disk: OnDisk): TarEntry.TarEntry => {
  const { attributes, was } = find(metadata, disk.root, entry.path)
  const { mode, owner, special, xattrs = [] } = attributes
  const described = {
    ...entry,
    ...restoreOwner(entry, metadata, owner),
    mode: mode?.shown === entry.mode ? mode.real : entry.mode
  }
  // The rest of a hard link is with the name that it leads to.
  if (entry.type === "1") return described
  const sameContent = was !== undefined && (was === entry.path ? disk.sameContent : isUntouched(disk, was, entry.path))
  const restored = { ...described, xattrs: restoreXattrs(entry, xattrs, sameContent) }
  return special !== undefined && was !== undefined && entry.type === "0" && entry.size === 0
    ? { ...restored, ...special }
    : restored
}

const kinds = { "3": "a character device", "4": "a block device", "6": "a FIFO" }

const sayAttributes = ({ mode, owner, special, xattrs = [] }: Attributes): ReadonlyArray<string> => [
  ...(special === undefined ? [] : [`is ${kinds[special.type]}`]),
  ...(owner === undefined ? [] : [`belongs to ${owner.uid}:${owner.gid}`]),
  ...(mode === undefined ? [] : [`has the mode ${mode.real.toString(8)}`]),
  ...xattrs.map(([name]) => `has the extended attribute ${RawPath.show(name)}`)
]

/** For people: what the files are that could not be made so, in the order of their paths. */
export const describe = ({ paths }: Metadata): ReadonlyArray<{ readonly path: string; readonly what: string }> =>
  [...paths]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([path, attributes]) => sayAttributes(attributes).map((what) => ({ path: RawPath.show(path), what })))
