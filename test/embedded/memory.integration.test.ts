/** What a commit takes of memory, in a process of its own. */
import { execFile } from "node:child_process"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import * as Trees from "../layer/Trees.ts"

const script = fileURLToPath(new URL("memoryProgram.ts", import.meta.url))
const node = ["--conditions=effect-containerd-source", "--no-warnings", script]

/** KiB of memory, bytes of the layer. */
const Printed = Schema.fromJsonString(Schema.Struct({ maxRSS: Schema.Int, layer: Schema.Int }))

interface Change {
  readonly what: string
  readonly compression: string
  readonly mebibytes: number
  readonly files: number
  /** Bytes of the layer at least: the change was all there. */
  readonly atLeast: number
}

const changes: ReadonlyArray<Change> = [
  { what: "1 GiB in one file", compression: "gzip", mebibytes: 1024, files: 0, atLeast: 2 ** 29 },
  { what: "256 MiB in one file", compression: "zstd", mebibytes: 256, files: 0, atLeast: 2 ** 27 },
  { what: "20 000 files", compression: "gzip", mebibytes: 0, files: 20_000, atLeast: 200_000 }
]

const commit = Effect.fnUntraced(function* ({ compression, files, mebibytes }: Change) {
  const root = join(yield* Trees.temporary, "root")
  const args = [...node, root, compression, String(mebibytes), String(files)]
  const { stdout } = yield* Effect.promise(() => promisify(execFile)(process.execPath, args))
  return yield* Schema.decodeEffect(Printed)(stdout)
}, Effect.scoped)

describe("a commit", () => {
  it.live.each(changes)(
    "of $what ($compression) takes less than 300 MiB of memory",
    (change) =>
      Effect.gen(function* () {
        const { layer, maxRSS } = yield* commit(change)
        assert.isBelow(maxRSS, 300 * 1024)
        assert.isAtLeast(layer, change.atLeast)
      }),
    180_000
  )
})
