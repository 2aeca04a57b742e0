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

const isXattr = ({ key }: TarHeader.PaxRecord) => key.startsWith(xattrPrefix)

const xattrsOf = (pax: ReadonlyArray<TarHeader.PaxRecord>): ReadonlyArray<Xattr> => {
  if (!pax.some(isXattr)) return []
  const values = new Map(pax.filter(isXattr).map(({ key, value }) => [key.slice(xattrPrefix.length), value]))
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

const isPlain = (text: string) => text.length <= 100 && !/[\x80-\xff]/.test(text)

const formatTime = (nanos: bigint): string => {
  const absolute = nanos < 0n ? -nanos : nanos
  const fraction = String(absolute % second)
    .padStart(9, "0")
    .replace(/0+$/, "")
  return `${nanos < 0n ? "-" : ""}${absolute / second}${fraction === "" ? "" : `.${fraction}`}`
}

/** What the header has no room for. */
const paxOf = (entry: TarEntry, name: string): string => {
  const { gid, link, mtime, size, uid, xattrs } = entry
  let pax = ""
  const add = (needed: boolean, key: string, value: string) => {
    if (needed) pax += TarHeader.paxText(key, value)
  }
  add(!isPlain(name), "path", name)
  add(!isPlain(link), "linkpath", link)
  add(size > TarHeader.maxHeaderSize, "size", String(size))
  add(uid > TarHeader.maxHeaderId, "uid", String(uid))
  add(gid > TarHeader.maxHeaderId, "gid", String(gid))
  const fits = mtime >= 0n && mtime % second === 0n && mtime / second <= BigInt(TarHeader.maxHeaderSize)
  if (!fits) add(true, "mtime", formatTime(mtime))
  // File systems list attributes in any order.
  const sorted = xattrs.length < 2 ? xattrs : xattrs.toSorted((a, b) => (a.name < b.name ? -1 : 1))
  for (const { name, value } of sorted) add(true, `${xattrPrefix}${name}`, RawPath.fromBytes(value))
  return pax
}

const paxFields = { name: "PaxHeaders/entry", type: "x", link: "", mode: 0o644, uid: 0, gid: 0, major: 0, minor: 0 }

/** Zeros that a header is to be written into. */
export interface Place {
  readonly buffer: Buffer
  readonly at: number
}

/**
 * The header of an entry, with pax records for what a plain one cannot say. The same entry gives the same bytes; no
 * names of users, no access times. `others` are records on top. What follows is the content, filled up with zeros to whole blocks.
 */
export const encodeInto = (
  placeFor: (size: number) => Place,
  entry: TarEntry,
  others: ReadonlyArray<TarHeader.PaxRecord> = []
): void => {
  const { gid, link, major, minor, mode, mtime: nanos, path, size, type, uid } = entry
  const name = type === "5" ? `${path === "" ? "." : path}/` : path
  const mtime = Number(nanos / second - (nanos < 0n && nanos % second !== 0n ? 1n : 0n))
  const pax = paxOf(entry, name) + TarHeader.paxTexts(others)
  const before = pax === "" ? 0 : TarHeader.blockSize + pax.length + TarHeader.paddingSize(pax.length)
  const { at, buffer } = placeFor(before + TarHeader.blockSize)
  if (pax !== "") {
    TarHeader.write(buffer, at, { ...paxFields, size: pax.length, mtime })
    buffer.write(pax, at + TarHeader.blockSize, "latin1")
  }
  TarHeader.write(buffer, at + before, { name, type, link, mode, uid, gid, size, mtime, major, minor })
}

/** As {@link encodeInto}, in memory of its own. */
export const encode = (entry: TarEntry): Uint8Array => {
  let out: Uint8Array = new Uint8Array()
  encodeInto((size) => {
    const buffer = Buffer.alloc(size)
    out = buffer
    return { buffer, at: 0 }
  }, entry)
  return out
}

/** Ends a tar. */
export const end: Uint8Array = new Uint8Array(2 * TarHeader.blockSize)
