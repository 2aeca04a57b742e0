/**
 * The 512-byte header block of a tar entry and the pax records that go before it (POSIX.1-2001, "pax Interchange
 * Format"; numbers also in GNU's base 256).
 *
 * Works on bytes: names and extended attributes need not be UTF-8, and what is not changed keeps its bytes.
 *
 * @since 0.1.0
 */
import { LayerError } from "./LayerError.ts"
import * as RawPath from "./RawPath.ts"

export const blockSize = 512

/** How many zeros are between contents of that size and the next header. */
export const paddingSize = (size: number): number => (blockSize - (size % blockSize)) % blockSize

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
const magicField: Field = { offset: 257, length: 6 }
const versionField: Field = { offset: 263, length: 2 }
const majorField: Field = { offset: 329, length: 8 }
const minorField: Field = { offset: 337, length: 8 }
const prefixField: Field = { offset: 345, length: 155 }

const text = new TextDecoder()
const bytesOf = new TextEncoder()
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

/** Four bytes at a time, in two sums of 16 bits, which have room for a block: twice as fast as one by one. */
const sumOf = (block: Uint8Array, at: number): number => {
  const view = new DataView(block.buffer, block.byteOffset + at, blockSize)
  let sums = 0
  for (let i = 0; i < blockSize; i += 4) {
    const word = view.getUint32(i, true)
    sums = (sums + (word & 0xff00ff) + ((word >>> 8) & 0xff00ff)) | 0
  }
  return (sums & 0xffff) + (sums >>> 16)
}

/** The field of the sum itself counts as spaces. */
const checksum = (block: Uint8Array, at: number): number => {
  const field = at + checksumField.offset
  let sum = sumOf(block, at)
  for (let i = field; i < field + checksumField.length; i++) sum += 0x20 - (block[i] ?? 0)
  return sum
}

/** Throws a LayerError when the block's checksum is wrong. */
export const verify = (block: Uint8Array): void => {
  if (number(block, checksumField) !== checksum(block, 0)) {
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
  const base = untilNul(slice(block, nameField))
  if (block[prefixField.offset] === 0 || RawPath.fromBytes(slice(block, magicField)) !== "ustar\0") return base
  return Buffer.concat([untilNul(slice(block, prefixField)), bytesOf.encode("/"), base])
}

/** The largest id that fits into the header; a larger one needs a pax record. */
export const maxHeaderId = 0o7777777
/** The largest size, and the latest time in seconds, that fit into the header. */
export const maxHeaderSize = 0o77777777777

/** Bit operations are several times as fast as divisions, but the shift knows 31 bits only. */
const setOctal = (block: Uint8Array, at: number, { length, offset }: Field, value: number) => {
  let rest = value
  const last = at + offset + length - 1
  for (let i = last - 1; i >= at + offset; i--) {
    block[i] = 0x30 | (rest & 7)
    rest = rest > 0x7fffffff ? Math.floor(rest / 8) : rest >> 3
  }
  block[last] = 0
}

const setChecksum = (block: Uint8Array, at: number): void => {
  setOctal(block, at, { offset: checksumField.offset, length: 7 }, checksum(block, at))
  block[at + checksumField.offset + 7] = 0x20
}

/** A copy of the block with other numbers and the checksum that belongs to them. */
export const withNumbers = (
  block: Uint8Array,
  numbers: { readonly uid?: number; readonly gid?: number; readonly size?: number; readonly mtime?: number }
): Uint8Array => {
  const copy = new Uint8Array(block)
  if (numbers.uid !== undefined) setOctal(copy, 0, uidField, Math.min(numbers.uid, maxHeaderId))
  if (numbers.gid !== undefined) setOctal(copy, 0, gidField, Math.min(numbers.gid, maxHeaderId))
  if (numbers.size !== undefined) setOctal(copy, 0, sizeField, numbers.size)
  if (numbers.mtime !== undefined) setOctal(copy, 0, mtimeField, numbers.mtime)
  setChecksum(copy, 0)
  return copy
}

/** What a header that we write ourselves says. Texts that are too long are cut: their pax records count. */
export interface Fields {
  /** A character for each byte, as `link`. */
  readonly name: string
  readonly type: string
  readonly link: string
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly size: number
  readonly mtime: number
  readonly major: number
  readonly minor: number
}

const setText = (block: Buffer, at: number, { length, offset }: Field, text: string) => {
  if (text !== "") block.write(text, at + offset, length, "latin1")
}

/**
 * Writes a POSIX header without names of users into the zeros at that place; numbers that do not fit are cut to the
 * largest: their pax records count.
 */
export const write = (block: Buffer, at: number, fields: Fields): void => {
  setText(block, at, nameField, fields.name)
  setText(block, at, linkField, fields.link)
  setText(block, at, magicField, "ustar\0")
  setText(block, at, versionField, "00")
  block[at + typeOffset] = fields.type.charCodeAt(0)
  setOctal(block, at, modeField, fields.mode)
  setOctal(block, at, majorField, fields.major)
  setOctal(block, at, minorField, fields.minor)
  setOctal(block, at, uidField, Math.min(fields.uid, maxHeaderId))
  setOctal(block, at, gidField, Math.min(fields.gid, maxHeaderId))
  setOctal(block, at, sizeField, Math.min(fields.size, maxHeaderSize))
  setOctal(block, at, mtimeField, Math.min(Math.max(fields.mtime, 0), maxHeaderSize))
  setChecksum(block, at)
}

/** Reads the records of a pax extended header: `length key=value\n`, where length counts the whole record. */
export const parsePax = (data: Uint8Array): ReadonlyArray<PaxRecord> => {
  const records: Array<PaxRecord> = []
  const text = RawPath.fromBytes(data)
  let offset = 0
  while (offset < data.length) {
    const space = text.indexOf(" ", offset)
    const digits = text.slice(offset, space)
    const length = /^\d+$/.test(digits) ? Number(digits) : 0
    const equals = text.indexOf("=", space)
    const end = offset + length
    if (space < 0 || equals < 0 || length === 0 || end > data.length || equals >= end || text[end - 1] !== "\n") {
      throw corrupt("damaged pax header in the tar")
    }
    records.push({ key: text.slice(space + 1, equals), value: data.subarray(equals + 1, end - 1) })
    offset = end
  }
  return records
}

/** A record as text; its length counts its own digits. */
export const paxText = (key: string, value: string): string => {
  const size = key.length + value.length + 3
  let length = size + 1
  while (String(length).length + size !== length) length = String(length).length + size
  return `${length} ${key}=${value}\n`
}

export const paxTexts = (records: ReadonlyArray<PaxRecord>): string =>
  records.map(({ key, value }) => paxText(key, RawPath.fromBytes(value))).join("")

export const formatPax = (records: ReadonlyArray<PaxRecord>): Uint8Array => Buffer.from(paxTexts(records), "latin1")

/** The value of the last record with that key. */
export const pax = (records: ReadonlyArray<PaxRecord>, key: string): Uint8Array | undefined =>
  records.findLast((record) => record.key === key)?.value
