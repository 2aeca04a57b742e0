/**
 * An entry of a layer as a value: what its header, its pax records and the long names of GNU say together.
 *
 * To read is to decide: two programs may take the same odd header for two different names. So whatever is given on to
 * another program is written anew from the value, in one plain form that all read alike.
 *
 * @since 0.1.0
 */
import { LayerError } from "./LayerError.ts"
import * as RawPath from "./RawPath.ts"
import * as TarHeader from "./TarHeader.ts"
import * as TarReader from "./TarReader.ts"

/** `0` file, `1` hard link, `2` symlink, `3` character device, `4` block device, `5` directory, `6` FIFO. */
export type Type = "0" | "1" | "2" | "3" | "4" | "5" | "6"

export interface Xattr {
  /** With its namespace, a character for each byte. */
  readonly name: string
  readonly value: Uint8Array
}

export interface TarEntry {
  /** As the archive has it: not cleaned, not checked. */
  readonly path: RawPath.RawPath
  readonly type: Type
  readonly mode: number
  readonly uid: number
  readonly gid: number
  /** Bytes of content; 0 for all but files. */
  readonly size: number
  /** Nanoseconds since 1970. */
  readonly mtime: bigint
  /** Of a symlink, and of a hard link the name of the other entry. */
  readonly link: RawPath.RawPath
  /** Of a device. */
  readonly major: number
  readonly minor: number
  readonly xattrs: ReadonlyArray<Xattr>
}

const xattrPrefix = "SCHILY.xattr."
const second = 1_000_000_000n

const corrupt = (message: string) => new LayerError({ kind: "tar", message })

const types = new Map<string, Type>([["\0", "0"], ...(["0", "1", "2", "3", "4", "5", "6"] as const).map(same)])
function same(type: Type): [string, Type] {
  return [type, type]
}

/** Before there was a type for them, directories were told by their last character (as Go reads it). */
const typeOf = (header: TarReader.Header): Type => {
  if (header.type === "\0" && header.path.at(-1) === 0x2f) return "5"
  const type = types.get(header.type)
  if (type !== undefined) return type
  const path = RawPath.quote(RawPath.fromBytes(header.path))
  throw corrupt(`${path} has the tar type ${JSON.stringify(header.type)}, which a layer cannot hold`)
}

/** `seconds.fraction`, also before 1970. Digits after the ninth are cut off. */
const parseTime = (text: string): bigint => {
  const [, sign, seconds = "", fraction = ""] = /^(-?)(\d{1,20})(?:\.(\d*))?$/.exec(text) ?? []
  if (seconds === "") throw corrupt(`damaged pax header in the tar: the mtime is ${JSON.stringify(text)}`)
  const nanos = BigInt(seconds) * second + BigInt(fraction.slice(0, 9).padEnd(9, "0"))
  return sign === "-" ? -nanos : nanos
}

/** containerd takes a time that does not fit into 64 bits of nanoseconds for none. */
export const bounded = (nanos: bigint): bigint => (BigInt.asIntN(64, nanos) === nanos ? nanos : 0n)

/** Nanoseconds since 1970. */
export const mtimeOf = ({ block, pax }: Pick<TarReader.Header, "block" | "pax">): bigint => {
  const record = TarReader.paxValue(pax, "mtime")
  const nanos = record === undefined ? BigInt(TarHeader.mtime(block)) * second : parseTime(RawPath.fromBytes(record))
  return bounded(nanos)
}

const linkOf = ({ block, pax, prefixes }: TarReader.Header): Uint8Array =>
  TarReader.paxValue(pax, "linkpath") ?? TarReader.gnuText(prefixes, "K") ?? TarHeader.link(block)

const xattrsOf = (pax: ReadonlyArray<TarHeader.PaxRecord>): ReadonlyArray<Xattr> => {
  if (pax.length === 0) return []
  const values = new Map<string, Uint8Array>()
  for (const { key, value } of pax) {
    if (key.startsWith(xattrPrefix)) values.set(key.slice(xattrPrefix.length), value)
  }
  return [...values].map(([name, value]) => ({ name, value }))
}

/** One name twice is read one way by Go and another way by GNU tar. */
const refuseTwoNames = ({ pax, prefixes }: TarReader.Header, path: RawPath.RawPath) => {
  const has = (gnu: "L" | "K", key: string) =>
    prefixes.some(({ type }) => type === gnu) && TarReader.paxValue(pax, key) !== undefined
  if (prefixes.length > 1 && (has("L", "path") || has("K", "linkpath"))) {
    throw new LayerError({
      kind: "unsafe",
      message: `${RawPath.quote(path)} has two names: one of pax, one of GNU tar`
    })
  }
}

/** Throws a `LayerError` for what no layer may hold: sparse files of GNU, types that nobody knows, damaged numbers. */
export const decode = (header: TarReader.Header): TarEntry => {
  const { block, gid, pax, size, uid } = header
  const path = RawPath.fromBytes(header.path)
  refuseTwoNames(header, path)
  if (pax.some(({ key }) => key.startsWith("GNU.sparse."))) {
    throw corrupt(`${RawPath.quote(path)} is a sparse entry of GNU tar, which is not allowed in a layer`)
  }
  const type = typeOf(header)
  if (type !== "0" && size > 0) throw corrupt(`${RawPath.quote(path)} is a directory with ${size} bytes of content`)
  const isDevice = type === "3" || type === "4"
  return {
    path,
    type,
    mode: TarHeader.mode(block),
    uid,
    gid,
    size,
    mtime: mtimeOf(header),
    link: type === "1" || type === "2" ? RawPath.fromBytes(linkOf(header)) : "",
    major: isDevice ? TarHeader.major(block) : 0,
    minor: isDevice ? TarHeader.minor(block) : 0,
    xattrs: xattrsOf(pax)
  }
}

const ascii = (text: string) => Buffer.from(text, "latin1")
const isPlain = (bytes: Uint8Array) => bytes.length <= 100 && bytes.every((byte) => byte < 0x80)

const formatTime = (nanos: bigint): string => {
  const absolute = nanos < 0n ? -nanos : nanos
  const fraction = String(absolute % second)
    .padStart(9, "0")
    .replace(/0+$/, "")
  return `${nanos < 0n ? "-" : ""}${absolute / second}${fraction === "" ? "" : `.${fraction}`}`
}

const recordsOf = (entry: TarEntry, name: Uint8Array, link: Uint8Array): Array<TarHeader.PaxRecord> => {
  const records: Array<TarHeader.PaxRecord> = []
  const add = (needed: boolean, key: string, value: Uint8Array) => {
    if (needed) records.push({ key, value })
  }
  const { gid, mtime, size, uid, xattrs } = entry
  add(!isPlain(name), "path", name)
  add(!isPlain(link), "linkpath", link)
  add(size > TarHeader.maxHeaderSize, "size", ascii(String(size)))
  add(uid > TarHeader.maxHeaderId, "uid", ascii(String(uid)))
  add(gid > TarHeader.maxHeaderId, "gid", ascii(String(gid)))
  const fits = mtime >= 0n && mtime % second === 0n && mtime / second <= BigInt(TarHeader.maxHeaderSize)
  add(!fits, "mtime", ascii(formatTime(mtime)))
  // File systems list attributes in any order.
  const sorted = xattrs.length < 2 ? xattrs : xattrs.toSorted((a, b) => (a.name < b.name ? -1 : 1))
  for (const { name, value } of sorted) add(true, `${xattrPrefix}${name}`, value)
  return records
}

const nothing = new Uint8Array()
const paxFields = { name: ascii("PaxHeaders/entry"), type: "x", link: nothing, mode: 0o644, uid: 0, gid: 0 }

/** The block for a header, behind one for the records and the records themselves. */
const withRecords = (records: ReadonlyArray<TarHeader.PaxRecord>, mtime: number) => {
  if (records.length === 0) {
    const out = new Uint8Array(TarHeader.blockSize)
    return { out, block: out }
  }
  const data = TarHeader.formatPax(records)
  const before = TarHeader.blockSize + data.length + TarReader.padding(data.length).length
  const out = new Uint8Array(before + TarHeader.blockSize)
  TarHeader.write(out, { ...paxFields, size: data.length, mtime, major: 0, minor: 0 })
  out.set(data, TarHeader.blockSize)
  return { out, block: out.subarray(before) }
}

/**
 * The header of an entry, with pax records for what a plain one cannot say. The same entry gives the same bytes; no
 * names of users, no access times. `others` are records on top. What follows is the content, filled up with zeros to whole blocks.
 */
export const encode = (entry: TarEntry, others: ReadonlyArray<TarHeader.PaxRecord> = []): Uint8Array => {
  const { gid, major, minor, mode, mtime: nanos, path, size, type, uid } = entry
  const name = RawPath.toBytes(type === "5" ? `${path === "" ? "." : path}/` : path)
  const link = entry.link === "" ? nothing : RawPath.toBytes(entry.link)
  const mtime = Number(nanos / second - (nanos < 0n && nanos % second !== 0n ? 1n : 0n))
  const { block, out } = withRecords([...recordsOf(entry, name, link), ...others], mtime)
  TarHeader.write(block, { name, type, link, mode, uid, gid, size, mtime, major, minor })
  return out
}

/** Ends a tar. */
export const end: Uint8Array = new Uint8Array(2 * TarHeader.blockSize)
