/**
 * Garbage collection by containerd's rules.
 *
 * Roots are leases that are not expired, images, containers and what has the label `containerd.io/gc.root`; references
 * are the labels `containerd.io/gc.ref.…` and the parents of snapshots. Other than containerd, of a blob without
 * such labels the document itself is followed, because the tools that write OCI layouts set none.
 *
 * It runs on demand and when a lease that held something is deleted.
 *
 * @since 0.1.0
 */
import { rmSync } from "node:fs"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { ContainerdError } from "../core/ContainerdError.ts"
import * as BlobRecords from "./BlobRecords.ts"
import { Database, type Sql } from "./Database.ts"
import * as Files from "./Files.ts"
import * as Garbage from "./Garbage.ts"
import type { Paths } from "./Layout.ts"
import { mark, type Snapshot, type Unreferenced } from "./Mark.ts"

export interface Item {
  readonly kind: "blob" | "ingest" | "snapshot" | "lease"
  /** Digest, ref, key or name, lease id; of a directory that nobody knows, its name. */
  readonly id: string
  /** Bytes on the disk. */
  readonly size: number
}

export interface Collected {
  readonly items: ReadonlyArray<Item>
  /** The sum. */
  readonly bytes: number
}

export interface Options {
  /** Only tells what would be removed. */
  readonly dryRun?: boolean | undefined
}

const method = "Embedded.gc"

/** From then on nobody finds them. */
const erase = (sql: Sql, found: Unreferenced): void => {
  for (const { digest, recorded } of found.blobs) {
    if (recorded) BlobRecords.remove(sql, digest)
    else sql.run("insert or ignore into garbage values (?)", digest)
  }
  for (const { name } of found.snapshots) sql.run("delete from snapshots where name = ?", name)
  for (const { ref } of found.ingests) sql.run("delete from ingests where ref = ?", ref)
  for (const id of found.leases) sql.run("delete from leases where id = ?", id)
  for (const path of found.temporaries) rmSync(path, { force: true })
}

/** No directory's name is ever used again, so nobody has to be kept away. */
const removeDirectories = (paths: Paths, { directories, ingests, snapshots }: Unreferenced) =>
  Effect.forEach(
    [
      ...ingests.map(({ id }) => paths.ingest(id)),
      ...snapshots.map(({ id }) => paths.snapshot(id)),
      ...directories.map((directory) => directoryPath(paths, directory))
    ],
    // A child of a process that died may still write into it: then it is the next collection's.
    (path) =>
      Effect.catchReason(Files.removeTree(method, path), "ContainerdError", "FailedPrecondition", () => Effect.void),
    { discard: true }
  )

const directoryPath = (paths: Paths, { id, kind }: Unreferenced["directories"][number]) =>
  kind === "ingest" ? paths.ingest(id) : paths.snapshot(id)

/** A view has no files of its own, and what somebody else sweeps at the same time has none any more. */
const sizeOfTree = (path: string) =>
  Files.measureTree(method, path).pipe(
    Effect.map(({ size }) => size),
    Effect.catchReason("ContainerdError", "NotFound", () => Effect.succeed(0))
  )

type Db = Database["Service"]

const snapshotItem = Effect.fnUntraced(function* ({ paths }: Db, { id, name, size }: Snapshot) {
  const item: Item = { kind: "snapshot", id: name, size: size ?? (yield* sizeOfTree(paths.snapshot(id))) }
  return item
})

const directoryItem = Effect.fnUntraced(function* ({ paths }: Db, directory: Unreferenced["directories"][number]) {
  const { id, kind } = directory
  const item: Item = { kind, id, size: yield* sizeOfTree(directoryPath(paths, directory)) }
  return item
})

const describe = Effect.fnUntraced(function* (db: Db, found: Unreferenced) {
  const items: ReadonlyArray<Item> = [
    ...found.blobs.map(({ digest, size }): Item => ({ kind: "blob", id: digest, size })),
    ...(yield* Effect.forEach(found.snapshots, (snapshot) => snapshotItem(db, snapshot))),
    ...found.ingests.map(
      ({ id, ref }): Item => ({ kind: "ingest", id: ref, size: Files.sizeOf(db.paths.ingestData(id)) ?? 0 })
    ),
    ...(yield* Effect.forEach(found.directories, (directory) => directoryItem(db, directory))),
    ...found.leases.map((id): Item => ({ kind: "lease", id, size: 0 }))
  ]
  const collected: Collected = { items, bytes: items.reduce((sum, { size }) => sum + size, 0) }
  return collected
})

/** For those who have the database at hand. */
export const collect = Effect.fnUntraced(function* (
  db: Db,
  { dryRun = false }: Options = {}
): Effect.fn.Return<Collected, ContainerdError> {
  const now = yield* Clock.currentTimeMillis
  // Exclusively, also when nothing is changed: files and records are looked at together.
  const found = yield* db.transaction(method, (sql) => {
    const unreferenced = mark(sql, db.paths, now)
    if (!dryRun) erase(sql, unreferenced)
    return unreferenced
  })
  const collected = yield* describe(db, found)
  if (dryRun) return collected
  yield* Garbage.sweep(db)
  yield* removeDirectories(db.paths, found)
  return collected
})

/**
 * Removes what nothing refers to, and gives what that was. Safe beside other processes: what they write under a lease
 * stays. A collection that is interrupted is finished by the next.
 */
export const gc = (options?: Options): Effect.Effect<Collected, ContainerdError, Database> =>
  Effect.flatMap(Database, (db) => collect(db, options))
