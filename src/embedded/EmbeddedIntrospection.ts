/** @since 0.1.0 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Introspection } from "../core/Introspection.ts"
import { Database, text } from "./Database.ts"

const make = Effect.gen(function* () {
  const { query } = yield* Database
  return Introspection.of({
    version: query("Introspection.Version", (sql) => {
      const row = sql.get("select sqlite_version() as version")
      return `embedded (SQLite ${row === undefined ? "of unknown version" : text(row, "version")})`
    })
  })
})

export const layer: Layer.Layer<Introspection, never, Database> = Layer.effect(Introspection, make)
