import { execFileSync } from "node:child_process"
import {
  chmodSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  renameSync,
  symlinkSync,
  utimesSync,
  writeFileSync
} from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as ChownPass from "../../src/host/ChownPass.ts"
import * as Trees from "../layer/Trees.ts"

/** More than a tick of the kernel's clock for files. */
const tick = Effect.sleep("20 millis")

/** A container as Docker makes it: an image, that record, a snapshot that holds all of the image, its directory. */
const sandbox = Effect.gen(function* () {
  const home = yield* Trees.temporary
  const [lower, upper, directory] = [join(home, "lower"), join(home, "1", "fs"), join(home, "directory")]
  mkdirSync(join(lower, "etc"), { recursive: true })
  for (const name of ["etc/passwd", "etc/group", "touched"]) writeFileSync(join(lower, name), name)
  symlinkSync("nowhere", join(lower, "link"))
  yield* tick
  const createdAt = Date.now()
  yield* tick
  mkdirSync(join(home, "1"))
  execFileSync("cp", ["-a", lower, upper])
  yield* tick
  mkdirSync(directory)
  yield* tick
  writeFileSync(join(directory, "config.v2.json"), "{}")
  return { upper, container: { createdAt, directory } }
})

const isUntouched = (container: ChownPass.Container, upper: string) => {
  const tell = ChownPass.isUntouched(container, upper)
  return tell && ((name: string) => tell(lstatSync(join(upper, name), { bigint: true })))
}

describe("ChownPass.isUntouched", () => {
  it.live("tells what the pass alone has touched, links not followed", () =>
    Effect.gen(function* () {
      const { container, upper } = yield* sandbox
      writeFileSync(join(upper, "etc", "passwd"), "other")
      chmodSync(join(upper, "etc"), 0o700)
      lchownSync(join(upper, "touched"), 0, 0)
      const tell = isUntouched(container, upper)
      const names = ["etc/group", "link", "etc/passwd", "etc", "touched"]
      assert.deepStrictEqual(
        names.map((name) => tell?.(name)),
        [true, true, false, false, false]
      )
    })
  )

  it.live("does not trust a file whose content is younger than the container", () =>
    Effect.gen(function* () {
      const { container, upper } = yield* sandbox
      const later = { ...container, directory: `${container.directory}-later` }
      utimesSync(join(upper, "touched"), new Date(), new Date())
      yield* tick
      mkdirSync(later.directory)
      yield* tick
      writeFileSync(join(later.directory, "config.v2.json"), "{}")
      const tell = isUntouched(later, upper)
      assert.deepStrictEqual([tell?.("etc/group"), tell?.("touched")], [true, false])
    })
  )

  it.live("knows nothing where the engine's directory is not seen, or was moved with the container's files", () =>
    Effect.gen(function* () {
      const { container, upper } = yield* sandbox
      const { createdAt, directory } = container
      const knows = (container: ChownPass.Container) => ChownPass.isUntouched(container, upper) !== undefined
      assert.isTrue(knows(container))
      assert.isFalse(knows({ directory }))
      assert.isFalse(knows({ createdAt }))
      assert.isFalse(knows({ createdAt, directory: `${directory}-elsewhere` }))
      assert.isFalse(knows({ createdAt: createdAt - 3_600_000, directory }))
      assert.isFalse(knows({ createdAt: Date.now(), directory }))
      // One that was there before the snapshot, or is only known to be there now.
      renameSync(directory, `${directory}-old`)
      mkdirSync(directory)
      assert.isFalse(knows(container))
      assert.isFalse(knows({ createdAt, directory: join(upper, "..", "..", "lower") }))
    })
  )
})
