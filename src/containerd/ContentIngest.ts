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
import * as Stream from "effect/Stream"
import { ContainerdError, OutOfRange } from "../core/ContainerdError.ts"
import type { WriteOptions } from "../core/ContentStore.ts"
import { uniqueName } from "../core/UniqueName.ts"
import * as Digest from "../oci/Digest.ts"
import type { Connection } from "./Connection.ts"
import { digest, present } from "./Convert.ts"
import { toContainerdError } from "./GrpcError.ts"
import type { WriteContentRequest } from "./generated/containerd/services/content/v1/WriteContentRequest.ts"
import type { WriteContentResponse__Output as Answer } from "./generated/containerd/services/content/v1/WriteContentResponse.ts"
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

/**
 * Opens or resumes the ingest; its status says how many bytes are there already. `None` when the expected blob exists:
 * the server says so to the first message that expects it.
 */
const start = Effect.fnUntraced(function* (wire: Wire, ref: string, expected: WriteOptions["expected"]) {
  const session = yield* open(wire)
  const announced = expected === undefined ? {} : { total: expected.size, expected: expected.digest }
  yield* session.send({ action: "STAT", ref, ...announced })
  return yield* session.receive.pipe(
    Effect.map(({ offset }) => Option.some({ session, offset })),
    Effect.catchReason("ContainerdError", "AlreadyExists", () => Effect.succeedNone)
  )
})

/** Joins small chunks into messages of about one size; each byte is copied once. A chunk over the limit is cut. */
const toMessages = <E, R>(self: Stream.Stream<Uint8Array, E, R>): Stream.Stream<Uint8Array, E, R> =>
  self.pipe(
    Stream.map(cut),
    Stream.flattenIterable,
    Stream.mapAccum(
      (): Pending => ({ parts: [], size: 0 }),
      (pending, chunk) => {
        const size = pending.size + chunk.length
        if (size > messageSize) return [{ parts: [chunk], size: chunk.length }, join(pending)]
        // In place: a copy for each chunk would make many small ones very slow.
        pending.parts.push(chunk)
        return [{ parts: pending.parts, size }, []]
      },
      { onHalt: join }
    )
  )

interface Pending {
  readonly parts: Array<Uint8Array>
  readonly size: number
}

const join = ({ parts, size }: Pending): ReadonlyArray<Uint8Array> => (size === 0 ? [] : [Buffer.concat(parts, size)])

const cut = (chunk: Uint8Array): ReadonlyArray<Uint8Array> =>
  Array.from({ length: Math.ceil(chunk.length / messageSize) }, (_, i) =>
    chunk.subarray(i * messageSize, (i + 1) * messageSize)
  )

/** Sends the stream's bytes from the offset on, at most `window` messages ahead of the answers. */
const sendAll = Effect.fnUntraced(function* <E, R>(
  session: Session,
  data: Stream.Stream<Uint8Array, E, R>,
  resumeAt: number
) {
  let position = 0
  let unanswered = 0
  yield* Stream.runForEach(
    toMessages(data),
    Effect.fnUntraced(function* (message) {
      const skip = Math.min(Math.max(resumeAt - position, 0), message.length)
      position += message.length
      if (skip === message.length) return
      if (unanswered === window) yield* session.receive
      else unanswered++
      yield* session.send({ action: "WRITE", offset: position - message.length + skip, data: message.subarray(skip) })
    })
  )
  return position
})

/** Streams a blob in. Scoped: the call ends with the effect. */
export const writeStream = Effect.fnUntraced(function* <E, R>(
  wire: Wire,
  data: Stream.Stream<Uint8Array, E, R>,
  ref: string,
  options: WriteOptions
) {
  const labels = { ...options.labels }
  const { expected } = options
  const started = yield* start(wire, ref, expected).pipe(Effect.retry({ while: isLocked, schedule: lockRetry }))
  if (Option.isNone(started)) return { ...(yield* present(method, expected ?? null)), existed: true } satisfies Written
  const { offset, session } = started.value
  // The whole blob is there when a namespace that shares its content has it.
  const complete = offset === expected?.size
  const size = complete ? offset : yield* sendAll(session, data, offset)
  if (size < offset) {
    const message = `the data ends at ${size} bytes, and the ingest ${ref} holds ${offset} already`
    return yield* new ContainerdError({ method, reason: new OutOfRange({ message }) })
  }
  // Without this status nobody would know the digest of a blob that exists already, short of hashing it here as well.
  yield* session.send({ action: "STAT" })
  yield* session.send({ action: "COMMIT", offset: size, total: size, labels })
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

/** A name that was never used: no ingest of it needs to be resumed or waited for. */
export const newRef = () => uniqueName("effect-containerd")
