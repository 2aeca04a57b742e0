/**
 * Writes of the content store, as one bidirectional call each.
 *
 * What the server promises and what it does not (facts of every version from 1.6 on): answers come in order, one for
 * each request; the last is repeated; a COMMIT counts only at the true offset; an offset of 0 empties the ingest.
 *
 * @since 0.1.0
 */

import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Schedule from "effect/Schedule"
import * as Sink from "effect/Sink"
import * as Stream from "effect/Stream"
import { ContainerdError, OutOfRange } from "../core/ContainerdError.ts"
import { labelsOf, type WriteOptions } from "../core/ContentStore.ts"
import { uniqueName } from "../core/UniqueName.ts"
import * as LentBytes from "../internal/LentBytes.ts"
import * as Digest from "../oci/Digest.ts"
import type { Connection } from "./Connection.ts"
import { digest, present } from "./Convert.ts"
import { toContainerdError } from "./GrpcError.ts"
import type { WriteContentRequest } from "./generated/containerd/services/content/v1/WriteContentRequest.ts"
import type { WriteContentResponse__Output as Answer } from "./generated/containerd/services/content/v1/WriteContentResponse.ts"
import * as LocalIngest from "./LocalIngest.ts"
import { services } from "./Wire.ts"

const method = "Content.Write"
/** The server takes messages up to 16 MiB; larger ones than this gain nothing. */
const messageSize = 1024 * 1024
/** Messages on their way without an answer: what a write may hold in memory, in MiB. */
const window = 8

type Wire = Connection["Service"]

/** An open call: requests go out at once, answers wait in a queue. */
const open = Effect.fnUntraced(function* ({ address, duplex }: Wire) {
  const call = yield* duplex(services().content.Write)
  const answers = yield* Queue.unbounded<Answer, ContainerdError>()
  const fail = (cause: unknown) => {
    Queue.failCauseUnsafe(answers, Cause.fail(toContainerdError(method, address)(cause)))
  }
  call.on("data", (answer: Answer) => Queue.offerUnsafe(answers, answer))
  call.on("error", fail)
  call.on("end", () => fail(new Error("the server ended the write")))
  return {
    send: (request: WriteContentRequest) => Effect.sync(() => void call.write(request)),
    receive: Queue.take(answers),
    /** Nothing more will be sent. Waits for the server to end the call, which would count as cancelled otherwise. */
    end: Effect.andThen(
      Effect.sync(() => call.end()),
      Effect.ignore(Effect.forever(Queue.take(answers)))
    )
  }
})
type Session = Effect.Success<ReturnType<typeof open>>

export interface Written {
  readonly digest: Digest.Digest
  /** Bytes. */
  readonly size: number
  /** The blob was there before: it has neither our labels nor, always, our lease. */
  readonly existed: boolean
}

const awaitAnswer = Effect.fnUntraced(function* (session: Session, action: Answer["action"]) {
  let answer = yield* session.receive
  while (answer.action !== action) answer = yield* session.receive
  return answer
})

/** True when the content turned out to be there already: the server then ends the call with that error. */
const awaitCommit = (session: Session) =>
  Effect.as(awaitAnswer(session, "COMMIT"), false).pipe(
    Effect.catchReason("ContainerdError", "AlreadyExists", () => Effect.succeed(true))
  )

/** Another writer holds the ref, perhaps a call of ours that was cancelled and is not quite gone. */
const isLocked = ({ reason }: ContainerdError) => reason._tag === "Unavailable" && reason.message.includes("locked")
const lockRetry = Schedule.exponential("10 millis").pipe(Schedule.jittered, Schedule.upTo({ times: 9 }))

interface Started {
  readonly session: Session
  /** Bytes that are there already. */
  readonly offset: number
}

/** Opens or resumes an ingest. */
const openIngest = (wire: Wire, ref: string, announced: { readonly total?: number; readonly expected?: string }) =>
  Effect.gen(function* () {
    const session = yield* open(wire)
    yield* session.send({ action: "STAT", ref, ...announced })
    const { offset } = yield* session.receive
    return { session, offset } satisfies Started
  }).pipe(Effect.retry({ while: isLocked, schedule: lockRetry }))

/** `None` when the expected blob exists: the server says so to the first message that expects it. */
const start = (wire: Wire, ref: string, expected: WriteOptions["expected"]) =>
  openIngest(wire, ref, expected === undefined ? {} : { total: expected.size, expected: expected.digest }).pipe(
    Effect.asSome,
    Effect.catchReason("ContainerdError", "AlreadyExists", () => Effect.succeedNone)
  )

/** Bytes that go together. */
interface Batch {
  readonly parts: ReadonlyArray<Uint8Array>
  readonly size: number
}

/** Joins small chunks into batches of about one size; a chunk over the limit is cut. */
const toBatches = <E, R>(self: Stream.Stream<Uint8Array, E, R>): Stream.Stream<Batch, E, R> =>
  self.pipe(
    Stream.map(cut),
    Stream.flattenIterable,
    Stream.mapAccum(
      (): Pending => ({ parts: [], size: 0 }),
      (pending, chunk) => {
        const size = pending.size + chunk.length
        if (size > messageSize) return [{ parts: [chunk], size: chunk.length }, whole(pending)]
        // In place: a copy for each chunk would make many small ones very slow.
        pending.parts.push(chunk)
        return [{ parts: pending.parts, size }, []]
      },
      { onHalt: whole }
    )
  )

interface Pending {
  readonly parts: Array<Uint8Array>
  readonly size: number
}

const whole = (pending: Pending): ReadonlyArray<Batch> => (pending.size === 0 ? [] : [pending])

const cut = (chunk: Uint8Array): ReadonlyArray<Uint8Array> =>
  chunk.length <= messageSize
    ? [chunk]
    : Array.from({ length: Math.ceil(chunk.length / messageSize) }, (_, i) =>
        chunk.subarray(i * messageSize, (i + 1) * messageSize)
      )

type Batches<E, R> = Stream.Stream<Batch, E, R>

interface Sent {
  /** Bytes of the data that were read. */
  readonly size: number
  /** Messages that were sent since the last answer that was waited for. */
  readonly unanswered: number
}

/** Sends the bytes from the offset on, at most `window` messages ahead of the answers. */
const sendAll = Effect.fnUntraced(function* <E, R>(
  session: Session,
  batches: Batches<E, R>,
  resumeAt: number,
  before: Sent
) {
  let { size: position, unanswered } = before
  yield* Stream.runForEach(
    batches,
    Effect.fnUntraced(function* ({ parts, size }) {
      const skip = Math.min(Math.max(resumeAt - position, 0), size)
      position += size
      if (skip === size) return
      if (unanswered === window) yield* session.receive
      else unanswered++
      const data = Buffer.concat(parts, size).subarray(skip)
      parts.forEach(LentBytes.giveBack)
      yield* session.send({ action: "WRITE", offset: position - data.length, data })
    })
  )
  return { size: position, unanswered } satisfies Sent
})

/** Nobody reads them any more. */
const released = ({ parts }: Batch) => Effect.sync(() => parts.forEach(LentBytes.giveBack))

/** Appends the bytes to the file of an ingest that nobody has open, and opens it again. */
const appendAll = Effect.fnUntraced(
  function* <E, R>(wire: Wire, ref: string, path: string, batches: Batches<E, R>, before: number) {
    let size = before
    const file = yield* LocalIngest.append(path)
    // The next ones are made while one is written.
    yield* Stream.runForEach(Stream.buffer(batches, { capacity: 2 }), (batch) => {
      size += batch.size
      return Effect.andThen(LocalIngest.write(file, batch.parts, batch.size), released(batch))
    })
    const { offset, session } = yield* openIngest(wire, ref, {})
    if (offset === size) return { session, size }
    const message = `the daemon has ${offset} of the ${size} bytes that were written to ${path}`
    return yield* new ContainerdError({ method, reason: new OutOfRange({ message }) })
  },
  (self, { address }) =>
    Effect.mapError(self, (error) =>
      Cause.isUnknownError(error) ? toContainerdError(method, address)(error.cause) : error
    )
)

/** What follows on the first message goes through the file, if there is one; else through the call, too. */
const transfer = Effect.fnUntraced(function* <E, R>(
  wire: Wire,
  { offset, session }: Started,
  batches: Batches<E, R>,
  ref: string,
  root: Effect.Effect<Option.Option<string>>
) {
  const one = Sink.take<Batch>(1)
  const [first, others] = yield* Stream.peel(batches, one)
  const sent = yield* sendAll(session, Stream.fromIterable(first), offset, { size: 0, unanswered: 0 })
  const [second, last] = yield* Stream.peel(others, one)
  if (second.length === 0) return { session, size: sent.size }
  const rest = Stream.concat(Stream.fromIterable(second), last)
  const directory = offset > 0 ? Option.none() : yield* root
  if (Option.isSome(directory)) {
    // What was sent is in the file when it was answered.
    for (let i = 0; i < sent.unanswered; i++) yield* session.receive
    const path = yield* LocalIngest.find(directory.value, ref, sent.size)
    if (Option.isSome(path)) {
      yield* session.end
      return yield* appendAll(wire, ref, path.value, rest, sent.size)
    }
  }
  const unanswered = Option.isSome(directory) ? 0 : sent.unanswered
  const { size } = yield* sendAll(session, rest, offset, { ...sent, unanswered })
  return { session, size }
})

/** Writes it batch by batch. Scoped: the call ends with the effect. */
const writeBatches = Effect.fnUntraced(function* <E, R>(
  wire: Wire,
  batches: Batches<E, R>,
  ref: string,
  options: WriteOptions,
  root: Effect.Effect<Option.Option<string>>
) {
  const { expected } = options
  const started = yield* start(wire, ref, expected)
  if (Option.isNone(started)) return { ...(yield* present(method, expected ?? null)), existed: true } satisfies Written
  const { offset } = started.value
  // The whole blob is there when a namespace that shares its content has it.
  const { session, size } =
    offset === expected?.size
      ? { session: started.value.session, size: offset }
      : yield* transfer(wire, started.value, batches, ref, root)
  if (size < offset) {
    const message = `the data ends at ${size} bytes, and the ingest ${ref} holds ${offset} already`
    return yield* new ContainerdError({ method, reason: new OutOfRange({ message }) })
  }
  // Without this status nobody would know the digest of a blob that exists already, short of hashing it here as well.
  yield* session.send({ action: "STAT" })
  yield* session.send({ action: "COMMIT", offset: size, total: size, labels: { ...labelsOf(options) } })
  const status = yield* awaitAnswer(session, "STAT")
  const existed = yield* awaitCommit(session)
  yield* session.end
  return { digest: yield* digest(method, status.digest), size, existed } satisfies Written
}, Effect.scoped)

/** Writes a small blob with one message. */
export const writeWhole = Effect.fnUntraced(function* (
  wire: Wire,
  bytes: Uint8Array,
  ref: string,
  labels: Readonly<Record<string, string>>
) {
  const session = yield* open(wire)
  yield* session.send({ action: "COMMIT", ref, total: bytes.length, data: bytes, labels })
  const existed = yield* awaitCommit(session)
  yield* session.end
  return { digest: Digest.fromBytes(bytes), size: bytes.length, existed } satisfies Written
}, Effect.scoped)

/**
 * Streams a blob in. `root` is the content store's directory. What is no more than a message goes as one, unless the
 * daemon may have the blob, or a part of it.
 */
export const writeStream = Effect.fnUntraced(function* <E, R>(
  wire: Wire,
  data: Stream.Stream<Uint8Array, E, R>,
  ref: string,
  options: WriteOptions,
  root: Effect.Effect<Option.Option<string>>
) {
  const batches = toBatches(data)
  if (options.ref !== undefined || options.expected !== undefined) {
    return yield* writeBatches(wire, batches, ref, options, root)
  }
  const [first, rest] = yield* Stream.peel(batches, Sink.take<Batch>(2))
  if (first.length === 2) {
    return yield* writeBatches(wire, Stream.concat(Stream.fromIterable(first), rest), ref, options, root)
  }
  const bytes = Buffer.concat(first.flatMap(({ parts }) => parts))
  return yield* writeWhole(wire, bytes, ref, labelsOf(options))
}, Effect.scoped)

/** A name that was never used: no ingest of it needs to be resumed or waited for. */
export const newRef = () => uniqueName("effect-containerd")
