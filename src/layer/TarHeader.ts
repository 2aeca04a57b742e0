/**
 * The 512-byte header block of a tar entry and the pax records that go before it (POSIX.1-2001, "pax Interchange
 * Format"; numbers also in GNU's base 256).
 *
 * Works on bytes: names and extended attributes need not be UTF-8, and what is not changed keeps its bytes.
 *
 * @since 0.1.0
 */
import { LayerError } from "./LayerError.ts"

export const blockSize = 512

/** A pax record; of records with the same key the last one counts. */
export interface PaxRecord {
  /** A character for each byte, for names of extended attributes need not be UTF-8. */
  readonly key: string
  readonly value: Uint8Array
}

interface Field {
  readonly offset: number
  readonly length: number
}
const nameField: Field = { offset: 0, length: 100 }
const modeField: Field = { offset: 100, length: 8 }
const uidField: Field = { offset: 108, length: 8 }
const gidField: Field = { offset: 116, length: 8 }
const sizeField: Field = { offset: 124, length: 12 }
const mtimeField: Field = { offset: 136, length: 12 }
const checksumField: Field = { offset: 148, length: 8 }
const typeOffset = 156
const linkField: Field = { offset: 157, length: 100 }
const majorField: Field = { offset: 329, length: 8 }
const minorField: Field = { offset: 337, length: 8 }
const prefixField: Field = { offset: 345, length: 155 }

const text = new TextDecoder()
const bytesOf = new TextEncoder()
const latin1 = (bytes: Uint8Array) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1")
const corrupt = (message: string) => new LayerError({ kind: "tar", message })

const slice = (block: Uint8Array, field: Field) => block.subarray(field.offset, field.offset + field.length)
const untilNul = (bytes: Uint8Array) => {
  const end = bytes.indexOf(0)
  return end < 0 ? bytes : bytes.subarray(0, end)
}

/** Undefined for what is not plain digits up to a NUL or the end: almost all are, and there are a dozen in each entry. */
const plainOctal = (block: Uint8Array, { length, offset }: Field): number | undefined => {
  let value = 0
  for (let at = offset; at < offset + length; at++) {
    const digit = (block[at] ?? 0) - 0x30
    if (digit === -0x30) return value
    if (digit < 0 || digit > 7) return undefined
    value = value * 8 + digit
  }
  return value
}

const number = (block: Uint8Array, field: Field): number => plainOctal(block, field) ?? anyNumber(block, field)

const anyNumber = (block: Uint8Array, field: Field): number => {
  const raw = slice(block, field)
  const first = raw[0] ?? 0
  if ((first & 0x80) !== 0) {
    return raw.subarray(1).reduce((value, byte) => value * 256 + byte, first & 0x7f)
  }
  const digits = text.decode(untilNul(raw)).trim()
  if (digits === "") return 0
  if (!/^[0-7]+$/.test(digits)) throw corrupt(`damaged tar header: "${digits}" is no octal number`)
  return Number.parseInt(digits, 8)
}

const sumOf = (block: Uint8Array, from: number, to: number): number => {
  let sum = 0
  for (let i = from; i < to; i++) sum += block[i] ?? 0
  return sum
}

/** The field of the sum itself counts as spaces. */
const checksum = (block: Uint8Array): number => {
  const end = checksumField.offset + checksumField.length
  return sumOf(block, 0, checksumField.offset) + 0x20 * checksumField.length + sumOf(block, end, blockSize)
}

/** Throws a LayerError when the block's checksum is wrong. */
export const verify = (block: Uint8Array): void => {
  if (number(block, checksumField) !== checksum(block)) {
    throw corrupt("damaged tar header: the checksum is wrong")
  }
}

export const typeFlag = (block: Uint8Array): string => String.fromCharCode(block[typeOffset] ?? 0)
export const size = (block: Uint8Array): number => number(block, sizeField)
export const uid = (block: Uint8Array): number => number(block, uidField)
export const gid = (block: Uint8Array): number => number(block, gidField)

/** The permission bits, set-id bits and the sticky bit. */
export const mode = (block: Uint8Array): number => number(block, modeField) & 0o7777
/** Of a device. */
export const major = (block: Uint8Array): number => number(block, majorField)
export const minor = (block: Uint8Array): number => number(block, minorField)

/** Seconds since 1970, negative before (base 256 only); a pax `mtime` record goes before it. */
export const mtime = (block: Uint8Array): number => {
  const raw = slice(block, mtimeField)
  const isNegative = ((raw[0] ?? 0) & 0xc0) === 0xc0
  return isNegative ? -1 - raw.reduce((value, byte) => value * 256 + (byte ^ 0xff), 0) : number(block, mtimeField)
}

/** The target in the header alone; a pax `linkpath` record or a GNU long link goes before it. */
export const link = (block: Uint8Array): Uint8Array => untilNul(slice(block, linkField))

/** The name in the header alone; a pax `path` record or a GNU long name goes before it. */
export const name = (block: Uint8Array): Uint8Array => {
  const prefix = untilNul(slice(block, prefixField))
  const base = untilNul(slice(block, nameField))
  const isUstar = text.decode(block.subarray(257, 263)) === "ustar\0"
  return isUstar && prefix.length > 0 ? Buffer.concat([prefix, bytesOf.encode("/"), base]) : base
}

/** The largest id that fits into the header; a larger one needs a pax record. */
export const maxHeaderId = 0o7777777
/** The largest size, and the latest time in seconds, that fit into the header. */
export const maxHeaderSize = 0o77777777777

/** Bit operations are several times as fast as divisions, but the shift knows 31 bits only. */
const setOctal = (block: Uint8Array, { length, offset }: Field, value: number) => {
  let rest = value
  for (let at = offset + length - 2; at >= offset; at--) {
    block[at] = 0x30 | (rest & 7)
    rest = rest > 0x7fffffff ? Math.floor(rest / 8) : rest >> 3
  }
  block[offset + length - 1] = 0
}

const setChecksum = (block: Uint8Array): void => {
  setOctal(block, { offset: checksumField.offset, length: 7 }, checksum(block))
  block[checksumField.offset + 7] = 0x20
}

/** A copy of the block with other numbers and the checksum that belongs to them. */
export const withNumbers = (
  block: Uint8Array,
  numbers: { readonly uid?: number; readonly gid?: number; readonly size?: number; readonly mtime?: number }
): Uint8Array => {
  const copy = new Uint8Array(block)
  if (numbers.uid !== undefined) setOctal(copy, uidField, Math.min(numbers.uid, maxHeaderId))
  if (numbers.gid !== undefined) setOctal(copy, gidField, Math.min(numbers.gid, maxHeaderId))
  if (numbers.size !== undefined) setOctal(copy, sizeField, numbers.size)
  if (numbers.mtime !== undefined) setOctal(copy, mtimeField, numbers.mtime)
  setChecksum(copy)
  return copy
}

/** What a header that we write ourselves says. Texts that are too long are cut: their pax records count. */
export interface Fields {
  readonly name: Uint8Array
  readonly type: string
  readonly link: Uint8Array
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly size: number
  readonly mtime: number
  readonly major: number
  readonly minor: number
}

const ustar = bytesOf.encode("ustar\x0000")

/**
 * Writes a POSIX header without names of users into a block of zeros; numbers that do not fit are cut to the largest:
 * their pax records count.
 */
export const write = (block: Uint8Array, fields: Fields): void => {
  block.set(fields.name.subarray(0, nameField.length), nameField.offset)
  block.set(fields.link.subarray(0, linkField.length), linkField.offset)
  block[typeOffset] = fields.type.charCodeAt(0)
  block.set(ustar, 257)
  setOctal(block, modeField, fields.mode)
  setOctal(block, majorField, fields.major)
  setOctal(block, minorField, fields.minor)
  setOctal(block, uidField, Math.min(fields.uid, maxHeaderId))
  setOctal(block, gidField, Math.min(fields.gid, maxHeaderId))
  setOctal(block, sizeField, Math.min(fields.size, maxHeaderSize))
  setOctal(block, mtimeField, Math.min(Math.max(fields.mtime, 0), maxHeaderSize))
  setChecksum(block)
}

/** Reads the records of a pax extended header: `length key=value\n`, where length counts the whole record. */
export const parsePax = (data: Uint8Array): ReadonlyArray<PaxRecord> => {
  const records: Array<PaxRecord> = []
  let offset = 0
  while (offset < data.length) {
    const space = data.indexOf(0x20, offset)
    const digits = text.decode(data.subarray(offset, space))
    const length = /^\d+$/.test(digits) ? Number(digits) : 0
    const equals = data.indexOf(0x3d, space)
    const end = offset + length
    if (space < 0 || equals < 0 || length === 0 || end > data.length || equals >= end || data[end - 1] !== 0x0a) {
      throw corrupt("damaged pax header in the tar")
    }
    records.push({ key: latin1(data.subarray(space + 1, equals)), value: data.subarray(equals + 1, end - 1) })
    offset = end
  }
  return records
}

/** The length of a record counts its own digits. */
const lengthOf = ({ key, value }: PaxRecord): number => {
  const size = key.length + value.length + 3
  let length = size + 1
  while (String(length).length + size !== length) length = String(length).length + size
  return length
}

export const formatPax = (records: ReadonlyArray<PaxRecord>): Uint8Array => {
  const lengths = records.map(lengthOf)
  const out = Buffer.allocUnsafe(lengths.reduce((sum, length) => sum + length, 0))
  let at = 0
  for (const [i, { key, value }] of records.entries()) {
    at += out.write(`${lengths[i]} ${key}=`, at, "latin1")
    out.set(value, at)
    at += value.length
    out[at++] = 0x0a
  }
  return out
}

/** The value of the last record with that key. */
export const pax = (records: ReadonlyArray<PaxRecord>, key: string): Uint8Array | undefined =>
  records.findLast((record) => record.key === key)?.value
