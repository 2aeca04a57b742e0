/**
 * One snapshotter, `directory`: each snapshot is a whole directory, a child begins as a copy of its parent.
 *
 * @since 0.1.0
 */

import { mkdir } from "node:fs/promises"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { ContainerdError, FailedPrecondition, InvalidArgument } from "../core/ContainerdError.ts"
import { quietly } from "../core/Finalizer.ts"
import { Lease, snapshotResource } from "../core/Leases.ts"
import type { Mount } from "../core/Mount.ts"
import * as Snapshotter from "../core/Snapshotter.ts"
import * as ProcessOwner from "../internal/ProcessOwner.ts"
import { Database } from "./Database.ts"
import { toContainerdError } from "./EmbeddedError.ts"
import * as Files from "./Files.ts"
import * as Filter from "./Filter.ts"
import { type Paths, snapshotter } from "./Layout.ts"
import * as LeaseRecords from "./LeaseRecords.ts"
import * as SnapshotFiles from "./SnapshotFiles.ts"
import * as SnapshotRecords from "./SnapshotRecords.ts"
import { copyTree } from "./TreeCopy.ts"

const bind = (source: string, access: "rw" | "ro"): ReadonlyArray<Mount> => [
  { type: "bind", source, target: "", options: ["rbind", access] }
]

/** A view shows its parent's own directory. */
const mountsOf = (paths: Paths, id: string, kind: "active" | "view", parent: SnapshotRecords.Record | undefined) =>
  kind === "active" ? bind(paths.fs(id), "rw") : bind(paths.fs(parent?.id ?? id), "ro")

const fieldsOf = ({ kind, labels, name, parent }: Snapshotter.Info) => Filter.record({ kind, name, parent }, labels)

const toInfo = ({ kind, labels, name, parent }: SnapshotRecords.Record): Snapshotter.Info => ({
  kind,
  labels,
  name,
  parent
})

type Db = Database["Service"]

/** The directory of a new snapshot, with what its parent holds. */
const fill = (paths: Paths, kind: "active" | "view", { id, parent }: SnapshotRecords.Reservation) => {
  if (parent !== undefined && kind === "view") return Effect.void
  const made = Effect.tryPromise({
    try: async () => {
      await mkdir(paths.snapshot(id))
      // The mode is for the empty file system; a copy takes the parent's.
      await mkdir(paths.fs(id), { mode: 0o755 })
    },
    catch: toContainerdError("Snapshots.Prepare")
  })
  if (parent === undefined) return made
  const inherited = Effect.try({
    try: () => SnapshotFiles.inherit(paths, parent.id, id),
    catch: toContainerdError("Snapshots.Prepare")
  })
  return made.pipe(Effect.andThen(copyTree(paths.fs(parent.id), paths.fs(id))), Effect.andThen(inherited))
}

/** Reserves the key, fills the directory, publishes it: a crash in between leaves what the next collection removes. */
const create = Effect.fnUntraced(function* (db: Db, kind: "active" | "view", options: Snapshotter.PrepareOptions) {
  const { paths, transaction } = db
  const method = kind === "active" ? "Snapshots.Prepare" : "Snapshots.View"
  const { id: lease } = yield* Lease
  const owner = `${ProcessOwner.current()} ${crypto.randomUUID()}`
  // Files first: nobody sees the snapshot, and on a full disk there is room for the record's removal then.
  const discard = (id: string) =>
    Effect.andThen(
      Files.removeTree(method, paths.snapshot(id)),
      transaction(method, (sql) => SnapshotRecords.discard(sql, lease, options.key, id))
    )
  const reserved = yield* Effect.acquireRelease(
    transaction(method, (sql) => SnapshotRecords.reserve(sql, method, lease, owner, kind, options)),
    (reservation, exit) =>
      reservation === undefined || Exit.isSuccess(exit)
        ? Effect.void
        : quietly(`snapshot ${options.key}`)(discard(reservation.id))
  )
  if (reserved === undefined) {
    return yield* new ContainerdError({ method, reason: SnapshotRecords.alreadyExists(options.key) })
  }
  yield* fill(paths, kind, reserved)
  yield* transaction(method, (sql) => SnapshotRecords.publish(sql, method, options.key, owner))
  return mountsOf(paths, reserved.id, kind, reserved.parent)
}, Effect.scoped)

const mounts = ({ paths, query }: Db, key: string) =>
  Effect.gen(function* () {
    const [record, parent] = yield* query("Snapshots.Mounts", (sql) => {
      const found = SnapshotRecords.get(sql, "Snapshots.Mounts", key)
      return [found, SnapshotRecords.find(sql, found.parent)] as const
    })
    if (record.kind === "active" || record.kind === "view") return mountsOf(paths, record.id, record.kind, parent)
    const message = `snapshot ${JSON.stringify(key)} is committed: it has no mounts, its views have`
    return yield* new ContainerdError({ method: "Snapshots.Mounts", reason: new FailedPrecondition({ message }) })
  })

const usage = Effect.fnUntraced(function* ({ paths, query }: Db, key: string) {
  const record = yield* query("Snapshots.Usage", (sql) => SnapshotRecords.get(sql, "Snapshots.Usage", key))
  if (record.usage !== undefined) return record.usage
  // A view has no files of its own.
  if (record.kind === "view") return { size: 0, inodes: 0 }
  return yield* Files.measureTree("Snapshots.Usage", paths.fs(record.id))
})

const commit = Effect.fnUntraced(function* (
  db: Db,
  name: string,
  key: string,
  labels: Readonly<Record<string, string>>
) {
  const { id: lease } = yield* Lease
  const size = yield* usage(db, key)
  const done = yield* db.transaction("Snapshots.Commit", (sql) =>
    SnapshotRecords.commit(sql, lease, name, key, labels, size)
  )
  if (done) return
  return yield* new ContainerdError({ method: "Snapshots.Commit", reason: SnapshotRecords.alreadyExists(name) })
})

const remove = Effect.fnUntraced(function* (db: Db, key: string) {
  const lease = yield* Effect.serviceOption(Lease)
  const id = yield* db.transaction("Snapshots.Remove", (sql) => {
    const removed = SnapshotRecords.remove(sql, key)
    if (Option.isSome(lease)) LeaseRecords.release(sql, lease.value.id, snapshotResource(snapshotter, key))
    return removed
  })
  if (id !== undefined) yield* Files.removeTree("Snapshots.Remove", db.paths.snapshot(id))
})

const primitives = (db: Db): Snapshotter.Primitives => ({
  stat: (key) =>
    Effect.map(
      db.query("Snapshots.Stat", (sql) => SnapshotRecords.get(sql, "Snapshots.Stat", key)),
      toInfo
    ),
  mounts: (key) => mounts(db, key),
  usage: (key) => usage(db, key),
  list: (filters = []) =>
    db
      .query("Snapshots.List", (sql) => {
        const matches = Filter.any("Snapshots.List", filters)
        return SnapshotRecords.list(sql)
          .map(toInfo)
          .filter((info) => matches(fieldsOf(info)))
      })
      .pipe(Effect.map(Stream.fromIterable), Stream.unwrap),
  prepare: (options) => create(db, "active", options),
  view: (options) => create(db, "view", options),
  commit: (name, key, labels) => commit(db, name, key, labels),
  remove: (key) => remove(db, key)
})

/** What containerd answers for a snapshotter that it has not. */
const unknown = (name: string): Snapshotter.Primitives => {
  const message = `there is no snapshotter ${JSON.stringify(name)}: the embedded backend has "${snapshotter}"`
  const failure = new ContainerdError({ method: "Snapshots", reason: new InvalidArgument({ message }) })
  const fail = () => failure
  return {
    stat: fail,
    mounts: fail,
    usage: fail,
    list: () => Stream.fail(failure),
    prepare: fail,
    view: fail,
    commit: fail,
    remove: fail
  }
}

const make = Effect.gen(function* () {
  const db = yield* Database
  return Snapshotter.Snapshotters.of({
    get: (name) => Snapshotter.make(name, name === snapshotter ? primitives(db) : unknown(name)),
    defaultName: Effect.succeed(snapshotter),
    available: Effect.succeed([snapshotter])
  })
})

export const layer: Layer.Layer<Snapshotter.Snapshotters, never, Database> = Layer.effect(
  Snapshotter.Snapshotters,
  make
)
