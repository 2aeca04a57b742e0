import { chmodSync, lstatSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as ChownPass from "../../src/host/ChownPass.ts"
import * as Trees from "../layer/Trees.ts"

const ctime = (path: string) => lstatSync(path, { bigint: true }).ctimeNs

/** An upper directory that holds all of the lower one, touched file after file without a rest. */
const sandbox = Effect.map(Trees.temporary, (home) => {
  const [lower, upper] = [join(home, "lower"), join(home, "upper")]
  for (const root of [lower, upper]) {
    mkdirSync(join(root, "etc", "deep"), { recursive: true })
    writeFileSync(join(root, "etc", "passwd"), "root")
    symlinkSync("etc", join(root, "link"))
    writeFileSync(join(root, "last"), "last")
  }
  return { lower, upper }
})

describe("ChownPass.end", () => {
  it.effect("is the time of the last file that the pass touched, links not followed", () =>
    Effect.gen(function* () {
      const { lower, upper } = yield* sandbox
      const paths = ["etc", "etc/deep", "etc/passwd", "link", "last"].map((path) => ctime(join(upper, path)))
      const last = paths.toSorted((a, b) => (a < b ? -1 : 1)).at(-1) ?? 0n
      assert.strictEqual(ChownPass.end(upper, lower), last)
      assert.isAbove(Number(ChownPass.after(last) - last), 0)
    })
  )

  it.live("does not count what was touched after a rest", () =>
    Effect.gen(function* () {
      const { lower, upper } = yield* sandbox
      const before = ChownPass.end(upper, lower)
      yield* Effect.sleep("200 millis")
      writeFileSync(join(upper, "by-the-container"), "")
      chmodSync(join(upper, "etc", "passwd"), 0o600)
      const end = ChownPass.end(upper, lower)
      assert.isAtMost(Number(end - before), 0)
      assert.isAbove(Number(ctime(join(upper, "etc", "passwd")) - ChownPass.after(end)), 0)
    })
  )

  it.live("allows a large file the time that its copy takes", () =>
    Effect.gen(function* () {
      const { lower, upper } = yield* sandbox
      yield* Effect.sleep("100 millis")
      // 20 MB at 50 MB/s: 400 ms.
      writeFileSync(join(upper, "large"), new Uint8Array(20_000_000))
      assert.strictEqual(ChownPass.end(upper, lower), ctime(join(upper, "large")))
    })
  )

  it.effect("is 0 where the upper directory does not hold everything: there was no pass", () =>
    Effect.gen(function* () {
      const { lower, upper } = yield* sandbox
      rmSync(join(upper, "last"))
      assert.strictEqual(ChownPass.end(upper, lower), 0n)
      assert.strictEqual(ChownPass.after(0n), 0n)
    })
  )
})
