/**
 * Takes a tar stream apart: headers with what goes before them, contents, and the rest. Nothing but one header is held.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { LayerError } from "./LayerError.ts"
import * as TarHeader from "./TarHeader.ts"

/** An entry whose data is a part of the header of the next one. */
export interface Prefix {
  /** `x` pax records, `L` a long name and `K` a long link name of GNU. */
  readonly type: string
  readonly header: Uint8Array
  readonly data: Uint8Array
  /** What fills up its last block: zeros, but whoever reads a tar passes over anything. */
  readonly padding: Uint8Array
}

export interface Header {
  readonly block: Uint8Array
  readonly prefixes: ReadonlyArray<Prefix>
  readonly pax: ReadonlyArray<TarHeader.PaxRecord>
  readonly path: Uint8Array
  readonly type: string
  readonly uid: number
  readonly gid: number
  /** Bytes of content that follow. */
  readonly size: number
}

export type Event =
  | { readonly _tag: "Entry"; readonly header: Header }
  /** A part of the content of the entry before it. */
  | { readonly _tag: "Data"; readonly bytes: Uint8Array }
  /** The zeros after the content. */
  | { readonly _tag: "Padding"; readonly bytes: Uint8Array }
  /** Global headers and the end. */
  | { readonly _tag: "Rest"; readonly bytes: Uint8Array }

/** A global header (`g`) is no prefix: it is passed on as it is and says nothing, as in Go. */
const prefixTypes = new Set(["x", "L", "K"])
/** Types that have no data, whatever their size field says (as Go's archive/tar, which containerd reads with). */
const headerOnlyTypes = new Set(["1", "2", "3", "4", "5", "6"])
/** Extended attributes are limited to 64 KiB each by Linux; this leaves room for a good many. */
const maxPrefix = 16 * 1024 * 1024

const zeros = new Uint8Array(TarHeader.blockSize)

/** The zeros between contents of that size and the next header. */
export const padding = (size: number): Uint8Array => zeros.subarray(0, TarHeader.paddingSize(size))

const corrupt = (message: string) => new LayerError({ kind: "tar", message })

/** An empty value takes back what the record would say. */
export const paxValue = (pax: ReadonlyArray<TarHeader.PaxRecord>, key: string): Uint8Array | undefined => {
  const value = TarHeader.pax(pax, key)
  return value?.length === 0 ? undefined : value
}

/** The text of a long name of GNU: up to its NUL. */
export const gnuText = (prefixes: ReadonlyArray<Prefix>, type: "L" | "K"): Uint8Array | undefined => {
  const data = prefixes.findLast((prefix) => prefix.type === type)?.data
  const end = data?.indexOf(0) ?? -1
  return end >= 0 ? data?.subarray(0, end) : data
}

const paxNumber = (pax: ReadonlyArray<TarHeader.PaxRecord>, key: string): number | undefined => {
  const value = paxValue(pax, key)
  if (value === undefined) return undefined
  const digits = new TextDecoder().decode(value)
  const number = /^\d+$/.test(digits) ? Number(digits) : Number.NaN
  if (Number.isSafeInteger(number)) return number
  throw corrupt(`damaged pax header in the tar: the ${key} is "${digits}"`)
}

const toHeader = (block: Uint8Array, prefixes: ReadonlyArray<Prefix>): Header => {
  const records = prefixes.findLast((prefix) => prefix.type === "x")
  const pax = records === undefined ? [] : TarHeader.parsePax(records.data)
  const type = TarHeader.typeFlag(block)
  return {
    block,
    prefixes,
    pax,
    path: paxValue(pax, "path") ?? gnuText(prefixes, "L") ?? TarHeader.name(block),
    type,
    uid: paxNumber(pax, "uid") ?? TarHeader.uid(block),
    gid: paxNumber(pax, "gid") ?? TarHeader.gid(block),
    size: headerOnlyTypes.has(type) ? 0 : (paxNumber(pax, "size") ?? TarHeader.size(block))
  }
}

/** The bytes that a prefix came from. */
export const formatPrefix = (prefix: Prefix): ReadonlyArray<Uint8Array> => [prefix.header, prefix.data, prefix.padding]

type State = "header" | "prefix" | "data" | "padding" | "rest" | "end" | "after"

/** What passes through in any pieces, and as what. */
const passing = { data: "Data", padding: "Padding", rest: "Rest", after: "Rest" } as const
const isPassing = (state: State): state is keyof typeof passing => state in passing

export interface Reader {
  /** What the next bytes hold, however they are cut. Throws a `LayerError` when the tar is damaged. */
  readonly push: (chunk: Uint8Array) => ReadonlyArray<Event>
  /** Throws when the tar ends in the middle of an entry. */
  readonly finish: () => void
}

/** A state machine over chunks of any size. */
export const make = (): Reader => {
  let pending: Array<Uint8Array> = []
  let pendingSize = 0
  let state: State = "header"
  let want = TarHeader.blockSize
  let afterData = 0
  let prefixes: Array<Prefix> = []
  let prefixHeader: Uint8Array = zeros

  const enter = (next: State, bytes: number) => {
    state = next
    want = bytes
    if (bytes > 0) return
    if (next === "data") enter("padding", afterData)
    else if (next === "padding" || next === "rest") enter("header", TarHeader.blockSize)
  }

  const enterData = (size: number) => {
    afterData = TarHeader.paddingSize(size)
    enter("data", size)
  }

  const onHeader = (block: Uint8Array, out: Array<Event>) => {
    if (block[0] === 0 && block.every((byte) => byte === 0)) {
      out.push({ _tag: "Rest", bytes: block })
      return enter("end", TarHeader.blockSize)
    }
    TarHeader.verify(block)
    const type = TarHeader.typeFlag(block)
    if (type === "S") throw corrupt("GNU sparse entries are not allowed in a layer")
    if (prefixTypes.has(type)) return onPrefixHeader(block)
    if (type === "g") {
      for (const bytes of [...prefixes.flatMap(formatPrefix), block]) out.push({ _tag: "Rest", bytes })
      const size = TarHeader.size(block)
      enter("rest", size + TarHeader.paddingSize(size))
    } else {
      const header = toHeader(block, prefixes)
      out.push({ _tag: "Entry", header })
      enterData(header.size)
    }
    prefixes = []
  }

  const onPrefixHeader = (block: Uint8Array) => {
    const size = TarHeader.size(block)
    if (size > maxPrefix) throw corrupt(`a tar header of ${size} bytes is too large`)
    prefixHeader = block
    enter("prefix", size + TarHeader.paddingSize(size))
  }

  const onPrefix = (data: Uint8Array) => {
    const size = TarHeader.size(prefixHeader)
    const type = TarHeader.typeFlag(prefixHeader)
    prefixes.push({ type, header: prefixHeader, data: data.subarray(0, size), padding: data.subarray(size) })
    enter("header", TarHeader.blockSize)
  }

  /** After a lone block of zeros nothing else may come; Go refuses it, too, and GNU tar would read on. */
  const onSecondEnd = (block: Uint8Array) => {
    if (block.some((byte) => byte !== 0)) throw corrupt("the tar goes on after the block of zeros that ends it")
    enter("after", Number.POSITIVE_INFINITY)
  }

  /** Collects `want` bytes over chunk borders. */
  const collect = (part: Uint8Array): Uint8Array | undefined => {
    pending.push(part)
    pendingSize += part.length
    if (pendingSize < want) return undefined
    const whole = pending.length === 1 ? part : Buffer.concat(pending)
    pending = []
    pendingSize = 0
    return whole
  }

  const take = (part: Uint8Array, out: Array<Event>) => {
    if (isPassing(state)) {
      if (part.length > 0) out.push({ _tag: passing[state], bytes: part })
      return enter(state, want - part.length)
    }
    if (state === "end") out.push({ _tag: "Rest", bytes: part })
    const whole = collect(part)
    if (whole === undefined) return
    if (state === "header") onHeader(whole, out)
    else if (state === "prefix") onPrefix(whole)
    else onSecondEnd(whole)
  }

  return {
    push: (chunk) => {
      const out: Array<Event> = []
      for (let at = 0; at < chunk.length; ) {
        const part = chunk.subarray(at, at + want - pendingSize)
        at += part.length
        take(part, out)
      }
      return out
    },
    finish: () => {
      // Some writers leave out the two blocks of zeros at the end.
      const betweenEntries = state === "header" && pendingSize === 0 && prefixes.length === 0
      if (state === "end" || state === "after" || betweenEntries) return
      throw corrupt("the tar ends in the middle of an entry")
    }
  }
}

/** Runs what may throw a `LayerError`; anything else that it throws becomes one of that kind. */
export const attempt = <A>(run: () => A, kind: LayerError["kind"] = "tar"): Effect.Effect<A, LayerError> =>
  Effect.try({
    try: run,
    catch: (cause) => (cause instanceof LayerError ? cause : new LayerError({ kind, message: String(cause), cause }))
  })
