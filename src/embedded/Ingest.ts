/**
 * Writes of the content store: a file of its own, which is renamed to its blob when it is complete and on the disk.
 *
 * A crash leaves the file and its record. The record of a write without a name goes with its lease; a write with a name
 * is taken up again where it stopped.
 *
 * @since 0.1.0
 */

import { createReadStream, mkdirSync } from "node:fs"
import { type FileHandle, open } from "node:fs/promises"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { ContainerdError, FailedPrecondition, NotFound, OutOfRange, Unavailable } from "../core/ContainerdError.ts"
import { labelsOf, type WriteOptions } from "../core/ContentStore.ts"
import { quietly } from "../core/Finalizer.ts"
import { Lease } from "../core/Leases.ts"
import { uniqueName } from "../core/UniqueName.ts"
import * as ProcessOwner from "../internal/ProcessOwner.ts"
import * as Digest from "../oci/Digest.ts"
import * as BlobRecords from "./BlobRecords.ts"
import { type Database, optionalText, type Sql, text } from "./Database.ts"
import { refuse, toContainerdError } from "./EmbeddedError.ts"
import * as Files from "./Files.ts"
import type { Labels } from "./Labels.ts"
import type { Paths } from "./Layout.ts"
import * as LeaseRecords from "./LeaseRecords.ts"

const method = "Content.Write"

/** Bytes that are written at once. */
const writeSize = 1024 * 1024

type Db = Database["Service"]

export interface Written {
  readonly digest: Digest.Digest
  /** Bytes. */
  readonly size: number
}

interface Request {
  readonly ref: string
  readonly lease: string
  readonly owner: string
  /** It has a name, under which somebody may go on with it. */
  readonly resumable: boolean
  readonly expected: WriteOptions["expected"]
  readonly labels: Labels
}

/** The blob is there, perhaps as anybody's garbage: from now on it is ours, too. */
const keepExisting = (
  sql: Sql,
  paths: Paths,
  digest: Digest.Digest,
  { labels, lease }: Request
): Option.Option<Written> => {
  const info = BlobRecords.adopt(sql, paths, digest)
  if (info === undefined) return Option.none()
  LeaseRecords.hold(sql, method, lease, { type: "content", id: digest })
  BlobRecords.mergeLabels(sql, method, info, labels)
  return Option.some({ digest, size: info.size })
}

/** Its directory is garbage then. */
const forget = (sql: Sql, ref: string): void => {
  sql.run("delete from ingests where ref = ?", ref)
  sql.run("delete from lease_resources where type = 'ingests' and id = ?", ref)
}

type Opened = { readonly id: string } | { readonly existing: Written }

/** A writer that died between the rename and the record: the blob is complete, and this ref stands for it. */
const finishRenamed = (sql: Sql, paths: Paths, id: string, digest: Digest.Digest, request: Request) => {
  const { expected } = request
  if (expected !== undefined && expected.digest !== digest) return Option.none<Written>()
  if (Files.sizeOf(paths.ingestData(id)) !== undefined) return Option.none<Written>()
  const existing = keepExisting(sql, paths, digest, request)
  if (Option.isSome(existing)) forget(sql, request.ref)
  return existing
}

/** Takes the ref, or finds that there is nothing to write. Throws `Unavailable` while another one writes to it. */
const begin = (sql: Sql, paths: Paths, request: Request): Opened => {
  const { expected, lease, owner, ref, resumable } = request
  LeaseRecords.check(sql, method, lease)
  const existing = expected === undefined ? Option.none() : keepExisting(sql, paths, expected.digest, request)
  if (Option.isSome(existing)) return { existing: existing.value }
  LeaseRecords.hold(sql, method, lease, { type: "ingests", id: ref })
  const row = sql.get("select id, owner, digest from ingests where ref = ?", ref)
  const total = expected?.size ?? 0
  const announced = resumable ? null : (expected?.digest ?? null)
  if (row === undefined) {
    const id = crypto.randomUUID()
    sql.run("insert into ingests values (?, ?, ?, ?, ?, ?)", ref, id, total, Date.now(), owner, announced)
    return { id }
  }
  const writer = optionalText(row, "owner")
  if (writer !== undefined && !ProcessOwner.isDead(writer)) {
    refuse(method, new Unavailable({ message: `ref ${ref} is locked: another writer is at it` }))
  }
  const id = text(row, "id")
  const digest = Digest.Digest.makeOption(optionalText(row, "digest") ?? "")
  const renamed = Option.flatMap(digest, (known) => finishRenamed(sql, paths, id, known, request))
  if (Option.isSome(renamed)) return { existing: renamed.value }
  sql.run("update ingests set owner = ?, total = ?, digest = ? where ref = ?", owner, total, announced, ref)
  return { id }
}

const aborted = (ref: string) => new NotFound({ message: `ingest ${ref} was aborted, or its lease is gone` })

/** So that whoever comes after a crash knows which blob the file became. */
const announce = (sql: Sql, { owner, ref }: Request, digest: Digest.Digest): void => {
  const changed = sql.run("update ingests set digest = ? where ref = ? and owner = ?", digest, ref, owner)
  if (changed === 0) refuse(method, aborted(ref))
}

/** The file gets its name and its record. Somebody may have written the same blob meanwhile: that is success. */
const settle = (sql: Sql, paths: Paths, id: string, request: Request, { digest, size }: Written): void => {
  const { labels, lease, owner, ref } = request
  if (sql.get("select 1 from ingests where ref = ? and owner = ?", ref, owner) === undefined) {
    refuse(method, aborted(ref))
  }
  if (Option.isNone(keepExisting(sql, paths, digest, request))) {
    BlobRecords.moveIntoPlace(paths, paths.ingestData(id), digest)
    BlobRecords.insert(sql, { digest, size, labels }, method)
    LeaseRecords.hold(sql, method, lease, { type: "content", id: digest })
  }
  forget(sql, ref)
}

/** Throws the ingest away. The file goes first: on a full disk there is room for the record's removal then. */
export const abort = Effect.fnUntraced(function* ({ paths, query, transaction }: Db, ref: string) {
  const row = yield* query("Content.Abort", (sql) => sql.get("select id from ingests where ref = ?", ref))
  if (row === undefined) return
  const id = text(row, "id")
  yield* Files.removeTree("Content.Abort", paths.ingest(id))
  yield* transaction("Content.Abort", (sql) => {
    if (sql.run("delete from ingests where ref = ? and id = ?", ref, id) === 0) return
    sql.run("delete from lease_resources where type = 'ingests' and id = ?", ref)
  })
})

const unlock = ({ transaction }: Db, { owner, ref }: Request) =>
  transaction(method, (sql) => sql.run("update ingests set owner = null where ref = ? and owner = ?", ref, owner))

const io = <A>(body: () => Promise<A>): Effect.Effect<A, ContainerdError> =>
  Effect.tryPromise({ try: body, catch: toContainerdError(method) })

/** For reading and appending; a new file when there is none. */
const openData = (paths: Paths, id: string) =>
  Effect.acquireRelease(
    io(async () => {
      mkdirSync(paths.ingest(id), { recursive: true })
      return open(paths.ingestData(id), "a+", 0o644)
    }),
    (file) => Effect.promise(() => file.close())
  )

/** What an earlier writer left counts, too. */
const hashExisting = (path: string, hasher: Digest.Hasher) =>
  io(async () => {
    const chunks: AsyncIterable<Uint8Array> = createReadStream(path, { highWaterMark: writeSize })
    for await (const chunk of chunks) hasher.update(chunk)
  })

/** Joins pieces in one buffer that is used again and again: pieces of their own would wait for the memory's collector. */
const makeAppender = (file: FileHandle, hasher: Digest.Hasher) => {
  const buffer = Buffer.allocUnsafeSlow(writeSize)
  let size = 0
  const flush = Effect.suspend(() => {
    const bytes = buffer.subarray(0, size)
    size = 0
    return bytes.length === 0 ? Effect.void : io(() => file.appendFile(bytes))
  })
  const push = (bytes: Uint8Array): Effect.Effect<void, ContainerdError> => {
    const part = bytes.subarray(0, buffer.length - size)
    buffer.set(part, size)
    size += part.length
    if (size < buffer.length) return Effect.void
    const rest = bytes.subarray(part.length)
    return rest.length === 0
      ? flush
      : Effect.andThen(
          flush,
          Effect.suspend(() => push(rest))
        )
  }
  return {
    flush,
    push: (bytes: Uint8Array) => {
      hasher.update(bytes)
      return push(bytes)
    }
  }
}

const tooLong = (ref: string, size: number) =>
  new ContainerdError({
    method,
    reason: new FailedPrecondition({ message: `${ref}: more than the expected ${size} bytes` })
  })

/** Writes the stream's bytes from where the file ends. The whole blob may be there already; then nothing is read. */
const appendAll = Effect.fnUntraced(function* <E, R>(
  file: FileHandle,
  hasher: Digest.Hasher,
  data: Stream.Stream<Uint8Array, E, R>,
  { expected, ref }: Request
) {
  const resumeAt = hasher.size
  if (resumeAt === expected?.size) return
  const { flush, push } = makeAppender(file, hasher)
  let position = 0
  yield* Stream.runForEach(data, (chunk) => {
    const skip = Math.min(Math.max(resumeAt - position, 0), chunk.length)
    position += chunk.length
    if (expected !== undefined && position > expected.size) return tooLong(ref, expected.size)
    return skip === chunk.length ? Effect.void : push(chunk.subarray(skip))
  })
  if (position < resumeAt) {
    const message = `${ref}: ${position} bytes of data, but ${resumeAt} were written before`
    return yield* new ContainerdError({ method, reason: new OutOfRange({ message }) })
  }
  yield* flush
})

const verify = (
  expected: WriteOptions["expected"],
  { digest, size }: Written
): Effect.Effect<void, ContainerdError> => {
  if (expected === undefined || (expected.digest === digest && expected.size === size)) return Effect.void
  const message = `expected ${expected.digest} (${expected.size} bytes), got ${digest} (${size} bytes)`
  return new ContainerdError({ method, reason: new FailedPrecondition({ message }) })
}

/** Another writer has the ref, perhaps one of ours that is not quite gone. */
const isLocked = ({ reason }: ContainerdError) => reason._tag === "Unavailable" && reason.message.includes("is locked")
const lockRetry = Schedule.exponential("5 millis").pipe(Schedule.jittered, Schedule.upTo({ times: 7 }))

/** Holds the ref until the scope closes; a write without a name that is not complete then is aborted. */
const acquire = (db: Db, request: Request) =>
  Effect.acquireRelease(
    db.transaction(method, (sql) => begin(sql, db.paths, request)),
    (opened, exit) => {
      if ("existing" in opened) return Effect.void
      if (Exit.isSuccess(exit))
        return quietly(`ingest ${request.ref}`)(Files.removeTree(method, db.paths.ingest(opened.id)))
      return quietly(`ingest ${request.ref}`)(request.resumable ? unlock(db, request) : abort(db, request.ref))
    }
  ).pipe(Effect.retry({ while: isLocked, schedule: lockRetry }))

/** Streams a blob in. Memory is bounded. */
export const write = Effect.fnUntraced(function* <E, R>(
  db: Db,
  data: Stream.Stream<Uint8Array, E, R>,
  options: Pick<WriteOptions, "expected" | "labels" | "ref">
) {
  const { id: lease } = yield* Lease
  const { expected, ref = uniqueName("effect-containerd") } = options
  const request: Request = {
    ref,
    lease,
    owner: `${ProcessOwner.current()} ${crypto.randomUUID()}`,
    resumable: options.ref !== undefined,
    expected,
    labels: typeof options.labels === "function" ? {} : labelsOf(options)
  }
  const opened = yield* acquire(db, request)
  if ("existing" in opened) return opened.existing
  const hasher = Digest.hasher(expected === undefined ? "sha256" : Digest.algorithm(expected.digest))
  const file = yield* openData(db.paths, opened.id)
  yield* hashExisting(db.paths.ingestData(opened.id), hasher)
  yield* appendAll(file, hasher, data, request)
  const written: Written = { digest: hasher.digest(), size: hasher.size }
  yield* verify(expected, written)
  yield* io(() => file.sync())
  // Where the digest was known before and nobody comes after, the record has it already.
  if (expected === undefined || request.resumable)
    yield* db.transaction(method, (sql) => announce(sql, request, written.digest))
  yield* db.transaction(method, (sql) =>
    settle(sql, db.paths, opened.id, { ...request, labels: labelsOf(options) }, written)
  )
  return written
}, Effect.scoped)
