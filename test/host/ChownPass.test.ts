import { execFileSync } from "node:child_process"
import { type BigIntStats, chmodSync, lstatSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as ChownPass from "../../src/host/ChownPass.ts"
import * as HostDiff from "../../src/host/HostDiff.ts"
import * as Trees from "../layer/Trees.ts"

const ctime = (path: string) => lstatSync(path, { bigint: true }).ctimeNs

/** An upper directory that holds all of the lower one, touched file after file without a rest. */
const sandbox = Effect.map(Trees.temporary, (home) => {
  const [lower, upper] = [join(home, "lower"), join(home, "upper")]
  mkdirSync(join(lower, "etc", "deep"), { recursive: true })
  writeFileSync(join(lower, "etc", "passwd"), "root")
  symlinkSync("etc", join(lower, "link"))
  writeFileSync(join(lower, "last"), "last")
  execFileSync("cp", ["-a", lower, upper])
  return { lower, upper }
})

const look = Effect.fnUntraced(function* (upper: string, lower: string) {
  const times = new Map<string, BigIntStats>()
  const found = yield* HostDiff.compare({ upper, lower, idMap: undefined }, (path, stats) => times.set(path, stats))
  return { found, times, end: ChownPass.end(times) }
})

describe("ChownPass", () => {
  it.effect("ends when it has touched the last file, links not followed", () =>
    Effect.gen(function* () {
      const { lower, upper } = yield* sandbox
      const paths = ["etc", "etc/deep", "etc/passwd", "link", "last"].map((path) => ctime(join(upper, path)))
      const last = paths.toSorted((a, b) => (a < b ? -1 : 1)).at(-1) ?? 0n
      assert.isTrue(ChownPass.isIn(upper, lower))
      assert.strictEqual((yield* look(upper, lower)).end, last)
    })
  )

  it.live("does not count what was touched after a rest", () =>
    Effect.gen(function* () {
      const { lower, upper } = yield* sandbox
      const before = yield* look(upper, lower)
      yield* Effect.sleep("200 millis")
      writeFileSync(join(upper, "by-the-container"), "")
      chmodSync(join(upper, "etc", "passwd"), 0o600)
      const { end, found, times } = yield* look(upper, lower)
      assert.strictEqual(end, before.end)
      assert.sameMembers([...found.suspects], ["", "etc", "etc/deep", "last", "link"])
      const { changes, directories, suspects } = ChownPass.without(found, times)
      assert.sameMembers([...changes.keys()], ["by-the-container", "etc/passwd"])
      assert.deepStrictEqual([directories, suspects], [[""], [""]])
    })
  )

  it.live("allows a large file the time that its copy takes", () =>
    Effect.gen(function* () {
      const { lower, upper } = yield* sandbox
      yield* Effect.sleep("100 millis")
      // 20 MB at 50 MB/s: 400 ms.
      writeFileSync(join(upper, "large"), new Uint8Array(20_000_000))
      assert.strictEqual((yield* look(upper, lower)).end, ctime(join(upper, "large")))
    })
  )

  it.effect("was not where the upper directory does not hold everything", () =>
    Effect.gen(function* () {
      const { lower, upper } = yield* sandbox
      rmSync(join(upper, "last"))
      assert.isFalse(ChownPass.isIn(upper, lower))
    })
  )
})
