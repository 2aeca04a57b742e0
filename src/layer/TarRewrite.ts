/**
 * Changes the headers of a tar stream on its way and lets everything else through as it is: contents are not copied,
 * not decoded, not held.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { LayerError } from "./LayerError.ts"
import * as TarHeader from "./TarHeader.ts"

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

/** Entries whose data is a part of the next entry's header. A global header (`g`) goes through as it is, as in Go. */
const prefixTypes = new Set(["x", "L", "K"])
/** Types that have no data, whatever their size field says (as Go's archive/tar, which containerd reads with). */
const headerOnlyTypes = new Set(["1", "2", "3", "4", "5", "6"])
/** Extended attributes are limited to 64 KiB each by Linux; this leaves room for a good many. */
const maxPrefix = 16 * 1024 * 1024

const emptyPax = new Uint8Array(TarHeader.blockSize)
const padding = (size: number) => (TarHeader.blockSize - (size % TarHeader.blockSize)) % TarHeader.blockSize

interface Prefix {
  readonly type: string
  readonly header: Uint8Array
  readonly data: Uint8Array
}

/** An empty value takes back what the record would say. */
const paxValue = (pax: ReadonlyArray<TarHeader.PaxRecord>, key: string): Uint8Array | undefined => {
  const value = TarHeader.pax(pax, key)
  return value?.length === 0 ? undefined : value
}

const pathOf = (header: Uint8Array, prefixes: ReadonlyArray<Prefix>, pax: ReadonlyArray<TarHeader.PaxRecord>) => {
  const gnu = prefixes.findLast((prefix) => prefix.type === "L")?.data
  const end = gnu?.indexOf(0) ?? -1
  return paxValue(pax, "path") ?? (end >= 0 ? gnu?.subarray(0, end) : gnu) ?? TarHeader.name(header)
}

const paxNumber = (pax: ReadonlyArray<TarHeader.PaxRecord>, key: string): number | undefined => {
  const value = paxValue(pax, key)
  if (value === undefined) return undefined
  const digits = new TextDecoder().decode(value)
  const number = /^\d+$/.test(digits) ? Number(digits) : Number.NaN
  if (Number.isSafeInteger(number)) return number
  throw new LayerError({ kind: "tar", message: `damaged pax header in the tar: the ${key} is "${digits}"` })
}

/** The records that say what the header has no room for, and nothing that it says itself. */
const recordsOf = ({ gid, mtime, pax, uid }: Edited): ReadonlyArray<TarHeader.PaxRecord> => [
  ...pax.filter(({ key }) => key !== "uid" && key !== "gid" && !(mtime !== undefined && timeKeys.has(key))),
  ...Object.entries({ uid, gid })
    .filter(([, id]) => id > TarHeader.maxHeaderId)
    .map(([key, id]) => ({ key, value: new TextEncoder().encode(String(id)) }))
]

const formatPrefix = (prefix: Prefix): Array<Uint8Array> => [
  prefix.header,
  prefix.data,
  emptyPax.subarray(0, padding(prefix.data.length))
]

/** The pax header of an entry whose records changed; an entry that had none gets a plain one. */
const paxPrefix = (edited: Edited, old: Prefix | undefined, header: Uint8Array): ReadonlyArray<Prefix> => {
  const records = recordsOf(edited)
  if (records.length === 0) return []
  const data = TarHeader.formatPax(records)
  const template = Uint8Array.from(old?.header ?? header)
  template[156] = "x".charCodeAt(0)
  return [{ type: "x", header: TarHeader.withNumbers(template, { ...times(edited), size: data.length }), data }]
}

const times = ({ mtime }: Edited) => (mtime === undefined ? {} : { mtime })

/** A state machine over chunks of any size; `push` gives what can go out now. */
const rewriter = (edit: Edit) => {
  let pending: Array<Uint8Array> = []
  let pendingSize = 0
  let state: "header" | "prefix" | "data" | "end" = "header"
  let want = TarHeader.blockSize
  let prefixes: Array<Prefix> = []
  let prefixHeader: Uint8Array = emptyPax

  const onEntry = (header: Uint8Array, out: Array<Uint8Array>) => {
    const type = TarHeader.typeFlag(header)
    const oldPax = prefixes.findLast((prefix) => prefix.type === "x")
    const pax = oldPax === undefined ? [] : TarHeader.parsePax(oldPax.data)
    const uid = paxNumber(pax, "uid") ?? TarHeader.uid(header)
    const gid = paxNumber(pax, "gid") ?? TarHeader.gid(header)
    const edited = edit({ path: pathOf(header, prefixes, pax), type, uid, gid, pax })
    const sameTime =
      edited.mtime === undefined ||
      (edited.mtime === TarHeader.mtime(header) && !pax.some(({ key }) => timeKeys.has(key)))
    if (edited.uid === uid && edited.gid === gid && edited.pax === pax && sameTime) {
      out.push(...prefixes.flatMap(formatPrefix), header)
    } else {
      const others = prefixes.filter((prefix) => prefix.type !== "x")
      out.push(...[...others, ...paxPrefix(edited, oldPax, header)].flatMap(formatPrefix))
      out.push(TarHeader.withNumbers(header, { uid: edited.uid, gid: edited.gid, ...times(edited) }))
    }
    prefixes = []
    const size = headerOnlyTypes.has(type) ? 0 : (paxNumber(pax, "size") ?? TarHeader.size(header))
    enter("data", size + padding(size))
  }

  const onHeader = (header: Uint8Array, out: Array<Uint8Array>) => {
    if (header.every((byte) => byte === 0)) {
      state = "end"
      out.push(header)
      return
    }
    TarHeader.verify(header)
    const type = TarHeader.typeFlag(header)
    if (type === "S") throw new LayerError({ kind: "tar", message: "GNU sparse entries are not allowed in a layer" })
    const size = TarHeader.size(header)
    if (type === "g") {
      out.push(...prefixes.flatMap(formatPrefix), header)
      prefixes = []
      return enter("data", size + padding(size))
    }
    if (!prefixTypes.has(type)) return onEntry(header, out)
    if (size > maxPrefix) throw new LayerError({ kind: "tar", message: `a tar header of ${size} bytes is too large` })
    prefixHeader = header
    enter("prefix", size + padding(size))
  }

  const onPrefix = (data: Uint8Array) => {
    const size = TarHeader.size(prefixHeader)
    prefixes.push({ type: TarHeader.typeFlag(prefixHeader), header: prefixHeader, data: data.subarray(0, size) })
    enter("header", TarHeader.blockSize)
  }

  const enter = (next: "header" | "prefix" | "data", bytes: number) => {
    state = next
    want = bytes
    if (next === "data" && bytes === 0) enter("header", TarHeader.blockSize)
  }

  /** Collects `want` bytes over chunk borders. */
  const collect = (chunk: Uint8Array): Uint8Array | undefined => {
    pending.push(chunk)
    pendingSize += chunk.length
    if (pendingSize < want) return undefined
    const whole = pending.length === 1 ? chunk : Buffer.concat(pending)
    pending = []
    pendingSize = 0
    return whole
  }

  const push = (chunk: Uint8Array): Array<Uint8Array> => {
    const out: Array<Uint8Array> = []
    let rest = chunk
    while (rest.length > 0) {
      if (state === "end") {
        out.push(rest)
        return out
      }
      const part = rest.subarray(0, want - pendingSize)
      rest = rest.subarray(part.length)
      if (state === "data") {
        out.push(part)
        enter("data", want - part.length)
        continue
      }
      const whole = collect(part)
      if (whole === undefined) break
      if (state === "header") onHeader(whole, out)
      else onPrefix(whole)
    }
    return out
  }

  const finish = () => {
    // Some writers leave out the two blocks of zeros at the end.
    const complete = state === "end" || (state === "header" && pendingSize === 0 && prefixes.length === 0)
    if (!complete) throw new LayerError({ kind: "tar", message: "the tar ends in the middle of an entry" })
  }
  return { push, finish }
}

const attempt = <A>(run: () => A) =>
  Effect.try({
    try: run,
    catch: (cause) =>
      cause instanceof LayerError ? cause : new LayerError({ kind: "tar", message: String(cause), cause })
  })

/** Rewrites the header of every entry. Fails with a `LayerError` when the tar is damaged or the edit refuses. */
export const rewrite =
  (edit: Edit) =>
  <E, R>(self: Stream.Stream<Uint8Array, E, R>): Stream.Stream<Uint8Array, E | LayerError, R> =>
    Stream.suspend(() => {
      const { finish, push } = rewriter(edit)
      return self.pipe(
        Stream.mapEffect((chunk) => attempt(() => push(chunk))),
        Stream.flattenIterable,
        Stream.concat(Stream.fromEffectDrain(attempt(finish)))
      )
    })
