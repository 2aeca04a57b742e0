import { execFileSync } from "node:child_process"
import {
  chmodSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  utimesSync,
  writeFileSync
} from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { ContainerdError } from "effect-containerd"
import { copyTree, copyWithNode } from "../../src/embedded/TreeCopy.ts"
import { reason } from "../suite/Cases.ts"
import * as Root from "./Root.ts"

type Copy = (from: string, to: string) => Effect.Effect<void, ContainerdError.ContainerdError>

const notUtf8 = Buffer.from([0xff, 0xfe, 0x0a])
const bytePath = (root: string) => Buffer.concat([Buffer.from(`${root}/`), notUtf8])

const makeTree = (root: string) => {
  mkdirSync(join(root, "d/deep"), { recursive: true })
  writeFileSync(join(root, "d/one"), "one")
  linkSync(join(root, "d/one"), join(root, "d/deep/two"))
  chmodSync(join(root, "d/one"), 0o4751)
  symlinkSync("../nowhere", join(root, "d/link"))
  lutimesSync(join(root, "d/link"), 5, 1_000_000_000.5)
  writeFileSync(bytePath(root), "bytes")
  writeFileSync(join(root, "n".repeat(255)), "")
  writeFileSync(join(root, "large"), "x".repeat(1_000_000))
  utimesSync(join(root, "large"), 1, 1_234_567_890.25)
  // Node sets times as doubles, so only what a double holds comes back to the last microsecond.
  for (const path of [join(root, "d/one"), bytePath(root), join(root, "n".repeat(255)), join(root, "d/deep")]) {
    utimesSync(path, 1, 1_333_333_333.75)
  }
  chmodSync(join(root, "d/deep"), 0o1555)
  utimesSync(join(root, "d"), 1, 1_111_111_111)
  chmodSync(root, 0o711)
  utimesSync(root, 1, 1_222_222_222)
}

/** Everything about a tree that this user may set; times in microseconds. */
const look = (root: string) =>
  Object.fromEntries(
    ["", ...readdirSync(root, { recursive: true, encoding: "latin1" })].sort().map((name) => {
      const path = Buffer.concat([Buffer.from(`${root}/`), Buffer.from(name, "latin1")])
      const stats = lstatSync(path)
      const content = stats.isFile()
        ? readFileSync(path, "utf8").slice(0, 10)
        : stats.isSymbolicLink() && readlinkSync(path)
      return [
        name,
        [
          stats.mode.toString(8),
          stats.uid,
          Math.round(stats.mtimeMs * 1000),
          stats.nlink,
          stats.size * Number(stats.isFile()),
          content
        ]
      ]
    })
  )

const copies: ReadonlyArray<readonly [string, Copy]> = [
  ["with cp", copyTree],
  ["without it", copyWithNode]
]

describe.each(copies)("a tree is copied %s", (_, copy) => {
  it.live("with links, names, modes and times, also of the directories", () =>
    Effect.gen(function* () {
      const [from, to] = [yield* Root.directory, yield* Root.directory]
      makeTree(from)
      yield* copy(from, to)
      assert.deepStrictEqual(look(to), look(from))
      assert.strictEqual(lstatSync(join(to, "d/one")).ino, lstatSync(join(to, "d/deep/two")).ino)
      assert.notStrictEqual(lstatSync(join(to, "d/one")).ino, lstatSync(join(from, "d/one")).ino)
      chmodSync(join(from, "d/deep"), 0o700)
      chmodSync(join(to, "d/deep"), 0o700)
    })
  )

  it.live("or not at all: a source that is not there is an error", () =>
    Effect.gen(function* () {
      const to = yield* Root.directory
      assert.include(["NotFound", "Unknown"], yield* reason(copy(join(to, "nothing"), to)))
    })
  )
})

describe("special files", () => {
  it.live("are copied with cp, and refused without it", () =>
    Effect.gen(function* () {
      const [from, to, other] = [yield* Root.directory, yield* Root.directory, yield* Root.directory]
      execFileSync("mkfifo", [join(from, "fifo")])
      yield* copyTree(from, to)
      assert.isTrue(lstatSync(join(to, "fifo")).isFIFO())
      assert.strictEqual(yield* reason(copyWithNode(from, other)), "Unimplemented")
    })
  )
})
