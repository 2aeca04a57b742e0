import { execFileSync } from "node:child_process"
import { chmodSync, existsSync, lchownSync, lstatSync, mkdirSync, rmSync, utimesSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, it } from "@effect/vitest"
import { Effect, Option } from "effect"
import * as Reader from "../../src/host/Reader.ts"
import * as Shell from "../../src/host/Shell.ts"
import * as GnuTar from "../../src/layer/GnuTar.ts"
import * as Cache from "../support/Cache.ts"
import { describeDaemons } from "../support/Daemons.ts"
import * as Debris from "../support/Debris.ts"

/** A snapshot as the overlayfs snapshotter has it. */
const overlay = (home: string, name: string): string => {
  for (const directory of ["fs", "work"]) mkdirSync(join(home, name, directory), { recursive: true })
  return join(home, name, "fs")
}

const openedWith = Effect.fnUntraced(function* (gnuTar: GnuTar.GnuTar) {
  const home = yield* Debris.directory
  const [upper, target] = [overlay(home, "1"), overlay(home, "2")]
  mkdirSync(join(upper, "closed", "deep"), { recursive: true })
  for (const name of ["closed/deep/file", "first", "second"]) writeFileSync(join(upper, name), name)
  chmodSync(join(upper, "closed"), 0o700)
  lchownSync(join(upper, "closed"), 1000, 1001)
  const directories = { lowers: [], userxattr: false }
  const container = { upper, ...directories }
  const shell = yield* Shell.take
  yield* Reader.begin(shell, { container, cgroup: undefined, gnuTar })
  const reader = yield* Reader.open(shell, { container, target: { ...directories, upper: target }, depth: 0 })
  const ownerOf = (path: string) => {
    const { gid, mode, uid } = lstatSync(join(target, path))
    return [uid, gid, mode & 0o7777]
  }
  return { ownerOf, reader, target, upper }
})

const script = (path: string, text: string) => writeFileSync(path, `#!/bin/sh\n${text}\n`, { mode: 0o755 })

/** With a script in the place of GNU tar. */
const openedBy = Effect.fnUntraced(function* (text: string) {
  const program = join(yield* Debris.directory, "tar")
  script(program, text)
  return yield* openedWith({ ...Option.getOrThrow(yield* GnuTar.find), program })
})

const opened = Effect.flatMap(GnuTar.find, (tar) => openedWith(Option.getOrThrow(tar)))

/** What others say meanwhile is there, and not read yet, when they are told more. */
const hold = () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100)

describeDaemons("the reader of a container's upper directory", () => {
  it.live("is heard, and copies, while GNU tar is in the middle of what it complains of", () =>
    Effect.gen(function* () {
      // What compares attributes runs in "/", and is not asked yet.
      const half = `[ "$2" = / ] || printf 'tar: half a line' >&2; cat >/dev/null; echo ' and the rest' >&2`
      const { reader, target } = yield* openedBy(half)
      assert.deepStrictEqual(yield* reader.copy, [])
      assert.isTrue(existsSync(join(target, "closed/deep/file")))
    })
  )

  it.live("tells why GNU tar, which puts something into the target, has ended before it was told all", () =>
    Effect.gen(function* () {
      const { reader } = yield* openedBy("echo 'tar: it has no room' >&2; exit 2")
      const put = yield* reader.put
      hold()
      for (let part = 0; part < 100; part++) put.tar.write(Buffer.alloc(100_000))
      put.tar.end()
      assert.match((yield* Effect.flip(put.done)).message, /: tar: it has no room$/)
    })
  )

  it.live("waits for what only fills the last record of a tar", () =>
    Effect.gen(function* () {
      const { reader, target, upper } = yield* opened
      const tar = execFileSync("tar", ["-C", upper, "-c", "-f", "-", "-b", "128", "."])
      const put = yield* reader.put
      put.tar.write(tar.subarray(0, 20_480))
      hold()
      put.tar.end(tar.subarray(20_480))
      yield* put.done
      assert.isTrue(existsSync(join(target, "closed/deep/file")))
    })
  )

  it.effect("leaves the times of access as they are", () =>
    Effect.gen(function* () {
      const { reader, upper } = yield* opened
      utimesSync(join(upper, "first"), 1000, 2000)
      yield* reader.copy
      assert.strictEqual(lstatSync(join(upper, "first")).atimeMs, 1_000_000)
    })
  )

  it.live("takes an attribute that goes away while it is copied for what it is", () =>
    Effect.gen(function* () {
      const directory = yield* Debris.directory
      script(join(directory, "cp"), `echo "cp: getting attribute 'user.a' of 'user.a': No data available" >&2; exit 1`)
      yield* Cache.inPath([], [directory])
      const { reader } = yield* opened
      assert.deepStrictEqual(yield* reader.copy, [
        {
          path: "",
          what: "it changed while it was copied (cp: getting attribute 'user.a' of 'user.a': No data available)"
        }
      ])
    })
  )

  it.effect("copies names, and nothing that is in them", () =>
    Effect.gen(function* () {
      const { ownerOf, reader, target } = yield* opened
      assert.deepStrictEqual(yield* reader.copyOnly(["", "closed", "first"]), [])
      assert.deepStrictEqual(ownerOf("closed"), [1000, 1001, 0o700])
      assert.deepStrictEqual(
        ["first", "second", "closed/deep"].map((path) => existsSync(join(target, path))),
        [true, false, false]
      )
    })
  )

  it.effect("tells what went away, and copies all anew after that", () =>
    Effect.gen(function* () {
      const { ownerOf, reader, target, upper } = yield* opened
      // As if the directory had not been there for a moment.
      const gone = yield* reader.copyOnly(["", "gone", "closed/deep/file", "first"])
      assert.deepStrictEqual(
        gone.map(({ what }) => what),
        ["it changed while it was copied (tar: gone: Cannot stat: No such file or directory)"]
      )
      assert.deepStrictEqual(ownerOf("closed").slice(0, 2), [0, 0])
      rmSync(join(upper, "first"))
      assert.deepStrictEqual(yield* reader.copy, [])
      assert.deepStrictEqual(ownerOf("closed"), [1000, 1001, 0o700])
      assert.deepStrictEqual(
        ["first", "second", "closed/deep/file"].map((path) => existsSync(join(target, path))),
        [false, true, true]
      )
    })
  )
})
