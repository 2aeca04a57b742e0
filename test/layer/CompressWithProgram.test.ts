/** What is done with programs, whatever they do: those here are shell scripts. */
import * as Fs from "node:fs"
import { join } from "node:path"
import * as Zlib from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Stream } from "effect"
import * as Options from "../../src/commit/Options.ts"
import { chunkSize } from "../../src/layer/CompressChunks.ts"
import { compress } from "../../src/layer/Compression.ts"
import type * as Compressor from "../../src/layer/Compressor.ts"
import * as Cache from "../support/Cache.ts"
import { compressed, compressible, cut, mebibyte } from "./Compressible.ts"
import * as Trees from "./Trees.ts"

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

/** In front of the PATH, a program that does that. `pids` are those of its processes. */
const program = Effect.fnUntraced(function* (name: Compressor.Engine, script: string) {
  const directory = yield* Trees.temporary
  const log = join(directory, "pids")
  const lines = ["#!/bin/sh", 'if [ "$1" = --version ]; then echo fake; exit 0; fi', `echo $$ >> ${log}`, `${script}\n`]
  Fs.writeFileSync(join(directory, name), lines.join("\n"), { mode: 0o755 })
  yield* Cache.inPath([], [directory])
  const pids = () => (Fs.existsSync(log) ? Fs.readFileSync(log, "utf8").trim().split("\n").map(Number) : [])
  return { pids, isGone: () => assert.deepStrictEqual(pids().filter(isAlive), []) }
})

const noPrograms = Effect.flatMap(Trees.temporary, Cache.setPath)

const large = compressible(6 * mebibyte)
const igzip = { compressor: "igzip" } as const

describe("a program", () => {
  it.live("gets the whole stream, and a small one does not need it", () =>
    Effect.gen(function* () {
      const { isGone, pids } = yield* program("igzip", "exec gzip -nc1")
      assert.isTrue(Zlib.gunzipSync(yield* compressed("gzip", large, igzip)).equals(large))
      assert.lengthOf(pids(), 1)
      isGone()
      for (const size of [0, 1, chunkSize - 1]) {
        const small = compressible(size)
        assert.isTrue((yield* compressed("gzip", small, igzip)).equals(yield* compressed("gzip", small)))
      }
      assert.lengthOf(pids(), 1)
    })
  )

  it.live.each([
    ["says why it fails", "cat >/dev/null; echo igzip: no room >&2; exit 3", /^igzip .* \(exit code 3\): no room$/],
    [
      "fails at once",
      "echo igzip: no room >&2; exit 3",
      /^igzip could not compress the layer \(exit code 3\): no room$/
    ],
    [
      "is killed in the middle",
      "head -c 3000000 | gzip -c; kill -9 $$",
      /^igzip could not compress .*: it said nothing$/
    ],
    ["is content before the end", "head -c 100000 | gzip -c", /^igzip ended before it had read the whole layer$/]
  ] as const)("that %s is a failure, not a short layer", ([, script, message]) =>
    Effect.gen(function* () {
      const { isGone, pids } = yield* program("igzip", script)
      const error = yield* Effect.flip(compressed("gzip", compressible(24 * mebibyte), igzip))
      assert.deepStrictEqual([error._tag, error.kind], ["LayerError", "files"])
      assert.match(error.message, message)
      assert.lengthOf(pids(), 1)
      isGone()
    })
  )

  it.live("that somebody else kills is a failure", () =>
    Effect.gen(function* () {
      const { isGone, pids } = yield* program("igzip", "exec gzip -nc9")
      const endless = Stream.forever(Stream.make(large)).pipe(compress("gzip", igzip))
      const error = yield* endless.pipe(
        Stream.tap(() =>
          Effect.sync(() =>
            pids()
              .filter(isAlive)
              .map((pid) => process.kill(pid, "SIGKILL"))
          )
        ),
        Stream.runDrain,
        Effect.flip
      )
      assert.match(error.message, /^igzip could not compress the layer/)
      isGone()
    })
  )

  it.live("does not outlive an interruption, the end of interest, or the failure of the source", () =>
    Effect.gen(function* () {
      const { isGone, pids } = yield* program("igzip", "exec gzip -nc1")
      const endless = Stream.forever(Stream.make(large)).pipe(compress("gzip", igzip))
      const fiber = yield* Effect.forkChild(Stream.runDrain(endless))
      while (pids().length === 0) yield* Effect.sleep(10)
      yield* Fiber.interrupt(fiber)
      yield* endless.pipe(Stream.take(2), Stream.runDrain)
      const broken = Stream.concat(cut(large, [mebibyte]), Stream.fail("broken" as const))
      assert.strictEqual(yield* broken.pipe(compress("gzip", igzip), Stream.runDrain, Effect.flip), "broken")
      assert.lengthOf(pids(), 3)
      isGone()
    })
  )

  it.live("that takes nothing does not outlive an interruption", () =>
    Effect.gen(function* () {
      const { isGone, pids } = yield* program("igzip", "exec sleep 1000")
      const fiber = yield* Effect.forkChild(compressed("gzip", large, igzip))
      while (pids().length === 0) yield* Effect.sleep(10)
      yield* Fiber.interrupt(fiber)
      isGone()
    })
  )

  it.live("holds back a source that is faster", () =>
    Effect.gen(function* () {
      yield* program("igzip", "sleep 0.3; exec gzip -nc1")
      let made = 0
      const source = Stream.range(1, 8).pipe(
        Stream.rechunk(1),
        Stream.map(() => {
          made++
          return compressible(chunkSize)
        })
      )
      const fiber = yield* source.pipe(compress("gzip", igzip), Stream.runDrain, Effect.forkChild)
      yield* Effect.sleep(150)
      assert.isAtMost(made, 6)
      yield* Fiber.join(fiber)
      assert.strictEqual(made, 8)
    })
  )

  it.live("gets no options from the environment", () =>
    Effect.gen(function* () {
      const { pids } = yield* program("igzip", 'test -z "$GZIP$ZSTD_CLEVEL" || exit 9; exec gzip -nc1')
      yield* Effect.acquireRelease(
        Effect.sync(() => Object.assign(process.env, { GZIP: "-9", ZSTD_CLEVEL: "19" })),
        () => Effect.sync(() => ["GZIP", "ZSTD_CLEVEL"].map((name) => Reflect.deleteProperty(process.env, name)))
      )
      yield* compressed("gzip", large, igzip)
      assert.lengthOf(pids(), 1)
    })
  )

  it.live.each([0, 1000, chunkSize, chunkSize + 1])("fails with a source that fails after %d bytes", (size) =>
    Effect.gen(function* () {
      yield* program("igzip", "exec gzip -nc1")
      const source = Stream.concat(Stream.make(Buffer.alloc(size)), Stream.fail("broken"))
      const error = yield* source.pipe(compress("gzip", igzip), Stream.runDrain, Effect.flip)
      assert.strictEqual(error, "broken")
    })
  )

  it.live("that is not there is a failure", () =>
    Effect.gen(function* () {
      yield* noPrograms
      const error = yield* Effect.flip(compressed("gzip", large, igzip))
      assert.match(error.message, /^igzip could not compress the layer: .*ENOENT/)
    })
  )
})

describe("the choice", () => {
  const auto = { compressor: "auto" } as const

  it.live.each([
    ["gzip", "igzip"],
    ["zstd", "zstd"]
  ] as const)("for %s is %s where it is there, and Node for a level, and where it is not", ([compression, name]) =>
    Effect.gen(function* () {
      const { pids } = yield* program(name, "exec gzip -nc1")
      yield* compressed(compression, large, auto)
      assert.lengthOf(pids(), 1)
      yield* compressed(compression, large, { ...auto, level: 1 })
      assert.lengthOf(pids(), 1)
      yield* noPrograms
      const alone = yield* compressed(compression, large, auto)
      assert.isTrue(alone.equals(yield* compressed(compression, large)))
    })
  )

  it.live("does not look at the PATH for a commit that can be repeated", () =>
    Effect.gen(function* () {
      yield* program("igzip", "exec gzip -nc1")
      const chosen = (options: Omit<Options.CommitOptions, "container">) =>
        Effect.map(Options.check({ container: "c", ...options }), ({ compressor }) => compressor)
      assert.strictEqual(yield* chosen({}), "auto")
      assert.strictEqual(yield* chosen({ created: "2024-01-02T03:04:05Z" }), "node")
      assert.strictEqual(yield* chosen({ created: "2024-01-02T03:04:05Z", ...auto }), "node")
      assert.strictEqual(yield* chosen({ created: "2024-01-02T03:04:05Z", ...igzip }), "igzip")
    })
  )

  it.live("is refused before anything is touched when the program is not there", () =>
    Effect.gen(function* () {
      yield* noPrograms
      for (const compressor of ["igzip", "pigz", "zstd"] as const) {
        const compression = compressor === "zstd" ? compressor : "gzip"
        const error = yield* Effect.flip(Options.check({ container: "c", compression, compressor }))
        const message = `there is no ${compressor} in the PATH: install it, or leave the compressor out`
        assert.deepStrictEqual([error.option, error.message], ["compressor", message])
      }
      yield* Options.check({ container: "c", compressor: "node" })
    })
  )
})
