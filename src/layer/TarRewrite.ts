/**
 * Changes the headers of a tar stream on its way and lets everything else through as it is: contents are not copied,
 * not decoded, not held.
 *
 * @since 0.1.0
 */
import * as Stream from "effect/Stream"
import type { LayerError } from "./LayerError.ts"
import type * as RawPath from "./RawPath.ts"
import * as TarEntry from "./TarEntry.ts"
import * as TarHeader from "./TarHeader.ts"
import * as TarReader from "./TarReader.ts"

/** What an edit sees of an entry. */
export interface Entry {
  /** The bytes of the name; not always UTF-8. */
  readonly path: Uint8Array
  /** `0` file, `1` hard link, `2` symlink, `3` and `4` devices, `5` directory, `6` FIFO. */
  readonly type: string
  readonly uid: number
  readonly gid: number
  readonly pax: ReadonlyArray<TarHeader.PaxRecord>
  readonly header: TarReader.Header
}

/** What an edit may change. */
export interface Edited extends Pick<Entry, "uid" | "gid" | "pax"> {
  /** Whole seconds since 1970, in place of what the entry has. */
  readonly mtime?: number
  /** Other names; such an entry is written anew. `below`: directories that go before it; their own entries follow. */
  readonly names?: {
    readonly path?: RawPath.RawPath
    readonly link?: RawPath.RawPath
    readonly below?: ReadonlyArray<RawPath.RawPath>
  }
}

/**
 * An entry that an edit gives back as it was keeps its bytes; `undefined` leaves it out, content included. It may throw
 * a {@link LayerError}.
 */
export type Edit = (entry: Entry) => Edited | undefined

/** One edit after the other. */
export const all =
  (edits: ReadonlyArray<Edit>): Edit =>
  (entry) => {
    let edited: Edited = entry
    for (const edit of edits) {
      const next = edit({ ...entry, ...edited })
      if (next === undefined) return undefined
      edited = { ...edited, ...next }
    }
    return edited
  }

const timeKeys = new Set(["mtime", "atime", "ctime"])

/** The records that say what the header has no room for, and nothing that it says itself. */
const recordsOf = ({ gid, mtime, pax, uid }: Edited): ReadonlyArray<TarHeader.PaxRecord> => [
  ...pax.filter(({ key }) => key !== "uid" && key !== "gid" && !(mtime !== undefined && timeKeys.has(key))),
  ...Object.entries({ uid, gid })
    .filter(([, id]) => id > TarHeader.maxHeaderId)
    .map(([key, id]) => ({ key, value: new TextEncoder().encode(String(id)) }))
]

/** The pax header of an entry whose records changed; an entry that had none gets a plain one. */
const paxPrefix = (
  edited: Edited,
  old: TarReader.Prefix | undefined,
  header: Uint8Array
): ReadonlyArray<TarReader.Prefix> => {
  const records = recordsOf(edited)
  if (records.length === 0) return []
  const data = TarHeader.formatPax(records)
  const template = Uint8Array.from(old?.header ?? header)
  template[156] = "x".charCodeAt(0)
  const newHeader = TarHeader.withNumbers(template, { ...times(edited), size: data.length })
  return [{ type: "x", header: newHeader, data, padding: TarReader.padding(data.length) }]
}

const times = ({ mtime }: Edited) => (mtime === undefined ? {} : { mtime })

const renamed = (header: TarReader.Header, { gid, mtime, names, pax, uid }: Edited): ReadonlyArray<Uint8Array> => {
  const entry = TarEntry.decode({ ...header, pax })
  const time = mtime === undefined ? {} : { mtime: BigInt(mtime) * 1_000_000_000n }
  const { below = [], ...others } = names ?? {}
  const directory = { ...entry, ...time, type: "5", mode: 0o755, uid, gid, size: 0, link: "", xattrs: [] } as const
  return [
    ...below.map((path) => TarEntry.encode({ ...directory, path })),
    TarEntry.encode({ ...entry, ...time, ...others, uid, gid })
  ]
}

/** The header as the edit wants it, with what goes before it; `undefined` for an entry that is left out. */
const editHeader = (edit: Edit, header: TarReader.Header): ReadonlyArray<Uint8Array> | undefined => {
  const { block, gid, path, pax, prefixes, type, uid } = header
  const edited = edit({ path, type, uid, gid, pax, header })
  if (edited === undefined) return undefined
  if (edited.names !== undefined) return renamed(header, edited)
  const sameTime =
    edited.mtime === undefined || (edited.mtime === TarHeader.mtime(block) && !pax.some(({ key }) => timeKeys.has(key)))
  if (edited.uid === uid && edited.gid === gid && edited.pax === pax && sameTime) {
    return [...prefixes.flatMap(TarReader.formatPrefix), block]
  }
  const old = prefixes.findLast((prefix) => prefix.type === "x")
  const others = prefixes.filter((prefix) => prefix.type !== "x")
  return [
    ...[...others, ...paxPrefix(edited, old, block)].flatMap(TarReader.formatPrefix),
    TarHeader.withNumbers(block, { uid: edited.uid, gid: edited.gid, ...times(edited) })
  ]
}

/** What goes out for what comes in. */
const rewriter = (edit: Edit) => {
  let leftOut = false
  return (event: TarReader.Event): ReadonlyArray<Uint8Array> => {
    if (event._tag === "Entry") {
      const out = editHeader(edit, event.header)
      leftOut = out === undefined
      return out ?? []
    }
    return leftOut && event._tag !== "Rest" ? [] : [event.bytes]
  }
}

/** Rewrites the header of every entry. Fails with a `LayerError` when the tar is damaged or the edit refuses. */
export const rewrite =
  (edit: Edit) =>
  <E, R>(self: Stream.Stream<Uint8Array, E, R>): Stream.Stream<Uint8Array, E | LayerError, R> =>
    Stream.suspend(() => {
      const reader = TarReader.make()
      const rewritten = rewriter(edit)
      return self.pipe(
        Stream.mapEffect((chunk) => TarReader.attempt(() => reader.push(chunk).flatMap(rewritten))),
        Stream.flattenIterable,
        Stream.concat(Stream.fromEffectDrain(TarReader.attempt(reader.finish)))
      )
    })
