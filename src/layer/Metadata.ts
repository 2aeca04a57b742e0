/**
 * What files should be, where the user who made them had not the right (umoci's rootless mode keeps the same in the
 * attribute `user.rootlesscontainers`). Stored beside the directory, and written back when a layer is made of it.
 *
 * @since 0.1.0
 */
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
}

export const empty: Metadata = { paths: new Map() }

export const isEmpty = ({ paths, self }: Metadata): boolean => self === undefined && paths.size === 0

const Json = Schema.fromJsonString(
  Schema.Struct({
    self: Schema.optionalKey(Schema.Struct({ uid: Id, gid: Id })),
    // Pairs and no record: any text can be a path, "__proto__" too.
    paths: Schema.Array(Schema.Tuple([Schema.String, Attributes]))
  })
)

/** Text to store. Paths have a character for each byte. */
export const toJson = ({ paths, ...rest }: Metadata): string =>
  Schema.encodeSync(Json)({ ...rest, paths: [...paths].toSorted(([a], [b]) => (a < b ? -1 : 1)) })

export const fromJson = (text: string): Result.Result<Metadata, LayerError> =>
  Schema.decodeResult(Json)(text).pipe(
    Result.map(({ paths, ...rest }) => ({ ...rest, paths: new Map(paths) })),
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

/**
 * An entry as it should be. What has been changed on the disk since then counts: another mode, another owner, content
 * in the place of a device. `sameContent`: the file holds what it held when the metadata were written.
 */
export const restore = (metadata: Metadata, entry: TarEntry.TarEntry, sameContent: boolean): TarEntry.TarEntry => {
  const { mode, owner, special, xattrs = [] } = metadata.paths.get(entry.path) ?? {}
  const owned = { ...entry, ...restoreOwner(entry, metadata, owner) }
  // A hard link has no attributes of its own.
  if (entry.type === "1") return owned
  const restored = {
    ...owned,
    mode: mode?.shown === entry.mode ? mode.real : entry.mode,
    xattrs: restoreXattrs(entry, xattrs, sameContent)
  }
  return special !== undefined && entry.type === "0" && entry.size === 0 ? { ...restored, ...special } : restored
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
