/**
 * The records of snapshots. One that is still being filled has an owner, and nobody but the owner sees it.
 *
 * @since 0.1.0
 */

import { AlreadyExists, FailedPrecondition, InvalidArgument, NotFound } from "../core/ContainerdError.ts"
import { snapshotResource } from "../core/Leases.ts"
import type * as Snapshotter from "../core/Snapshotter.ts"
import * as ProcessOwner from "../internal/ProcessOwner.ts"
import { integer, optionalText, type Row, type Sql, text } from "./Database.ts"
import { refuse } from "./EmbeddedError.ts"
import type { TreeSize } from "./Files.ts"
import * as Labels from "./Labels.ts"
import { snapshotter } from "./Layout.ts"
import * as LeaseRecords from "./LeaseRecords.ts"

export interface Record extends Snapshotter.Info {
  /** Names its directory. */
  readonly id: string
  /** Of a committed snapshot. */
  readonly usage: TreeSize | undefined
}

const toKind = (kind: string): Snapshotter.Info["kind"] =>
  kind === "active" || kind === "view" || kind === "committed" ? kind : "unknown"

const fromRow = (row: Row): Record => ({
  name: text(row, "name"),
  id: text(row, "id"),
  parent: text(row, "parent"),
  kind: toKind(text(row, "kind")),
  labels: Labels.decode(text(row, "labels")),
  usage: row["size"] === null ? undefined : { size: integer(row, "size"), inodes: integer(row, "inodes") }
})

const columns = "name, id, parent, kind, labels, size, inodes"

export const find = (sql: Sql, name: string): Record | undefined => {
  const row = sql.get(`select ${columns} from snapshots where name = ? and owner is null`, name)
  return row === undefined ? undefined : fromRow(row)
}

/** Throws `NotFound`. */
export const get = (sql: Sql, method: string, name: string): Record =>
  find(sql, name) ??
  refuse(method, new NotFound({ message: `snapshot ${JSON.stringify(name)} does not exist: not found` }))

export const list = (sql: Sql): ReadonlyArray<Record> =>
  sql.all(`select ${columns} from snapshots where owner is null order by name`).map(fromRow)

const hold = (sql: Sql, method: string, lease: string, name: string) =>
  LeaseRecords.hold(sql, method, lease, snapshotResource(snapshotter, name))

export const alreadyExists = (name: string) =>
  new AlreadyExists({ message: `snapshot ${JSON.stringify(name)}: already exists` })

/** True when the name is taken. What somebody who died was filling is thrown away. */
const isTaken = (sql: Sql, name: string): boolean => {
  const row = sql.get("select owner from snapshots where name = ?", name)
  if (row === undefined) return false
  const owner = optionalText(row, "owner")
  if (owner === undefined || !ProcessOwner.isDead(owner)) return true
  sql.run("delete from snapshots where name = ?", name)
  return false
}

const checkParent = (sql: Sql, method: string, parent: string): Record | undefined => {
  if (parent === "") return undefined
  const record = get(sql, method, parent)
  if (record.kind === "committed") return record
  return refuse(
    method,
    new InvalidArgument({ message: `parent ${JSON.stringify(parent)} is not a committed snapshot` })
  )
}

export interface Reservation {
  readonly id: string
  readonly parent: Record | undefined
}

/** Reserves the key, under the lease. `undefined` when the key is taken: then it is under the lease, as in containerd. */
export const reserve = (
  sql: Sql,
  method: string,
  lease: string,
  owner: string,
  kind: "active" | "view",
  { key, labels = {}, parent }: Snapshotter.PrepareOptions
): Reservation | undefined => {
  if (key === "") refuse(method, new InvalidArgument({ message: "a snapshot needs a key" }))
  hold(sql, method, lease, key)
  if (isTaken(sql, key)) return undefined
  const below = checkParent(sql, method, parent)
  const id = crypto.randomUUID()
  const encoded = Labels.encode(method, labels)
  sql.run(
    "insert into snapshots values (?, ?, ?, ?, ?, null, null, ?, ?)",
    ...[key, id, parent, kind, encoded, Date.now(), owner]
  )
  return { id, parent: below }
}

/** From then on everybody sees it. */
export const publish = (sql: Sql, method: string, key: string, owner: string): void => {
  const changed = sql.run("update snapshots set owner = null where name = ? and owner = ?", key, owner)
  if (changed === 0) refuse(method, new NotFound({ message: `snapshot ${JSON.stringify(key)} was removed meanwhile` }))
}

/** Undoes a reservation whose directory is gone. */
export const discard = (sql: Sql, lease: string, key: string, id: string): void => {
  if (sql.run("delete from snapshots where name = ? and id = ?", key, id) === 0) return
  LeaseRecords.release(sql, lease, snapshotResource(snapshotter, key))
}

/** False when the name is taken: then that snapshot is under the lease, and the active one stays. */
export const commit = (
  sql: Sql,
  lease: string,
  name: string,
  key: string,
  labels: Labels.Labels,
  usage: TreeSize
): boolean => {
  const method = "Snapshots.Commit"
  if (name === "") refuse(method, new InvalidArgument({ message: "a committed snapshot needs a name" }))
  const { kind } = get(sql, method, key)
  if (kind !== "active") {
    refuse(method, new FailedPrecondition({ message: `snapshot ${JSON.stringify(key)} is not active` }))
  }
  hold(sql, method, lease, name)
  if (isTaken(sql, name)) return false
  sql.run(
    "update snapshots set name = ?, kind = 'committed', labels = ?, size = ?, inodes = ? where name = ?",
    ...[name, Labels.encode(method, labels), usage.size, usage.inodes, key]
  )
  LeaseRecords.release(sql, lease, snapshotResource(snapshotter, key))
  return true
}

/** Gives the directory to remove, if there is one. Throws `FailedPrecondition` for a snapshot with children. */
export const remove = (sql: Sql, key: string): string | undefined => {
  const record = find(sql, key)
  if (record === undefined) return undefined
  if (sql.get("select 1 from snapshots where parent = ?", key) !== undefined) {
    const message = `cannot remove snapshot ${JSON.stringify(key)} with children`
    refuse("Snapshots.Remove", new FailedPrecondition({ message }))
  }
  sql.run("delete from snapshots where name = ?", key)
  return record.id
}
