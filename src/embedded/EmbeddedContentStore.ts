/**
 * Blobs as files of the layout, with their labels in the state database.
 *
 * @since 0.1.0
 */
import { type FileHandle, open } from "node:fs/promises"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { ContainerdError, OutOfRange, Unknown } from "../core/ContainerdError.ts"
import { ContentStore, type Info } from "../core/ContentStore.ts"
import { Lease } from "../core/Leases.ts"
import * as Descriptor from "../oci/Descriptor.ts"
import * as Digest from "../oci/Digest.ts"
import * as BlobRecords from "./BlobRecords.ts"
import { Database, integer, text } from "./Database.ts"
import { refuse, toContainerdError } from "./EmbeddedError.ts"
import * as Files from "./Files.ts"
import * as Filter from "./Filter.ts"
import * as Garbage from "./Garbage.ts"
import * as Ingest from "./Ingest.ts"
import * as LeaseRecords from "./LeaseRecords.ts"

/** Bytes of one chunk when a blob is read. */
const readSize = 512 * 1024

const readChunk = (file: FileHandle, position: number, { digest, size }: Info) =>
  Effect.tryPromise({
    try: async () => {
      const buffer = Buffer.allocUnsafe(Math.min(readSize, size - position))
      const { bytesRead } = await file.read(buffer, 0, buffer.length, position)
      if (bytesRead > 0) return buffer.subarray(0, bytesRead)
      return refuse("Content.Read", new Unknown({ message: `${digest} ends after ${position} of ${size} bytes` }))
    },
    catch: toContainerdError("Content.Read")
  })

/** The file stays open until the end of the stream, so a collection meanwhile does no harm. */
const readFrom = (path: string, info: Info, offset: number): Stream.Stream<Uint8Array, ContainerdError> =>
  Effect.acquireRelease(
    Effect.tryPromise({ try: () => open(path, "r"), catch: toContainerdError("Content.Read") }),
    (file) => Effect.promise(() => file.close())
  ).pipe(
    Effect.map((file) =>
      Stream.paginate(offset, (position) =>
        Effect.map(readChunk(file, position, info), (chunk): readonly [Array<Uint8Array>, Option.Option<number>] => {
          const next = position + chunk.length
          return [[chunk], next < info.size ? Option.some(next) : Option.none()]
        })
      )
    ),
    Stream.unwrap
  )

const fieldsOf = ({ digest, labels, size }: Info) => Filter.record({ digest, size: String(size) }, labels)

const make = Effect.gen(function* () {
  const db = yield* Database
  const { paths, query, transaction } = db

  const info = Effect.fnUntraced(function* (method: string, digest: Digest.Digest) {
    const found = yield* query(method, (sql) => BlobRecords.find(sql, digest))
    return found ?? (yield* transaction(method, (sql) => BlobRecords.get(sql, paths, method, digest)))
  })

  const read = Effect.fnUntraced(function* (digest: Digest.Digest, offset: number) {
    const found = yield* info("Content.Read", digest)
    if (offset > found.size) {
      const message = `offset ${offset} is beyond the ${found.size} bytes of ${digest}`
      return yield* new ContainerdError({ method: "Content.Read", reason: new OutOfRange({ message }) })
    }
    return offset === found.size ? Stream.empty : readFrom(paths.blob(digest), found, offset)
  })

  return ContentStore.of({
    info: (digest) => info("Content.Info", digest),
    read: (digest, options) => Stream.unwrap(read(digest, Math.max(options?.offset ?? 0, 0))),
    write: Effect.fnUntraced(function* (data, options) {
      return Descriptor.make({ mediaType: options.mediaType, ...(yield* Ingest.write(db, data, options)) })
    }),
    writeBytes: Effect.fnUntraced(function* (bytes, { labels, mediaType }) {
      // The digest is known before, so a document that is there already costs no file.
      const expected = { digest: Digest.fromBytes(bytes), size: bytes.length }
      return Descriptor.make({ mediaType, ...(yield* Ingest.write(db, Stream.make(bytes), { labels, expected })) })
    }),
    setLabels: (digest, labels) =>
      transaction("Content.Update", (sql) =>
        BlobRecords.mergeLabels(sql, "Content.Update", BlobRecords.get(sql, paths, "Content.Update", digest), labels)
      ),
    list: (filters = []) =>
      query("Content.List", (sql) => {
        const matches = Filter.any("Content.List", filters)
        const rows = sql.all("select digest, size, labels from blobs order by digest")
        return rows.map(BlobRecords.fromRow).filter((blob) => matches(fieldsOf(blob)))
      }).pipe(Effect.map(Stream.fromIterable), Stream.unwrap),
    delete: Effect.fnUntraced(function* (digest) {
      const lease = yield* Effect.serviceOption(Lease)
      yield* transaction("Content.Delete", (sql) => {
        // A file that another tool wrote has no record yet, and would be back with the next look.
        BlobRecords.adopt(sql, paths, digest)
        BlobRecords.remove(sql, digest)
        if (Option.isSome(lease)) LeaseRecords.release(sql, lease.value.id, { type: "content", id: digest })
      })
      yield* Garbage.sweepBlobs(db, [digest])
    }),
    ingests: query("Content.ListStatuses", (sql) =>
      sql.all("select ref, id, total from ingests order by ref").map((row) => ({
        ref: text(row, "ref"),
        offset: Files.sizeOf(paths.ingestData(text(row, "id"))) ?? 0,
        total: integer(row, "total")
      }))
    ),
    abort: (ref) => Ingest.abort(db, ref)
  })
})

export const layer: Layer.Layer<ContentStore, never, Database> = Layer.effect(ContentStore, make)
