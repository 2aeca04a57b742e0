import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { LayerError } from "../../src/layer/LayerError.ts"
import * as TarHeader from "../../src/layer/TarHeader.ts"
import { bytes, header, paxRecord, sealed } from "./Tars.ts"

const withField = (offset: number, text: string | ReadonlyArray<number>) => {
  const block = Buffer.from(header({}))
  block.fill(0, offset, offset + (offset === 124 ? 12 : 8))
  block.set(bytes(text), offset)
  return block
}

const id = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 0xffff_ffff }))

describe("numbers of the header", () => {
  it.each([
    ["digits and a NUL", "0001750\0", 1000],
    ["digits and a space", "0001750 ", 1000],
    ["leading spaces", "   1750\0", 1000],
    ["a NUL and garbage", "1750\0zzz", 1000],
    ["digits to the end", "00001750", 1000],
    ["nothing", "", 0],
    ["spaces only", "       \0", 0],
    ["base 256", [0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff], 4294967295]
  ])("are read from %s", (_, field, expected) => {
    assert.strictEqual(TarHeader.uid(withField(108, field)), expected)
    assert.strictEqual(TarHeader.gid(withField(116, field)), expected)
  })

  it("are refused when they are none", () => {
    for (const field of ["0000009\0", "-000001\0", "0x10\0", "1 2\0"]) {
      assert.throws(() => TarHeader.uid(withField(108, field)), LayerError, /is no octal number/)
    }
  })

  it("may have 12 octal digits or more than 8 GiB", () => {
    assert.strictEqual(TarHeader.size(withField(124, "77777777777\0")), 8 * 1024 ** 3 - 1)
    assert.strictEqual(TarHeader.size(withField(124, [0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0])), 8 * 1024 ** 3)
  })
})

describe("withNumbers", () => {
  it.prop("writes what can be read, with its checksum", [id, id, id], ([uid, gid, size]) => {
    const before = header({ name: "näme", uid: 4294967295, mode: 0o4755 })
    const block = TarHeader.withNumbers(before, { uid, gid, size })
    TarHeader.verify(block)
    assert.strictEqual(TarHeader.uid(block), Math.min(uid, TarHeader.maxHeaderId))
    assert.strictEqual(TarHeader.gid(block), Math.min(gid, TarHeader.maxHeaderId))
    assert.strictEqual(TarHeader.size(block), size)
    // The same block by another hand.
    const expected = header({
      name: "näme",
      uid: Math.min(uid, 0o7777777),
      gid: Math.min(gid, 0o7777777),
      size,
      mode: 0o4755
    })
    assert.isTrue(expected.equals(block))
  })

  it("leaves the block that it was given, and the numbers that it was not", () => {
    const before = header({ uid: 1, gid: 2, size: 3 })
    const copy = Buffer.from(before)
    assert.isTrue(copy.equals(TarHeader.withNumbers(before, {})))
    assert.isTrue(header({ uid: 1, gid: 9, size: 3 }).equals(TarHeader.withNumbers(before, { gid: 9 })))
    assert.isTrue(copy.equals(before))
  })
})

describe("verify", () => {
  it("takes any bytes with the right sum", () => {
    TarHeader.verify(sealed(Buffer.alloc(512, 0xff)))
  })

  it("refuses another sum", () => {
    assert.throws(() => TarHeader.verify(Buffer.alloc(512, 0xff)), LayerError)
    const damaged = Buffer.from(header({ name: "a" }))
    damaged[0] = 0x62
    assert.throws(() => TarHeader.verify(damaged), LayerError, /checksum/)
  })
})

describe("pax records", () => {
  const key = Schema.Array(Schema.Literals(["k", "é", "\xff", "."])).check(Schema.isBetweenLength(1, 120))
  const value = Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 255 }))).check(
    Schema.isMaxLength(1100)
  )

  it.prop(
    "come back as they were written, around every length that adds a digit",
    [Schema.Array(Schema.Struct({ key, value })).check(Schema.isMaxLength(4))],
    ([pairs]) => {
      const records = pairs.map((pair) => ({ key: pair.key.join(""), value: bytes(pair.value) }))
      const data = TarHeader.formatPax(records)
      const expected = bytes(...records.map((record) => paxRecord(Buffer.from(record.key, "latin1"), record.value)))
      assert.isTrue(expected.equals(data))
      assert.deepStrictEqual(
        TarHeader.parsePax(data).map((record) => [record.key, Buffer.from(record.value).toString("latin1")]),
        records.map((record) => [record.key, record.value.toString("latin1")])
      )
    }
  )

  it("count their own digits", () => {
    for (let length = 0; length < 1100; length++) {
      const data = Buffer.from(TarHeader.formatPax([{ key: "k", value: Buffer.alloc(length) }]))
      assert.strictEqual(Number.parseInt(data.toString("latin1"), 10), data.length)
    }
  })

  it("are found by key, the last one first", () => {
    const records = TarHeader.parsePax(bytes(paxRecord("a", "1"), paxRecord("b", "2"), paxRecord("a", "3")))
    assert.deepStrictEqual(TarHeader.pax(records, "a"), records[2]?.value)
    assert.strictEqual(Buffer.from(TarHeader.pax(records, "a") ?? []).toString(), "3")
    assert.isUndefined(TarHeader.pax(records, "c"))
  })
})
