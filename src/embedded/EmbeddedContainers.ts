/**
 * Container records.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { AlreadyExists, type ContainerdError, InvalidArgument, NotFound } from "../core/ContainerdError.ts"
import { type Container, Containers } from "../core/Containers.ts"
import { bytes, Database, type Row, text } from "./Database.ts"
import { refuse } from "./EmbeddedError.ts"
import * as Filter from "./Filter.ts"
import * as Labels from "./Labels.ts"

const fromRow = (row: Row): Container => ({
  id: text(row, "id"),
  labels: Labels.decode(text(row, "labels")),
  image: text(row, "image"),
  runtime: text(row, "runtime"),
  snapshotter: text(row, "snapshotter"),
  snapshotKey: text(row, "snapshot_key"),
  spec: bytes(row, "spec")
})

const columns = "id, labels, image, runtime, snapshotter, snapshot_key, spec"

const fieldsOf = ({ id, image, labels, runtime }: Container): Filter.Fields => {
  const record = Filter.record({ id, image }, labels)
  return (path) => (path.join(".") === "runtime.name" ? runtime : record(path))
}

export const alreadyExists = (id: string) =>
  new AlreadyExists({ message: `container ${JSON.stringify(id)}: already exists` })

/**
 * Makes the record. From then on it keeps its snapshot, so the snapshot comes first, under a lease. Fails with
 * `AlreadyExists`.
 */
export const create = (container: Container): Effect.Effect<void, ContainerdError, Database> =>
  Effect.flatMap(Database, ({ transaction }) =>
    transaction("Containers.Create", (sql) => {
      const { id, image, labels, runtime, snapshotKey, snapshotter, spec } = container
      if (id === "") refuse("Containers.Create", new InvalidArgument({ message: "a container needs an id" }))
      if (sql.get("select 1 from containers where id = ?", id) !== undefined) {
        refuse("Containers.Create", alreadyExists(id))
      }
      sql.run(
        "insert into containers values (?, ?, ?, ?, ?, ?, ?, ?)",
        ...[id, Labels.encode("Containers.Create", labels), image, runtime, snapshotter, snapshotKey, spec, Date.now()]
      )
    })
  )

/** Its snapshot is garbage then, unless a lease holds it. A record that is gone already is success. */
export const remove = (id: string): Effect.Effect<void, ContainerdError, Database> =>
  Effect.flatMap(Database, ({ transaction }) =>
    Effect.asVoid(transaction("Containers.Delete", (sql) => sql.run("delete from containers where id = ?", id)))
  )

const make = Effect.gen(function* () {
  const { query } = yield* Database
  return Containers.of({
    get: (id) =>
      query("Containers.Get", (sql) => {
        const row = sql.get(`select ${columns} from containers where id = ?`, id)
        if (row !== undefined) return fromRow(row)
        return refuse("Containers.Get", new NotFound({ message: `container ${JSON.stringify(id)}: not found` }))
      }),
    list: (filters = []) =>
      query("Containers.List", (sql) => {
        const matches = Filter.any("Containers.List", filters)
        const containers = sql.all(`select ${columns} from containers order by id`).map(fromRow)
        return containers.filter((container) => matches(fieldsOf(container)))
      }).pipe(Effect.map(Stream.fromIterable), Stream.unwrap)
  })
})

export const layer: Layer.Layer<Containers, never, Database> = Layer.effect(Containers, make)
