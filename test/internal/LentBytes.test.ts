import { assert, describe, it } from "@effect/vitest"
import { giveBack, once, pool } from "../../src/internal/LentBytes.ts"

describe("a pool", () => {
  it("uses a buffer again when all that was lent of it came back, and not before", () => {
    const { lend, take } = pool(100)
    const first = take()
    lend(first, 90)
    giveBack(first.subarray(0, 40))
    giveBack(first.subarray(50, 90))
    assert.notStrictEqual(take(), first)
    giveBack(first.subarray(40, 50))
    assert.strictEqual(take(), first)
    assert.notStrictEqual(take(), first)
  })

  it("forgets a buffer of which more came back than was lent", () => {
    const { lend, take } = pool(100)
    const first = take()
    lend(first, 90)
    for (const part of [first.subarray(0, 60), first.subarray(0, 60), first.subarray(60, 90)]) giveBack(part)
    assert.notStrictEqual(take(), first)
  })

  it("has nothing to do with bytes that are not lent", () => {
    const { lend, take } = pool(100)
    const first = take()
    giveBack(first)
    giveBack(Buffer.from("x"))
    lend(first, 100)
    assert.notStrictEqual(take(), first)
    giveBack(first)
    giveBack(first)
    assert.strictEqual(take(), first)
    assert.notStrictEqual(take(), first)
  })
})

describe("bytes that are lent once", () => {
  it("are gone when all of them came back, and not before", () => {
    for (const bytes of [Buffer.alloc(200_000).subarray(0, 90_000), new Uint8Array(1000)]) {
      assert.strictEqual(once(bytes), bytes)
      const { length } = bytes
      giveBack(bytes.subarray(0, 400))
      assert.lengthOf(bytes, length)
      giveBack(bytes.subarray(400))
      assert.lengthOf(bytes, 0)
    }
  })

  it("stay where others may be in the same memory", () => {
    const bytes = Buffer.from("small")
    giveBack(once(bytes))
    assert.strictEqual(bytes.toString(), "small")
  })
})
