import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import * as Timestamp from "../../src/oci/Timestamp.ts"

const read = (text: string) => Result.getOrThrow(Timestamp.parse(text))

describe("Timestamp", () => {
  it.each([
    ["1970-01-01T00:00:00Z", 0, 0],
    ["2024-01-02T03:04:05.123456789Z", 1704164645, 123456789],
    ["2024-01-02T05:04:05.5+02:00", 1704164645, 500000000],
    ["2024-01-02T03:04:05.1234567891Z", 1704164645, 123456789],
    ["1969-12-31T23:59:59.75Z", -1, 750000000],
    ["2024-02-29T00:00:00Z", 1709164800, 0],
    ["2000-02-29T23:59:59-23:59", 951955139, 0],
    ["0001-01-01T00:00:00Z", -62135596800, 0],
    ["0000-01-01T00:00:00Z", -62167219200, 0],
    ["9999-12-31T23:59:59.999999999Z", 253402300799, 999999999]
  ])("reads %s", (text, seconds, nanos) => {
    assert.strictEqual(read(text), text)
    assert.deepStrictEqual(Timestamp.toUnix(read(text)), { seconds, nanos })
  })

  it.each([
    "",
    "2024-01-02",
    "2024-01-02 03:04:05Z",
    "2024-01-02t03:04:05Z",
    "2024-01-02T03:04:05z",
    "2024-01-02T03:04:05",
    "2024-01-02T03:04:05.Z",
    "2024-01-02T03:04:05,5Z",
    "2024-01-02T3:04:05Z",
    "2024-01-02T03:04:05+0200",
    "2024-01-02T03:04:05+24:00",
    "2024-01-02T03:04:05+02:60",
    "2024-00-02T03:04:05Z",
    "2024-13-02T03:04:05Z",
    "2024-01-00T03:04:05Z",
    "2024-01-32T03:04:05Z",
    "2024-02-30T03:04:05Z",
    "2023-02-29T03:04:05Z",
    "1900-02-29T03:04:05Z",
    "2024-04-31T03:04:05Z",
    "2024-01-02T24:00:00Z",
    "2024-01-02T03:60:05Z",
    "2024-01-02T03:04:60Z",
    "12024-01-02T03:04:05Z",
    "2024-01-02T03:04:05Z\n"
  ])("refuses %j", (text) => {
    assert.strictEqual(Result.getOrThrow(Result.flip(Timestamp.parse(text))).kind, "timestamp")
  })

  it("writes no trailing zeros", () => {
    assert.strictEqual(Timestamp.fromDate(new Date("2024-01-02T03:04:10.000Z")), "2024-01-02T03:04:10Z")
    assert.strictEqual(Timestamp.fromDate(new Date("2024-01-02T03:04:00.120Z")), "2024-01-02T03:04:00.12Z")
    assert.strictEqual(Timestamp.fromDate(new Date("2024-01-02T03:04:00.007Z")), "2024-01-02T03:04:00.007Z")
  })

  it("takes whole seconds of the years that it can write", () => {
    assert.deepStrictEqual(Timestamp.fromUnixSeconds(1704164645), Timestamp.parse("2024-01-02T03:04:05Z"))
    assert.deepStrictEqual(Timestamp.fromUnixSeconds(-1), Timestamp.parse("1969-12-31T23:59:59Z"))
    for (const seconds of [0.5, Number.NaN, Number.POSITIVE_INFINITY, 253402300800, -62167219201, 1e300]) {
      assert.isTrue(Result.isFailure(Timestamp.fromUnixSeconds(seconds)), `${seconds}`)
    }
  })

  const millis = Schema.Int.check(Schema.isBetween({ minimum: -62167219200000, maximum: 253402300799999 }))
  it.prop("keeps a date to the millisecond", [millis], ([milliseconds]) => {
    const timestamp = Timestamp.fromDate(new Date(milliseconds))
    const { seconds, nanos } = Timestamp.toUnix(timestamp)
    assert.strictEqual(seconds * 1000 + nanos / 1e6, milliseconds)
    assert.strictEqual(read(timestamp), timestamp)
  })

  const number = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 99 }))
  const two = (part: number) => `${part}`.padStart(2, "0")
  it.prop("knows the calendar", { month: number, day: number, hour: number }, ({ month, day, hour }) => {
    const days = new Date(Date.UTC(2023, month, 0)).getUTCDate()
    const exists = month >= 1 && month <= 12 && day >= 1 && day <= days && hour < 24
    const text = `2023-${two(month)}-${two(day)}T${two(hour)}:00:00Z`
    assert.strictEqual(Result.isSuccess(Timestamp.parse(text)), exists)
  })

  it.prop("reads what its schema makes", [Timestamp.Timestamp], ([timestamp]) => {
    assert.deepStrictEqual(Timestamp.parse(timestamp), Result.succeed(timestamp))
    const { seconds, nanos } = Timestamp.toUnix(timestamp)
    assert.isTrue(Number.isSafeInteger(seconds) && Number.isSafeInteger(nanos) && nanos >= 0 && nanos < 1e9)
  })
})
