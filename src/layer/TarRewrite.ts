/**
 * Changes the headers of a tar stream on its way and lets everything else through as it is: contents are not copied,
 * not decoded, not held.
 *
 * @since 0.1.0
 */
import * as Stream from "effect/Stream"
import type { LayerError } from "./LayerError.ts"
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
}

/** What an edit may change. */
export interface Edited extends Pick<Entry, "uid" | "gid" | "pax"> {
  /** Whole seconds since 1970, in place of what the entry has. */
  readonly mtime?: number
}

/** An entry that an edit gives back as it was keeps its bytes. It may throw a {@link LayerError}. */
export type Edit = (entry: Entry) => Edited

/** One edit after the other. */
export const all =
  (edits: ReadonlyArray<Edit>): Edit =>
  (entry) => {
    let edited: Edited = entry
    for (const edit of edits) edited = { ...edited, ...edit({ ...entry, ...edited }) }
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
  return [{ type: "x", header: TarHeader.withNumbers(template, { ...times(edited), size: data.length }), data }]
}

const times = ({ mtime }: Edited) => (mtime === undefined ? {} : { mtime })

/** The header as the edit wants it, with what goes before it. */
const editHeader = (edit: Edit, header: TarReader.Header): ReadonlyArray<Uint8Array> => {
  const { block, gid, pax, prefixes, uid } = header
  const edited = edit(header)
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

/** Rewrites the header of every entry. Fails with a `LayerError` when the tar is damaged or the edit refuses. */
export const rewrite =
  (edit: Edit) =>
  <E, R>(self: Stream.Stream<Uint8Array, E, R>): Stream.Stream<Uint8Array, E | LayerError, R> =>
    Stream.suspend(() => {
      const reader = TarReader.make()
      const rewritten = (chunk: Uint8Array) =>
        reader.push(chunk).flatMap((event) => (event._tag === "Entry" ? editHeader(edit, event.header) : [event.bytes]))
      return self.pipe(
        Stream.mapEffect((chunk) => TarReader.attempt(() => rewritten(chunk))),
        Stream.flattenIterable,
        Stream.concat(Stream.fromEffectDrain(TarReader.attempt(reader.finish)))
      )
    })
