/**
 * Tars for tests: a writer of every dialect that works on bytes, a reader that shares no code with the sources, and
 * generators of entries.
 */
import { Arbitrary, Effect, Schema, Stream } from "effect"
import * as TarStream from "tar-stream"
import type { IdMap, IdMapping } from "../../src/layer/IdMap.ts"
import type { LayerError } from "../../src/layer/LayerError.ts"
import * as TarRewrite from "../../src/layer/TarRewrite.ts"

export const bytes = (...parts: ReadonlyArray<string | Uint8Array | ReadonlyArray<number>>): Buffer =>
  Buffer.concat(parts.map((part) => (typeof part === "string" ? Buffer.from(part) : Uint8Array.from(part))))

/** How a writer says what a plain header cannot. `v7` is the header before there was a magic. */
export type Dialect = "v7" | "ustar" | "gnu" | "pax"

export interface Fields {
  readonly name?: string | Uint8Array
  readonly prefix?: string
  readonly type?: string
  readonly link?: string | Uint8Array
  readonly mode?: number
  readonly uid?: number
  readonly gid?: number
  readonly size?: number
  readonly mtime?: number
  readonly dialect?: Dialect
}

const octal = (value: number, length: number) => `${value.toString(8).padStart(length - 1, "0")}\0`

const number = (value: number, length: number): Uint8Array => {
  const text = octal(value, length)
  if (text.length <= length) return bytes(text)
  const base256 = Buffer.alloc(length)
  base256.writeBigUInt64BE(BigInt(value), length - 8)
  base256[0] = 0x80 | (base256[0] ?? 0)
  return base256
}

const magics = { v7: "", ustar: "ustar\x0000", gnu: "ustar  \0", pax: "ustar\x0000" }

/** The block with the checksum that belongs to it. */
export const sealed = (block: Uint8Array): Buffer => {
  const copy = Buffer.from(block)
  copy.fill(" ", 148, 156)
  const sum = copy.reduce((total, byte) => total + byte, 0)
  copy.set(bytes(`${sum.toString(8).padStart(6, "0")}\0 `), 148)
  return copy
}

/** One header block. */
export const header = (fields: Fields): Buffer => {
  const block = Buffer.alloc(512)
  block.set(bytes(fields.name ?? "file").subarray(0, 100), 0)
  block.set(number(fields.mode ?? 0o644, 8), 100)
  block.set(number(fields.uid ?? 0, 8), 108)
  block.set(number(fields.gid ?? 0, 8), 116)
  block.set(number(fields.size ?? 0, 12), 124)
  block.set(number(fields.mtime ?? 1_700_000_000, 12), 136)
  block.set(bytes(fields.type ?? "0"), 156)
  block.set(bytes(fields.link ?? "").subarray(0, 100), 157)
  block.set(bytes(magics[fields.dialect ?? "ustar"]), 257)
  block.set(bytes(fields.prefix ?? ""), 345)
  return sealed(block)
}

/** Data up to the next block border. */
export const padded = (data: Uint8Array): Buffer => bytes(data, Buffer.alloc((512 - (data.length % 512)) % 512))

export const file = (fields: Fields, data: string | Uint8Array = ""): Buffer =>
  bytes(header({ size: bytes(data).length, ...fields }), padded(bytes(data)))

export const paxRecord = (key: string | Uint8Array, value: string | Uint8Array): Buffer => {
  const rest = bytes(" ", key, "=", value, "\n")
  const digits = [1, 2, 3, 4, 5, 6, 7].find((count) => String(rest.length + count).length === count) ?? 0
  return bytes(String(rest.length + digits), rest)
}

/** An extended header; `g` for a global one. */
export const paxHeader = (records: Uint8Array, type: "x" | "g" = "x"): Buffer =>
  file({ name: "PaxHeaders/0", type, dialect: "pax" }, records)

export const gnuLong = (type: "L" | "K", text: string | Uint8Array): Buffer =>
  file({ name: "././@LongLink", type, dialect: "gnu" }, bytes(text, "\0"))

export const end = Buffer.alloc(1024)

/** An entry, whatever its form in the tar. */
export interface TarEntry {
  readonly path: Uint8Array
  /** As in the header: `0` to `6`. */
  readonly type: string
  readonly uid: number
  readonly gid: number
  readonly link: Uint8Array
  readonly content: Uint8Array
  readonly xattrs: ReadonlyArray<readonly [key: Uint8Array, value: Uint8Array]>
}

const xattrPrefix = "SCHILY.xattr."
export const capabilityKey = bytes(xattrPrefix, "security.capability")

const maxOctalId = 0o7777777
const isAscii = (text: Uint8Array) => text.every((byte) => byte < 128)

/** The entry in that dialect; extended attributes are pax records in each. */
export const encode = (entry: TarEntry, dialect: "ustar" | "gnu" | "pax"): Buffer => {
  const { content, gid, link, path, type, uid, xattrs } = entry
  const gnu = dialect === "gnu"
  const isLong = (text: Uint8Array) => text.length > 100
  const needsPax = (text: Uint8Array) => !gnu && (isLong(text) || (dialect === "pax" && !isAscii(text)))
  const records = bytes(
    needsPax(path) ? paxRecord("path", path) : "",
    needsPax(link) ? paxRecord("linkpath", link) : "",
    !gnu && uid > maxOctalId ? paxRecord("uid", String(uid)) : "",
    !gnu && gid > maxOctalId ? paxRecord("gid", String(gid)) : "",
    dialect === "pax" && content.length > 0 ? paxRecord("size", String(content.length)) : "",
    ...xattrs.map(([key, value]) => paxRecord(key, value))
  )
  const id = (value: number) => (gnu ? value : Math.min(value, maxOctalId))
  return bytes(
    gnu && isLong(link) ? gnuLong("K", link) : "",
    gnu && isLong(path) ? gnuLong("L", path) : "",
    records.length > 0 ? paxHeader(records) : "",
    file({ name: path, type, link, uid: id(uid), gid: id(gid), dialect }, content)
  )
}

/** An entry as the reader finds it. */
export interface Decoded {
  readonly path: string
  readonly type: string
  readonly uid: number
  readonly gid: number
  readonly link: string
  readonly content: string
  /** Records other than ids, as `key=value`. */
  readonly records: ReadonlyArray<string>
  /** The header without ids and checksum. */
  readonly rest: string
}

const untilNul = (data: Buffer) => {
  const at = data.indexOf(0)
  return at < 0 ? data : data.subarray(0, at)
}

const readNumber = (data: Buffer): number => {
  if ((data[0] ?? 0) < 128) return Number.parseInt(data.toString("latin1").replace(/\0.*/s, "").trim() || "0", 8)
  const copy = Buffer.from(data)
  copy[0] = (copy[0] ?? 0) & 0x7f
  return Number(`0x${copy.toString("hex")}`)
}

const readRecords = (data: Buffer): ReadonlyArray<readonly [key: string, value: Buffer]> => {
  const space = data.indexOf(" ")
  if (space < 0) return []
  const length = Number(data.subarray(0, space).toString())
  const equals = data.indexOf("=")
  const record = [data.subarray(space + 1, equals).toString("latin1"), data.subarray(equals + 1, length - 1)] as const
  return [record, ...readRecords(data.subarray(length))]
}

/** Reads a whole, sound tar up to its first block of zeros; texts are latin1, so that each byte is a character. */
export const decode = (tar: Uint8Array): ReadonlyArray<Decoded> => {
  const data = Buffer.from(tar)
  const entries: Array<Decoded> = []
  const extended = new Map<string, Buffer>()
  for (let offset = 0; offset < data.length; ) {
    const block = data.subarray(offset, offset + 512)
    if (block.every((byte) => byte === 0)) break
    const type = String.fromCharCode(block[156] ?? 0)
    const records = readRecords(extended.get("x") ?? Buffer.alloc(0))
    const record = (key: string) => records.findLast(([name]) => name === key)?.[1]
    const paxNumber = (key: string) => (record(key) === undefined ? undefined : Number(record(key)?.toString()))
    const size = /[1-6]/.test(type) ? 0 : (paxNumber("size") ?? readNumber(block.subarray(124, 136)))
    const content = data.subarray(offset + 512, offset + 512 + size)
    offset += 512 + Math.ceil(size / 512) * 512
    if (/[xLK]/.test(type)) {
      extended.set(type, content)
      continue
    }
    const gnuLink = extended.get("K")
    const gnuPath = extended.get("L")
    const rest = Buffer.from(block).fill(0, 108, 124).fill(0, 148, 156)
    entries.push({
      path: (record("path") ?? untilNul(gnuPath ?? block.subarray(0, 100))).toString("latin1"),
      type,
      uid: paxNumber("uid") ?? readNumber(block.subarray(108, 116)),
      gid: paxNumber("gid") ?? readNumber(block.subarray(116, 124)),
      link: (record("linkpath") ?? untilNul(gnuLink ?? block.subarray(157, 257))).toString("latin1"),
      content: content.toString("latin1"),
      records: records
        .filter(([key]) => key !== "uid" && key !== "gid")
        .map(([key, value]) => `${key}=${value.toString("latin1")}`),
      rest: rest.toString("latin1")
    })
    extended.clear()
  }
  return entries
}

/** What tar-stream makes of a tar. */
export const readByTarStream = (tar: Uint8Array) =>
  Effect.promise(async () => {
    const entries: Array<{ readonly header: TarStream.Header; readonly content: string }> = []
    const extract = TarStream.extract()
    extract.end(Buffer.from(tar))
    for await (const entry of extract) {
      const chunks: Array<Uint8Array> = []
      for await (const chunk of entry) if (chunk instanceof Uint8Array) chunks.push(chunk)
      const { byteOffset: _, ...header } = { byteOffset: 0, ...entry.header }
      entries.push({ header, content: Buffer.concat(chunks).toString("latin1") })
    }
    return entries
  })

/** What tar-stream writes. */
export const writeByTarStream = (
  entries: ReadonlyArray<readonly [header: Parameters<TarStream.Pack["entry"]>[0], content?: string]>
) =>
  Effect.promise(async () => {
    const pack = TarStream.pack()
    for (const [header, content] of entries) pack.entry(header, content ?? "")
    pack.finalize()
    const chunks: Array<Uint8Array> = []
    for await (const chunk of pack) if (chunk instanceof Uint8Array) chunks.push(chunk)
    return Buffer.concat(chunks)
  })

/** The bytes in chunks of those sizes, over and over; whole without any. */
export const chunked = (data: Uint8Array, sizes: ReadonlyArray<number> = []): ReadonlyArray<Uint8Array> => {
  const chunks: Array<Uint8Array> = []
  for (let offset = 0, i = 0; offset < data.length; i++) {
    const size = sizes[i % sizes.length] ?? data.length
    chunks.push(data.subarray(offset, offset + size))
    offset += size
  }
  return chunks
}

type Through = <E, R>(self: Stream.Stream<Uint8Array, E, R>) => Stream.Stream<Uint8Array, E | LayerError, R>

/** Sends bytes through a transformation and gives all that comes out. */
export const run = (transform: Through, data: Uint8Array, sizes?: ReadonlyArray<number>) =>
  Effect.map(Stream.mkUint8Array(Stream.fromIterable(chunked(data, sizes)).pipe(transform)), (out) => Buffer.from(out))

/** Changes nothing. */
export const identity: Through = TarRewrite.rewrite((entry) => entry)

const int = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))
const fraction = Schema.Union([
  Schema.Literals([0, 1]),
  Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 }))
])

const Blob = (maximum: number) => Schema.Struct({ length: int(0, maximum), seed: int(0, 0xffff) })
const fill = ({ length, seed }: { readonly length: number; readonly seed: number }) =>
  Uint8Array.from({ length }, (_, i) => Math.imul(seed, (i + 1) * 0x9e3779b1) >>> 13)

const pieces = { plain: "a", slash: "b/", accent: "ü", cjk: "日本", space: " ", line: "\n", binary: [0xff, 0x80, 0x01] }
const Text = Schema.Struct({
  pieces: Schema.Array(Schema.Literals(["plain", "slash", "accent", "cjk", "space", "line", "binary"])).check(
    Schema.isMaxLength(5)
  ),
  times: Schema.Union([Schema.Literal(1), int(1, 60)])
})
const text = ({ pieces: names, times }: typeof Text.Type) =>
  bytes(...Array.from({ length: times }, () => bytes(...names.map((name) => pieces[name]))))

const revision2 = [1, 0, 0, 2, 0x20, 4, 0, 0, 0xff, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0x80]
/** The same capabilities in both revisions of `capabilities(7)`; 3 names the root of a namespace. */
export const capabilities = {
  2: bytes(revision2),
  3: bytes([1, 0, 0, 3], revision2.slice(4), [0xa0, 0x86, 1, 0])
}

const Entry = Schema.Struct({
  dialect: Schema.Literals(["ustar", "gnu", "pax"]),
  name: Text,
  type: Schema.Literals(["0", "0", "0", "1", "2", "3", "4", "5", "6"]),
  uid: fraction,
  gid: fraction,
  link: Text,
  content: Blob(1600),
  xattrs: Schema.Array(Schema.Struct({ key: Text, value: Blob(60) })).check(Schema.isMaxLength(2)),
  capability: Schema.Literals([0, 2, 3])
})

const Segments = Schema.Array(Schema.Struct({ gap: int(0, 2 ** 28), size: int(1, 2 ** 30) })).check(
  Schema.isBetweenLength(1, 3)
)

/** The order in the container is not that of the host. */
const mappings = (segments: typeof Segments.Type): ReadonlyArray<IdMapping> => {
  let hostId = 0
  const onHost = segments.map(({ gap, size }) => {
    hostId += gap + size
    return { hostId: hostId - size, size }
  })
  let containerId = 0
  return onHost.toReversed().map((mapping) => {
    containerId += mapping.size
    return { ...mapping, containerId: containerId - mapping.size }
  })
}

/** A host id that the mappings have; 0 is their first, 1 their last. */
const pick = (all: ReadonlyArray<IdMapping>, at: number): number => {
  let index = Math.floor(at * (all.reduce((total, { size }) => total + size, 0) - 1))
  for (const { hostId, size } of all) {
    if (index < size) return hostId + index
    index -= size
  }
  return 0
}

const Archive = Schema.Struct({
  entries: Schema.Array(Entry).check(Schema.isMaxLength(6)),
  uids: Segments,
  gids: Segments,
  zeroBlocks: Schema.Literals([0, 1, 2, 20]),
  isGlobal: Schema.Boolean,
  chunks: Schema.Array(Schema.Union([Schema.Literals([1, 511, 512, 513]), int(1, 3000)])).check(Schema.isMaxLength(3))
})

const toEntry = (seed: typeof Entry.Type, ids: IdMap): TarEntry => ({
  path: bytes(text(seed.name), seed.type === "5" ? "d/" : "f"),
  type: seed.type,
  uid: pick(ids.uids, seed.uid),
  gid: pick(ids.gids, seed.gid),
  link: seed.type === "1" || seed.type === "2" ? bytes(text(seed.link), "l") : bytes(),
  content: seed.type === "0" ? fill(seed.content) : bytes(),
  xattrs: [
    ...seed.xattrs.map(({ key, value }) => [bytes(xattrPrefix, "user.", text(key), "k"), fill(value)] as const),
    ...(seed.capability === 0 ? [] : [[capabilityKey, capabilities[seed.capability]] as const])
  ]
})

/** A tar of any entries, with ids of the host that the map has, and a way to cut it into chunks. */
export const archive = Arbitrary.map(Arbitrary.schema(Archive), (seed) => {
  const ids: IdMap = { uids: mappings(seed.uids), gids: mappings(seed.gids) }
  const entries = seed.entries.map((entry) => toEntry(entry, ids))
  const tar = bytes(
    seed.isGlobal ? paxHeader(paxRecord("comment", "of all"), "g") : "",
    ...entries.map((entry, i) => encode(entry, seed.entries[i]?.dialect ?? "pax")),
    Buffer.alloc(512 * seed.zeroBlocks)
  )
  return { entries, ids, tar, chunks: seed.chunks }
})
