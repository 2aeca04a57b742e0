import type { BigIntStats } from "node:fs"
import { PassThrough, Readable } from "node:stream"
import { text } from "node:stream/consumers"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as ReadAhead from "../../src/host/ReadAhead.ts"

const mebibyte = 1024 * 1024

const stats = (given: {
  size?: number
  nlink?: bigint
  blocks?: bigint
  isDirectory?: boolean
  isGone?: boolean
}): BigIntStats => {
  const { isDirectory = false, nlink = 1n, size = 0 } = given
  const numbers = { size: BigInt(size), nlink, blocks: given.blocks ?? BigInt(Math.ceil(size / 512)) }
  const { isGone = false } = given
  return Object.assign(Object.create(null), numbers, {
    rdev: 0n,
    isDirectory: () => isDirectory,
    isFile: () => !isDirectory && !isGone,
    isCharacterDevice: () => isGone
  })
}

/** What GNU tar would be: it hears names, and says what is given. */
const made = (said: ReadonlyArray<Uint8Array> = []) =>
  Effect.gen(function* () {
    const names = new PassThrough()
    const copy = new PassThrough()
    let given = 0
    const reading = { names, stdout: Readable.from(said), ended: async () => ({ code: 0, lines: [] }) }
    const onTooMuch = () => {
      given++
    }
    const ahead = yield* ReadAhead.make(reading, { copyTo: copy, onTooMuch })
    return { ahead, names, copy, givenUp: () => given }
  })

const file = (size: number) => stats({ size })
const directory = stats({ isDirectory: true })

describe("what is read while it is found", () => {
  it.effect("hears each name once, after the directories that lead there, also those that were not seen", () =>
    Effect.gen(function* () {
      const { ahead, names } = yield* made()
      ahead.see("", directory)
      ahead.see("a/b/one", file(1))
      ahead.see("a/b/two", file(1))
      ahead.see("a/c", directory)
      // The kernel gives all that is gone the same device.
      ahead.see("a/c/gone", stats({ isGone: true, nlink: 7n }))
      ahead.see("a/c/three", file(1))
      assert.isTrue(ahead.end())
      const heard = (yield* Effect.promise(() => text(names))).split("\0")
      assert.deepStrictEqual(heard, [".", "a", "a/b", "a/b/one", "a/b/two", "a/c", "a/c/gone", "a/c/three", ""])
    }).pipe(Effect.scoped)
  )

  it.effect("comes as it was, and goes elsewhere meanwhile", () =>
    Effect.gen(function* () {
      const { ahead, copy } = yield* made([Buffer.from("first"), Buffer.from("second")])
      assert.isTrue(ahead.end())
      const { done, stdout } = yield* ahead.tar
      const all = yield* Effect.promise(() => Promise.all([text(stdout), text(copy), done]))
      assert.deepStrictEqual(all, ["firstsecond", "firstsecond", { code: 0, lines: [] }])
    }).pipe(Effect.scoped)
  )

  const others = [
    ["with other names", stats({ size: 10, nlink: 2n })],
    ["with holes", stats({ size: mebibyte, blocks: 8n })],
    ["that is large", file(49 * mebibyte)]
  ] as const
  it.effect.each(others)("is given up at a file %s, once, and nothing more is told", ([, other]) =>
    Effect.gen(function* () {
      const { ahead, givenUp } = yield* made()
      ahead.see("a", file(1))
      ahead.see("b", other)
      ahead.see("c", other)
      assert.deepStrictEqual([ahead.end(), givenUp()], [false, 1])
    }).pipe(Effect.scoped)
  )

  it.effect("shares what may be held with the others, until the scope closes or it is given up", () =>
    Effect.gen(function* () {
      const half = file(25 * mebibyte)
      const both = Effect.gen(function* () {
        const [one, two] = [yield* made(), yield* made()]
        one.ahead.see("a", half)
        two.ahead.see("a", half)
        assert.deepStrictEqual([one.ahead.end(), two.ahead.end()], [true, false])
        one.ahead.see("b", half)
        const three = yield* made()
        three.ahead.see("a", half)
        assert.deepStrictEqual([one.ahead.end(), three.ahead.end()], [false, true])
      }).pipe(Effect.scoped)
      yield* both
      yield* both
    })
  )

  it.effect("is not held when it is far more than it seemed: extended attributes", () =>
    Effect.gen(function* () {
      const { ahead } = yield* made(Array.from({ length: 97 }, () => Buffer.alloc(mebibyte)))
      ahead.see("a", file(1))
      assert.isTrue(ahead.end())
      const error = yield* Effect.flip(ahead.tar)
      assert.deepStrictEqual(
        [error._tag, error.message],
        ["HostUnavailable", "its extended attributes are too large to be read at once"]
      )
    }).pipe(Effect.scoped)
  )
})
