/**
 * Removes the files of blobs whose records are gone. The `garbage` table names them, so a crash in between is made good
 * by the next one who sweeps. (A directory needs no such note: without a record it is garbage, see `Mark.ts`.)
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Digest from "../oci/Digest.ts"
import * as BlobRecords from "./BlobRecords.ts"
import { type Database, text } from "./Database.ts"
import * as Files from "./Files.ts"

type Db = Database["Service"]

const method = "Embedded.gc"

/** Files in one transaction, so that nobody waits long. */
const batchSize = 64

/**
 * Exclusively, because a writer who brings the same blob again renames its file and makes its record exclusively, too:
 * either the file is removed before that, or it is no garbage any more.
 */
export const sweepBlobs = Effect.fnUntraced(function* (
  { paths, transaction }: Db,
  digests: ReadonlyArray<Digest.Digest>
) {
  for (let i = 0; i < digests.length; i += batchSize) {
    yield* transaction(method, (sql) => {
      for (const digest of digests.slice(i, i + batchSize)) {
        if (BlobRecords.isGarbage(sql, digest)) Files.unlinkIfThere(paths.blob(digest))
        sql.run("delete from garbage where digest = ?", digest)
      }
    })
  }
})

/** Every blob that the table names. */
export const sweep = Effect.fnUntraced(function* (db: Db) {
  const rows = yield* db.query(method, (sql) => sql.all("select digest from garbage"))
  yield* sweepBlobs(
    db,
    rows.flatMap((row) => Option.toArray(Digest.Digest.makeOption(text(row, "digest"))))
  )
})
