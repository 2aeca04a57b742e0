/** A container that is saved and made anew for years: the option `replaceTop` on the embedded backend. */
import { execFileSync } from "node:child_process"
import { accessSync, chmodSync, constants, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import * as Trees from "../layer/Trees.ts"

const script = fileURLToPath(new URL("../suite/replaceTopProgram.ts", import.meta.url))
const user = 65534

const Report = Schema.fromJsonString(
  Schema.Struct({
    looks: Schema.Array(Schema.Struct({ layers: Schema.Int, steps: Schema.Int, bytes: Schema.Int })),
    kept: Schema.Struct({ early: Schema.Int, late: Schema.Int }),
    ms: Schema.Struct({ old: Schema.Number, young: Schema.Number })
  })
)

/** In memory where that can be: hundreds of commits wait for a disk most of their time. */
const parentDirectory = (): string => {
  try {
    accessSync("/dev/shm", constants.W_OK)
    return "/dev/shm"
  } catch {
    return tmpdir()
  }
}

const directory = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(parentDirectory(), "replace-top-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

const runRounds = Effect.fnUntraced(function* (rounds: number, prefix: ReadonlyArray<string>) {
  const path = yield* directory
  chmodSync(path, 0o777)
  const node = [process.execPath, "--conditions=effect-containerd-source", "--no-warnings", script]
  const [program = "", ...args] = [...prefix, ...node, path, String(rounds)]
  const output = execFileSync(program, args, { encoding: "utf8", stdio: "pipe" })
  return yield* Schema.decodeEffect(Report)(output)
}, Effect.scoped)

const check = Effect.fnUntraced(function* (rounds: number, prefix: ReadonlyArray<string> = []) {
  const { kept, looks, ms } = yield* runRounds(rounds, prefix)
  const [first] = looks
  // The last ten rounds are measured: of these, the last one is looked at.
  assert.lengthOf(looks, rounds - 9)
  assert.deepInclude(first, { layers: 2, steps: 2 })
  for (const look of looks) assert.deepStrictEqual(look, first)
  assert.strictEqual(kept.late, kept.early)
  return ms
})

const isSteady = ({ old, young }: { readonly old: number; readonly young: number }) => old <= 1.5 * young

describe("replaceTop, again and again", () => {
  it.live(
    "300 commits in a row of one container: one layer on top of the base, of the same size, in the same time",
    () =>
      Effect.gen(function* () {
        const ms = yield* check(300)
        // Once more, for a machine that does something else meanwhile.
        assert.isTrue(isSteady(ms) || isSteady(yield* check(100)), JSON.stringify(ms))
      }),
    240_000
  )

  it.live.runIf(Trees.isRoot)(
    "the same for an ordinary user",
    () => check(40, ["setpriv", `--reuid=${user}`, `--regid=${user}`, "--clear-groups", "--"]),
    120_000
  )
})
