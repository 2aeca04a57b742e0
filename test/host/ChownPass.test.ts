import { execFileSync } from "node:child_process"
import { chmodSync, lchownSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as ChownPass from "../../src/host/ChownPass.ts"
import * as Trees from "../layer/Trees.ts"

/** An upper directory that holds all of the lower one, touched file after file without a rest. */
const sandbox = Effect.map(Trees.temporary, (home) => {
  const [lower, upper] = [join(home, "lower"), join(home, "upper")]
  mkdirSync(join(lower, "etc", "deep"), { recursive: true })
  writeFileSync(join(lower, "etc", "passwd"), "root")
  symlinkSync("etc", join(lower, "link"))
  writeFileSync(join(lower, "large"), new Uint8Array(20_000_000))
  writeFileSync(join(lower, "last"), "last")
  execFileSync("cp", ["-a", lower, upper])
  return { lower, upper, idMap: undefined }
})

/** Changes nothing but the time of the last change. */
const touch = (path: string) => lchownSync(path, -1, -1)

describe("ChownPass.compare", () => {
  it.effect("leaves nothing open of what the pass alone has touched, links not followed", () =>
    Effect.gen(function* () {
      const { changes, directories, suspects } = yield* ChownPass.compare(yield* sandbox)
      // The upper directory itself is made before the pass and changed after it.
      assert.deepStrictEqual([changes.size, directories, suspects], [0, [""], [""]])
    })
  )

  it.live("leaves open what was touched after a rest", () =>
    Effect.gen(function* () {
      const trees = yield* sandbox
      yield* Effect.sleep("200 millis")
      writeFileSync(join(trees.upper, "by-the-container"), "")
      chmodSync(join(trees.upper, "etc", "passwd"), 0o600)
      for (const name of ["etc/deep", "link"]) touch(join(trees.upper, name))
      const { changes, directories, suspects } = yield* ChownPass.compare(trees)
      assert.sameMembers([...changes.keys()], ["by-the-container", "etc/passwd"])
      assert.sameMembers([...directories], ["", "etc/deep"])
      assert.sameMembers([...suspects], ["", "etc/deep", "link"])
    })
  )

  it.live("allows a large file the time that its copy takes", () =>
    Effect.gen(function* () {
      const trees = yield* sandbox
      yield* Effect.sleep("100 millis")
      // 20 MB at 50 MB/s: 400 ms.
      touch(join(trees.upper, "large"))
      assert.notInclude((yield* ChownPass.compare(trees)).suspects, "large")
      yield* Effect.sleep("100 millis")
      touch(join(trees.upper, "last"))
      assert.include((yield* ChownPass.compare(trees)).suspects, "last")
    })
  )

  it.effect("leaves all open where the upper directory does not hold everything: there was no pass", () =>
    Effect.gen(function* () {
      const trees = yield* sandbox
      rmSync(join(trees.upper, "last"))
      const { suspects } = yield* ChownPass.compare(trees)
      assert.sameMembers([...suspects], ["", "etc", "etc/deep", "etc/passwd", "large", "link"])
    })
  )
})
