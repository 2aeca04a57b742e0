/**
 * Lease records, for those who put what they make under the current lease in the same transaction.
 *
 * @since 0.1.0
 */
import { NotFound } from "../core/ContainerdError.ts"
import type { Resource } from "../core/Leases.ts"
import type { Sql } from "./Database.ts"
import { refuse } from "./EmbeddedError.ts"

/** Throws `NotFound`. An expired lease is good until a collection removes it, as in containerd. */
export const check = (sql: Sql, method: string, lease: string): void => {
  if (sql.get("select 1 from leases where id = ?", lease) === undefined) {
    refuse(method, new NotFound({ message: `lease ${JSON.stringify(lease)} does not exist` }))
  }
}

/** Throws `NotFound` when the lease is gone. */
export const hold = (sql: Sql, method: string, lease: string, { id, type }: Resource): void => {
  check(sql, method, lease)
  sql.run("insert or ignore into lease_resources values (?, ?, ?)", lease, type, id)
}

export const release = (sql: Sql, lease: string, { id, type }: Resource): void => {
  sql.run("delete from lease_resources where lease = ? and type = ? and id = ?", lease, type, id)
}
