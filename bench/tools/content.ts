/** What is in an image, and in a document. */
import { existsSync, lstatSync, readdirSync } from "node:fs"
import { join } from "node:path"
import { Effect, Schema } from "effect"
import { DaemonError } from "../../test/support/Process.ts"
import type { Content } from "./Place.ts"

const sizesBelow = (directory: string): ReadonlyArray<number> =>
  readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const path = join(directory, entry.name)
    return entry.isDirectory() ? sizesBelow(path) : [lstatSync(path).size]
  })

/** Of the benchmark's files in an image's root file system. */
export const count = (root: string): Effect.Effect<Content, DaemonError> =>
  Effect.try({
    try: () => {
      const sizes = existsSync(join(root, "tree")) ? sizesBelow(join(root, "tree")) : []
      return { files: sizes.length, bytes: sizes.reduce((sum, size) => sum + size, 0) }
    },
    catch: (error) => new DaemonError({ command: `count the files of ${root}`, detail: String(error) })
  })

/** A JSON document that a tool gave. */
export const parse = <S extends Schema.ConstraintDecoder<unknown>>(schema: S) => {
  const decode = Schema.decodeUnknownEffect(Schema.fromJsonString(schema))
  return (text: string) =>
    Effect.mapError(decode(text), ({ message }) => new DaemonError({ command: "read an answer", detail: message }))
}
