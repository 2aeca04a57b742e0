/**
 * One client's connection. It has a connection to dockerd of its own, over which every byte goes as it came, both ways:
 * so streams, trailers, `Expect` and whatever else HTTP has need no care. What is read is only where requests and
 * responses begin and end, to see a request that we answer. A connection that stops being HTTP (attach, exec, the
 * sessions of a build) is a tunnel from then on.
 */
import { Effect } from "effect"
import * as Channel from "./channel.ts"
import {
  type Answer,
  type BodyReader,
  bodyReader,
  type Framing,
  formatAnswer,
  formatChunk,
  type Head,
  hasToken,
  headLength,
  maxHead,
  parseHead,
  requestFraming,
  responseFraming,
  statusOf,
  unchunk
} from "./httpMessage.ts"

export interface Request {
  readonly head: Head
  readonly body: Buffer
}

export interface Options<R> {
  /** dockerd's socket. */
  readonly docker: string
  readonly isOurs: (head: Head) => boolean
  /** Interrupted when the client goes away. */
  readonly answer: (request: Request) => Effect.Effect<Answer, never, R>
  /** What is said between the chunks of dockerd's answer to that request; `undefined` for nothing. */
  readonly joining: (head: Head) => Joining | undefined
}

/** Goes on until it is interrupted. */
export type Joining = (say: (text: string) => void) => Effect.Effect<never>

interface Message {
  readonly bytes: Buffer
  /** `undefined` for what is no head. */
  readonly head: Head | undefined
}

/** The next head, with the bytes that it was read from; `undefined` at the end. */
const readHead = Effect.fnUntraced(function* (channel: Channel.Channel) {
  let bytes = Buffer.alloc(0)
  for (;;) {
    const more = yield* channel.next((next) => next)
    if (more === undefined && bytes.length === 0) return undefined
    bytes = Buffer.concat([bytes, more ?? Buffer.alloc(0)])
    const length = headLength(bytes)
    if (length !== undefined) {
      channel.unread(bytes.subarray(length))
      return { bytes: bytes.subarray(0, length), head: parseHead(bytes.subarray(0, length)) } satisfies Message
    }
    if (more === undefined || bytes.length > maxHead) return { bytes, head: undefined } satisfies Message
  }
})

/** Hands over a body piece by piece. An interrupted one can go on. False when the end came too early. */
const readBody = Effect.fnUntraced(function* (
  from: Channel.Channel,
  read: BodyReader,
  take: (bytes: Buffer, isBetween: boolean) => void,
  taken: Effect.Effect<void> = Effect.void
) {
  // Of an empty body there is nothing to wait for.
  if (read(Buffer.alloc(0)).isEnd) return true
  for (;;) {
    const state = yield* from.next((bytes) => {
      if (bytes === undefined) return "broken"
      const { isBetween, isEnd, length } = read(bytes)
      from.unread(bytes.subarray(length))
      take(bytes.subarray(0, length), isBetween)
      return isEnd ? "whole" : "more"
    })
    yield* taken
    if (state !== "more") return state === "whole"
  }
})

/** Passes on a body, and what joins it where a chunk has room. */
const passBody = (upstream: Channel.Channel, client: Channel.Channel, framing: Framing, joining?: Joining) => {
  const read = bodyReader(framing)
  if (joining === undefined || framing._tag !== "Chunked") return readBody(upstream, read, client.send, client.drained)
  let waiting: Array<string> = []
  let hasRoom = true
  const say = () => {
    if (!hasRoom) return
    for (const text of waiting) client.send(formatChunk(text))
    waiting = []
  }
  const take = (bytes: Buffer, isBetween: boolean) => {
    client.send(bytes)
    hasRoom = isBetween
    say()
  }
  const join = joining((text) => {
    waiting.push(text)
    say()
  })
  return Effect.raceFirst(readBody(upstream, read, take, client.drained), join)
}

/** Passes on all that dockerd answers to one request, and says whether the connection is HTTP still. */
const respond = Effect.fnUntraced(function* (
  upstream: Channel.Channel,
  client: Channel.Channel,
  method: string,
  joining: Joining | undefined
) {
  for (;;) {
    const message = yield* readHead(upstream)
    if (message === undefined) return "end"
    client.send(message.bytes)
    if (message.head === undefined) return "tunnel"
    const framing = responseFraming(message.head, method)
    if (framing._tag === "Rest") return "tunnel"
    if (!(yield* passBody(upstream, client, framing, statusOf(message.head) === 200 ? joining : undefined)))
      return "end"
    // After "continue" the answer itself comes.
    if (statusOf(message.head) >= 200) return "next"
  }
})

/** One request that is not ours. */
const exchange = Effect.fnUntraced(function* (
  client: Channel.Channel,
  upstream: Channel.Channel,
  head: Head,
  joining: Joining | undefined
) {
  const body = bodyReader(requestFraming(head))
  const send = readBody(client, body, upstream.send, upstream.drained)
  // dockerd stops what it does for a client that has gone, if it is told.
  const watch = Effect.andThen(client.ended, upstream.end)
  const outcome = yield* respond(upstream, client, head.start[0], joining).pipe(
    Effect.raceFirst(send.pipe(Effect.andThen(watch), Effect.andThen(Effect.never)))
  )
  if (outcome !== "next") return outcome
  // An answer can come before all was asked.
  return (yield* Effect.raceFirst(send, Effect.as(upstream.ended, false))) ? outcome : "end"
})

const tunnel = (client: Channel.Channel, upstream: Channel.Channel) =>
  Effect.all([Channel.pump(client, upstream), Channel.pump(upstream, client)], {
    concurrency: "unbounded",
    discard: true
  })

const isLast = (head: Head) => hasToken(head, "connection", "close") || head.start[2] === "HTTP/1.0"

const maxBody = 16 << 20

/** One request that is ours. Whether another can follow. */
const answerOurs = Effect.fnUntraced(function* <R>(client: Channel.Channel, head: Head, options: Options<R>) {
  const framing = requestFraming(head)
  const parts: Array<Buffer> = []
  let size = 0
  if (hasToken(head, "expect", "100-continue")) client.send(Buffer.from("HTTP/1.1 100 Continue\r\n\r\n"))
  const isWhole = yield* readBody(client, bodyReader(framing), (bytes) => {
    size += bytes.length
    if (size <= maxBody) parts.push(bytes)
  })
  if (!isWhole) return false
  const body = Buffer.concat(parts)
  const request = { head, body: framing._tag === "Chunked" ? unchunk(body) : body }
  const answer = yield* options
    .answer(request)
    .pipe(Effect.asSome, Effect.raceFirst(Effect.andThen(client.ended, Effect.succeedNone)))
  if (answer._tag === "None") return false
  const headers = isLast(head) ? { Connection: "close" } : {}
  client.send(formatAnswer({ ...answer.value, headers: { ...answer.value.headers, ...headers } }))
  return !isLast(head)
})

const unreachable = ({ message }: Channel.Unreachable) =>
  formatAnswer({
    status: 502,
    reason: "Bad Gateway",
    headers: { "Content-Type": "application/json", Connection: "close" },
    body: `${JSON.stringify({ message })}\n`
  })

const serve = Effect.fnUntraced(function* <R>(client: Channel.Channel, options: Options<R>) {
  let upstream: Channel.Channel | undefined
  for (;;) {
    // Between requests dockerd may end the connection too.
    const ended = upstream === undefined ? Effect.never : Effect.as(upstream.ended, undefined)
    const message: Message | undefined = yield* Effect.raceFirst(readHead(client), ended)
    if (message === undefined) return
    const { bytes, head } = message
    if (head !== undefined && options.isOurs(head)) {
      if (yield* answerOurs(client, head, options)) continue
      return
    }
    upstream ??= yield* Channel.open(options.docker)
    upstream.send(bytes)
    const outcome = head === undefined ? "tunnel" : yield* exchange(client, upstream, head, options.joining(head))
    if (outcome === "tunnel") return yield* tunnel(client, upstream)
    if (outcome === "end") return
  }
})

/** Serves a client until one of the two has enough. */
export const relay = <R>(client: Channel.Channel, options: Options<R>): Effect.Effect<void, never, R> =>
  serve(client, options).pipe(
    Effect.catchTag("Unreachable", (error) => Effect.sync(() => client.send(unreachable(error)))),
    Effect.andThen(Channel.finish(client)),
    Effect.ensuring(Effect.sync(() => void client.socket.destroy())),
    Effect.scoped
  )
