/**
 * A containerd that does what a test tells it, for faults that a real one shows once in a year.
 *
 * Every method records what it was sent and answers an empty message until `reply` gives it something else. The content
 * store is there, without the bytes: it writes, resumes, locks, refuses and adopts as containerd's own does.
 */
import { createHash, type Hash } from "node:crypto"
import { mkdtempSync, rmSync } from "node:fs"
import { createServer, type Socket } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Grpc from "@grpc/grpc-js"
import type { MethodDefinition } from "@grpc/proto-loader"
import { Effect, Schedule, type Scope } from "effect"
import type { WriteContentRequest__Output as WriteRequest } from "../../src/containerd/generated/containerd/services/content/v1/WriteContentRequest.ts"
import type { WriteContentResponse } from "../../src/containerd/generated/containerd/services/content/v1/WriteContentResponse.ts"
import { services } from "../../src/containerd/Wire.ts"

export interface Received {
  /** `Images.Get` */
  readonly rpc: string
  readonly path: string
  /** The request as it was on the wire; of Content.Write without the data. */
  readonly bytes: Buffer
  readonly namespace: ReadonlyArray<Grpc.MetadataValue>
  readonly lease: ReadonlyArray<Grpc.MetadataValue>
}

/** A message of Content.Write. */
export interface Write extends Omit<WriteRequest, "data"> {
  readonly dataSize: number
  readonly wireSize: number
}

export interface Reply<Answer> {
  readonly answers?: Iterable<Answer>
  /** The status after the answers; OK by default. */
  readonly code?: Grpc.status
  readonly details?: string
  /** Milliseconds before the answer. Infinity: there is none. */
  readonly after?: number
}

/** Ends a call with a status. */
export class Refusal extends Error {
  readonly code: Grpc.status
  readonly details: string
  constructor(code: Grpc.status, details: string) {
    super(details)
    this.code = code
    this.details = details
  }
}

/** In place of what would happen with a message: an error, a wait (in ms) before it, or the end of the stream. */
export type WriteFault = Refusal | number | "end" | undefined

interface Ingest {
  hash: Hash
  size: number
  total: number
  locked: boolean
}

interface Blob {
  readonly size: number
  labels: Record<string, string>
}

type Method<Request, Answer> = MethodDefinition<never, Answer, Request, unknown>

export interface FakeContainerd {
  readonly address: string
  /** The requests in the order in which they came, one for each message of a stream. */
  readonly received: Array<Received>
  readonly requests: <Request>(method: {
    readonly path: string
    requestDeserialize(bytes: Buffer): Request
  }) => ReadonlyArray<Request>
  readonly reply: <Request, Answer>(
    method: Pick<Method<Request, Answer>, "path" | "requestDeserialize" | "responseSerialize">,
    respond: (request: Request) => Reply<Answer>
  ) => void
  /** Calls that the client gave up. */
  readonly cancelled: Array<string>
  /** Messages of server streams that were taken off the server's hands. */
  written: number
  readonly blobs: Map<string, Blob>
  /** Blobs of another namespace. */
  readonly shared: Map<string, Blob>
  readonly ingests: Map<string, Ingest>
  /** Digests that a lease holds. */
  readonly leased: Set<string>
  readonly writes: Array<Write>
  /** Asked for each message of Content.Write, with its number in its stream. */
  onWrite: (message: Write, index: number) => WriteFault
  /** The most messages with data that ever waited for their answers. */
  maxUnanswered: number
  /** Breaks all connections; new ones may come. */
  readonly dropConnections: Effect.Effect<void>
  readonly stop: Effect.Effect<void>
  readonly start: Effect.Effect<void>
}

/** `/containerd.services.images.v1.Images/Create` is `Images.Create`. */
const nameOf = (path: string) => path.slice(path.lastIndexOf(".") + 1).replace("/", ".")

const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

/** Waits for something that happens on the other side of the socket; fails after two seconds. */
export const until = (what: string, condition: () => boolean): Effect.Effect<void> =>
  Effect.sync(condition).pipe(
    Effect.repeat({ until: (met) => met, schedule: Schedule.spaced("2 millis") }),
    Effect.timeoutOrElse({ duration: "2 seconds", orElse: () => Effect.die(new Error(`never saw ${what}`)) }),
    Effect.asVoid
  )

/** A directory of its own for a socket; gone with the scope. */
export const socketPath: Effect.Effect<string, never, Scope.Scope> = Effect.map(
  Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "fake-"))),
    (directory) => Effect.sync(() => rmSync(directory, { recursive: true }))
  ),
  (directory) => join(directory, "c.sock")
)

/** Listens until the scope closes. */
export const make: Effect.Effect<FakeContainerd, never, Scope.Scope> = Effect.gen(function* () {
  const address = yield* socketPath
  const server = new Grpc.Server({ "grpc.max_receive_message_length": 16 * 1024 * 1024 })
  const injector = server.createConnectionInjector(Grpc.ServerCredentials.createInsecure())
  const sockets = new Set<Socket>()
  const listener = createServer((socket) => {
    sockets.add(socket)
    socket.on("error", () => {})
    socket.on("close", () => sockets.delete(socket))
    injector.injectConnection(socket)
  })
  const dropConnections = Effect.sync(() => {
    for (const socket of sockets) socket.destroy()
  })
  const stop = Effect.andThen(
    dropConnections,
    Effect.callback<void>((resume) => void listener.close(() => resume(Effect.void)))
  )
  const start = Effect.callback<void>((resume) => {
    rmSync(address, { force: true })
    listener.listen(address, () => resume(Effect.void))
  })

  const responders = new Map<string, (request: Buffer) => Reply<Buffer>>()
  const received: Array<Received> = []
  const fake: FakeContainerd = {
    address,
    received,
    requests: (method) =>
      received.filter(({ path }) => path === method.path).map(({ bytes }) => method.requestDeserialize(bytes)),
    reply: (method, respond) => {
      responders.set(method.path, (bytes) => {
        const { answers, ...rest } = respond(method.requestDeserialize(bytes))
        return answers === undefined ? rest : { ...rest, answers: encode(answers, method.responseSerialize) }
      })
    },
    cancelled: [],
    written: 0,
    blobs: new Map(),
    shared: new Map(),
    ingests: new Map(),
    leased: new Set(),
    writes: [],
    onWrite: () => undefined,
    maxUnanswered: 0,
    dropConnections,
    stop,
    start
  }
  const respond = (path: string, request: Buffer) => responders.get(path)?.(request) ?? {}

  for (const { path, requestStream, responseStream } of Object.values(services()).flatMap(methodsOf)) {
    const [serve, type] = requestStream
      ? ([serveWrite(fake), "bidi"] as const)
      : responseStream
        ? ([serveStream(fake, respond), "serverStream"] as const)
        : ([serveUnary(fake, respond), "unary"] as const)
    server.register<Buffer, Buffer>(path, serve, bytesAsTheyAre, bytesAsTheyAre, type)
  }
  keepContent(fake)

  yield* start
  yield* Effect.addFinalizer(() =>
    Effect.andThen(
      Effect.ignore(stop),
      Effect.sync(() => server.forceShutdown())
    )
  )
  return fake
})

const bytesAsTheyAre = (bytes: Buffer) => bytes

interface Shape {
  readonly path: string
  readonly requestStream: boolean
  readonly responseStream: boolean
}
const methodsOf = (service: Readonly<Record<string, Shape>>): ReadonlyArray<Shape> => Object.values(service)

function* encode<Answer>(answers: Iterable<Answer>, serialize: (answer: Answer) => Buffer) {
  for (const answer of answers) yield serialize(answer)
}

const record = (fake: FakeContainerd, call: Grpc.ServerUnaryCall<Buffer, Buffer> | Stream, bytes: Buffer) => {
  const path = call.getPath()
  const [namespace, lease] = [call.metadata.get("containerd-namespace"), call.metadata.get("containerd-lease")]
  fake.received.push({ rpc: nameOf(path), path, bytes, namespace, lease })
}

type Stream = Grpc.ServerWritableStream<Buffer, Buffer> | Grpc.ServerDuplexStream<Buffer, Buffer>
type Respond = (path: string, request: Buffer) => Reply<Buffer>

const serveUnary =
  (fake: FakeContainerd, respond: Respond): Grpc.handleUnaryCall<Buffer, Buffer> =>
  (call, callback) => {
    const path = call.getPath()
    record(fake, call, call.request)
    // grpc-js says so at the end of every call.
    let over = false
    call.on("cancelled", () => over || fake.cancelled.push(nameOf(path)))
    const { after = 0, answers = [Buffer.alloc(0)], code, details } = respond(path, call.request)
    const answer = () => {
      over = true
      const [first] = answers
      callback(code === undefined ? null : new Refusal(code, details ?? ""), first)
    }
    if (after === 0) answer()
    else if (after < Number.POSITIVE_INFINITY) setTimeout(answer, after)
  }

const serveStream =
  (fake: FakeContainerd, respond: Respond): Grpc.handleServerStreamingCall<Buffer, Buffer> =>
  (call) => {
    record(fake, call, call.request)
    let over = false
    call.on("cancelled", () => over || fake.cancelled.push(nameOf(call.getPath())))
    const { after = 0, answers = [], code, details } = respond(call.getPath(), call.request)
    const iterator = answers[Symbol.iterator]()
    const pump = () => {
      while (!call.cancelled) {
        const next = iterator.next()
        if (next.done === true) {
          over = true
          if (code === undefined) call.end()
          else call.emit("error", new Refusal(code, details ?? ""))
          return
        }
        fake.written++
        if (!call.write(next.value)) return void call.once("drain", pump)
      }
    }
    if (after === 0) pump()
    else if (after < Number.POSITIVE_INFINITY) setTimeout(pump, after)
  }

/** Content.Write as containerd serves it: strictly in order, the last answer repeated at the end. */
const serveWrite =
  (fake: FakeContainerd): Grpc.handleBidiStreamingCall<Buffer, Buffer> =>
  (call) => {
    const { requestDeserialize, requestSerialize, responseSerialize } = services().content.Write
    const writer = new Writer(fake)
    let over = false
    let count = 0
    let unanswered = 0
    let last: Buffer | undefined
    let tail = Promise.resolve()

    const finish = (refusal?: unknown) => {
      if (over) return
      over = true
      writer.release()
      if (refusal !== undefined) return void call.emit("error", refusal)
      if (last !== undefined) call.write(last)
      call.end()
    }
    const handle = async (request: WriteRequest, message: Write, index: number) => {
      const fault = fake.onWrite(message, index)
      if (typeof fault === "number") await wait(fault)
      if (over) return
      if (fault === "end") return finish()
      if (fault instanceof Refusal) return finish(fault)
      try {
        last = responseSerialize(writer.step(request))
      } catch (refusal) {
        return finish(refusal)
      }
      if (request.data.length > 0) unanswered--
      call.write(last)
    }
    call.on("data", (bytes: Buffer) => {
      const request = requestDeserialize(bytes)
      const { data, ...rest } = request
      const message = { ...rest, dataSize: data.length, wireSize: bytes.length }
      record(fake, call, requestSerialize(rest))
      fake.writes.push(message)
      if (data.length > 0) fake.maxUnanswered = Math.max(fake.maxUnanswered, ++unanswered)
      const index = count++
      tail = tail.then(() => (over ? undefined : handle(request, message, index)))
    })
    // A call that was cancelled looks for a moment as if its requests had come to their end.
    call.on("end", () => {
      tail = tail.then(() => wait(5)).then(() => finish())
    })
    call.on("cancelled", () => {
      if (over) return
      over = true
      writer.release()
      fake.cancelled.push("Content.Write")
    })
  }

/** One stream of Content.Write: an ingest that it holds locked, and what it was told about the blob to come. */
class Writer {
  private readonly fake: FakeContainerd
  private ref = ""
  private ingest: Ingest | undefined
  /** The blob of another namespace that this stream needs not send. */
  private adopted: string | undefined
  private total = 0
  private expected = ""

  constructor(fake: FakeContainerd) {
    this.fake = fake
  }

  step({ action, data, expected, labels, offset, ref, total }: WriteRequest): WriteContentResponse {
    const ingest = this.ingest ?? this.open(ref, total, expected)
    if (total > 0 && this.total > 0 && total !== this.total) {
      throw new Refusal(Grpc.status.FAILED_PRECONDITION, `total was ${this.total}, now ${total}: failed precondition`)
    }
    if (total > 0) this.total = total
    if (expected !== "" && this.expected === "" && this.fake.blobs.has(expected)) {
      // Unlike everywhere else, the lease does not get the blob.
      this.fake.ingests.delete(this.ref)
      throw new Refusal(Grpc.status.ALREADY_EXISTS, `blob with expected digest ${expected} exists`)
    }
    if (expected !== "") this.expected = expected
    if (action !== "STAT") {
      if (offset > 0 && offset !== ingest.size) {
        throw new Refusal(
          Grpc.status.OUT_OF_RANGE,
          `write @${offset} must occur at current offset ${ingest.size}: out of range`
        )
      }
      if (offset === 0 && ingest.size > 0) {
        ingest.size = 0
        ingest.hash = createHash("sha256")
      }
      ingest.hash.update(data)
      ingest.size += data.length
      if (action === "COMMIT") this.commit(ingest, labels)
    }
    return { action, offset: ingest.size, total: this.total, digest: this.digest(ingest) }
  }

  release() {
    if (this.ingest !== undefined) this.ingest.locked = false
  }

  private open(ref: string, total: number, expected: string): Ingest {
    const { blobs, ingests, leased, shared } = this.fake
    if (ref === "") throw new Refusal(Grpc.status.INVALID_ARGUMENT, "first message must have a reference")
    if (blobs.has(expected)) {
      leased.add(expected)
      throw new Refusal(Grpc.status.ALREADY_EXISTS, `content ${expected}: already exists`)
    }
    const old = ingests.get(ref)
    if (old?.locked === true) {
      const details = `ref ${ref} locked for 12ms (since 2024-01-01 00:00:00 +0000 UTC): unavailable`
      throw new Refusal(Grpc.status.UNAVAILABLE, details)
    }
    const elsewhere = shared.get(expected)
    if (elsewhere !== undefined && (total === 0 || total === elsewhere.size)) this.adopted = expected
    const ingest = old ?? { hash: createHash("sha256"), size: elsewhere?.size ?? 0, total, locked: true }
    ingest.locked = true
    ingests.set(ref, ingest)
    this.ref = ref
    this.ingest = ingest
    this.expected = expected
    return ingest
  }

  private digest(ingest: Ingest) {
    return this.adopted ?? `sha256:${ingest.hash.copy().digest("hex")}`
  }

  private commit(ingest: Ingest, labels: Record<string, string>) {
    const { blobs, ingests, leased } = this.fake
    const digest = this.digest(ingest)
    if (this.total > 0 && this.total !== ingest.size) {
      const details = `unexpected commit size ${ingest.size}, expected ${this.total}: failed precondition`
      throw new Refusal(Grpc.status.FAILED_PRECONDITION, details)
    }
    if (this.expected !== "" && this.expected !== digest) {
      const details = `unexpected commit digest ${digest}, expected ${this.expected}: failed precondition`
      throw new Refusal(Grpc.status.FAILED_PRECONDITION, details)
    }
    // After an Abort the file is gone under the writer.
    if (ingests.get(this.ref) !== ingest) throw new Refusal(Grpc.status.UNKNOWN, "rename: no such file or directory")
    ingests.delete(this.ref)
    leased.add(digest)
    if (blobs.has(digest)) throw new Refusal(Grpc.status.ALREADY_EXISTS, `content ${digest}: already exists`)
    blobs.set(digest, { size: ingest.size, labels })
  }
}

/** The unary side of the content store. */
const keepContent = (fake: FakeContainerd) => {
  const { content, leases } = services()
  const { blobs, ingests, leased, reply } = fake
  const notFound = (details: string) => ({ code: Grpc.status.NOT_FOUND, details: `${details}: not found` })
  reply(content.Info, ({ digest }) => {
    const blob = blobs.get(digest)
    return blob === undefined ? notFound(`content ${digest}`) : { answers: [{ info: { digest, ...blob } }] }
  })
  reply(content.Update, ({ info, updateMask }) => {
    const blob = blobs.get(info?.digest ?? "")
    if (blob === undefined) return notFound(`content ${info?.digest}`)
    const paths = updateMask?.paths ?? []
    // Without a mask all labels are replaced.
    if (paths.length === 0) blob.labels = { ...info?.labels }
    for (const key of paths.map((path) => path.slice("labels.".length))) blob.labels[key] = info?.labels[key] ?? ""
    return { answers: [{ info: { digest: info?.digest ?? "", ...blob } }] }
  })
  reply(content.Abort, ({ ref }) => (ingests.delete(ref) ? { answers: [{}] } : notFound(`ref ${ref}`)))
  reply(leases.AddResource, ({ resource }) => {
    leased.add(resource?.id ?? "")
    return { answers: [{}] }
  })
}
