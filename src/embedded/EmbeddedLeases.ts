/**
 * Leases as records. The deletion of one that held something collects what nobody else holds.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { AlreadyExists, InvalidArgument } from "../core/ContainerdError.ts"
import { Lease, type LeaseInfo, Leases, type Resource } from "../core/Leases.ts"
import * as Digest from "../oci/Digest.ts"
import { Database, type Row, text } from "./Database.ts"
import { refuse } from "./EmbeddedError.ts"
import * as Filter from "./Filter.ts"
import * as Gc from "./Gc.ts"
import * as Labels from "./Labels.ts"
import * as LeaseRecords from "./LeaseRecords.ts"

const toLease = (row: Row): LeaseInfo => ({ id: text(row, "id"), labels: Labels.decode(text(row, "labels")) })

const isType = (type: string): type is Resource["type"] =>
  type === "content" || type === "ingests" || type.startsWith("snapshots/")

const toResource = (row: Row): ReadonlyArray<Resource> => {
  const type = text(row, "type")
  return isType(type) ? [{ type, id: text(row, "id") }] : []
}

const validate = (method: string, { id, type }: Resource): void => {
  if (type === "content" && !Digest.is(id)) {
    refuse(method, new InvalidArgument({ message: `${JSON.stringify(id)} is no digest` }))
  }
  if (type === "snapshots/") refuse(method, new InvalidArgument({ message: `${type} names no snapshotter` }))
}

const make = Effect.gen(function* () {
  const db = yield* Database
  const { query, transaction } = db

  /** True when the lease held something. */
  const remove = (id: string) =>
    transaction("Leases.Delete", (sql) => {
      const held = sql.run("delete from lease_resources where lease = ?", id)
      sql.run("delete from leases where id = ?", id)
      return held > 0
    })

  return Leases.of({
    create: ({ id, labels }) =>
      transaction("Leases.Create", (sql) => {
        if (id === "") refuse("Leases.Create", new InvalidArgument({ message: "a lease needs an id" }))
        if (sql.get("select 1 from leases where id = ?", id) !== undefined) {
          refuse("Leases.Create", new AlreadyExists({ message: `lease ${JSON.stringify(id)}: already exists` }))
        }
        sql.run("insert into leases values (?, ?, ?)", id, Labels.encode("Leases.Create", labels), Date.now())
      }),
    delete: Effect.fnUntraced(function* (id, options) {
      const held = yield* remove(id)
      if (options?.sync === true) yield* Gc.collect(db)
      // The lease is gone; what it held is garbage now, whether it can be removed at once or not.
      else if (held) yield* Effect.ignoreCause(Gc.collect(db), { log: "Warn", message: "garbage collection failed" })
    }),
    list: (filters = []) =>
      query("Leases.List", (sql) => {
        const matches = Filter.any("Leases.List", filters)
        const leases = sql.all("select id, labels from leases order by id").map(toLease)
        return leases.filter(({ id, labels }) => matches(Filter.record({ id }, labels)))
      }),
    resources: (id) =>
      query("Leases.ListResources", (sql) => {
        LeaseRecords.check(sql, "Leases.ListResources", id)
        return sql.all("select type, id from lease_resources where lease = ?", id).flatMap(toResource)
      }),
    addResource: Effect.fnUntraced(function* (resource) {
      const { id } = yield* Lease
      yield* transaction("Leases.AddResource", (sql) => {
        validate("Leases.AddResource", resource)
        LeaseRecords.hold(sql, "Leases.AddResource", id, resource)
      })
    })
  })
})

export const layer: Layer.Layer<Leases, never, Database> = Layer.effect(Leases, make)
