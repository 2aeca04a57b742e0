/**
 * Where messages of HTTP/1.1 begin and end in a stream of bytes. Nothing is changed or checked: a proxy that passes the
 * bytes on as they are has nothing to get wrong in them.
 */
export interface Head {
  /** The first line, as words. */
  readonly start: readonly [string, string, string]
  readonly headers: ReadonlyArray<readonly [name: string, value: string]>
}

export type Framing =
  | { readonly _tag: "None" }
  | { readonly _tag: "Length"; readonly length: number }
  | { readonly _tag: "Chunked" }
  /** To the end of the connection. */
  | { readonly _tag: "Rest" }

/** More is no head: Go's limit. */
export const maxHead = 1 << 20

/** The values of a header, joined as HTTP does; `""` for none. */
export const header = ({ headers }: Head, name: string): string =>
  headers
    .filter(([key]) => key === name)
    .map(([, value]) => value)
    .join(", ")

export const hasToken = (head: Head, name: string, token: string): boolean =>
  header(head, name)
    .split(",")
    .some((word) => word.trim().toLowerCase() === token)

const blankLine = /\r?\n\r?\n/

/** How long the head is that the bytes begin with; `undefined` when it is not all there. */
export const headLength = (bytes: Buffer): number | undefined => {
  const match = blankLine.exec(bytes.toString("latin1"))
  return match === null ? undefined : match.index + match[0].length
}

/** `undefined` for what is no head. */
export const parseHead = (bytes: Buffer): Head | undefined => {
  const [first = "", ...lines] = bytes.toString("latin1").trimEnd().split(/\r?\n/)
  const [, one, two, three] = /^(\S+) (\S+) ?(.*)$/.exec(first) ?? []
  if (one === undefined || two === undefined || three === undefined) return undefined
  const headers = lines.map((line) => {
    const at = line.indexOf(":")
    return [line.slice(0, at).toLowerCase(), line.slice(at + 1).trim()] as const
  })
  return { start: [one, two, three], headers }
}

const framingOf = (head: Head, otherwise: Framing): Framing => {
  if (hasToken(head, "transfer-encoding", "chunked")) return { _tag: "Chunked" }
  const length = header(head, "content-length")
  return /^\d+$/.test(length) ? { _tag: "Length", length: Number(length) } : otherwise
}

export const requestFraming = (head: Head): Framing => framingOf(head, { _tag: "None" })

export const statusOf = ({ start }: Head): number => Number(start[1])

export const responseFraming = (head: Head, method: string): Framing => {
  const status = statusOf(head)
  // What comes after "switching protocols" is no HTTP any more.
  if (status === 101) return { _tag: "Rest" }
  if (method === "HEAD" || status < 200 || status === 204 || status === 304) return { _tag: "None" }
  return framingOf(head, { _tag: "Rest" })
}

/** Of some bytes, how many still belong to the body, and whether it ends there. */
export interface Taken {
  readonly length: number
  readonly isEnd: boolean
  /** A chunk has ended and the next one has not begun: there is room for another. */
  readonly isBetween: boolean
}

const nothing: Taken = { length: 0, isEnd: true, isBetween: false }

/** Remembers how far a body has come. */
export type BodyReader = (bytes: Buffer) => Taken

const lengthReader = (total: number): BodyReader => {
  let left = total
  return (bytes) => {
    const length = Math.min(left, bytes.length)
    left -= length
    return { length, isEnd: left === 0, isBetween: false }
  }
}

/** A size that cannot be read makes the rest one chunk: it is dockerd that refuses it, and closes the connection. */
const sizeOf = (line: string) => {
  const [digits] = /^[0-9a-f]+/i.exec(line) ?? []
  return digits === undefined ? Number.POSITIVE_INFINITY : Number.parseInt(digits, 16)
}

const chunkReader = (): BodyReader => {
  let left = 0
  let line = ""
  let isTrailer = false
  /** Whether the line is the last of all. */
  const endLine = () => {
    const text = line.replace(/\r$/, "")
    line = ""
    if (isTrailer) return text === ""
    const size = sizeOf(text)
    if (size === 0) isTrailer = true
    else left = size + 2
    return false
  }
  return (bytes) => {
    let at = 0
    while (at < bytes.length) {
      if (left > 0) {
        const length = Math.min(left, bytes.length - at)
        left -= length
        at += length
        continue
      }
      const end = bytes.indexOf(10, at)
      line += bytes.toString("latin1", at, end < 0 ? bytes.length : end)
      at = end < 0 ? bytes.length : end + 1
      if (line.length > maxHead) left = Number.POSITIVE_INFINITY
      if (end >= 0 && endLine()) return { length: at, isEnd: true, isBetween: false }
    }
    return { length: at, isEnd: false, isBetween: left === 0 && line === "" && !isTrailer }
  }
}

const readerOf = (framing: Framing): BodyReader => {
  switch (framing._tag) {
    case "None":
      return () => nothing
    case "Length":
      return lengthReader(framing.length)
    case "Chunked":
      return chunkReader()
    case "Rest":
      return (bytes) => ({ length: bytes.length, isEnd: false, isBetween: false })
  }
}

export const bodyReader = (framing: Framing): BodyReader => {
  const read = readerOf(framing)
  let isOver = false
  return (bytes) => {
    if (isOver) return nothing
    const taken = read(bytes)
    isOver = taken.isEnd
    return taken
  }
}

/** A chunk of its own. */
export const formatChunk = (text: string): Buffer =>
  Buffer.from(`${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`)

/** The bytes of a chunked body without sizes and trailers. */
export const unchunk = (body: Buffer): Buffer => {
  const parts: Array<Buffer> = []
  let at = 0
  while (at < body.length) {
    const end = body.indexOf(10, at)
    const size = sizeOf(body.toString("latin1", at, end < 0 ? body.length : end))
    if (end < 0 || size === 0) break
    parts.push(body.subarray(end + 1, end + 1 + size))
    at = end + 1 + size + 2
  }
  return Buffer.concat(parts)
}

export interface Answer {
  readonly status: number
  readonly reason: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

export const formatAnswer = ({ body, headers, reason, status }: Answer): Buffer => {
  const all = { ...headers, Date: new Date().toUTCString(), "Content-Length": String(Buffer.byteLength(body)) }
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`)
  return Buffer.from(`HTTP/1.1 ${status} ${reason}\r\n${lines.join("")}\r\n${body}`)
}
