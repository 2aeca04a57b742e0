import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import * as Duration from "../../src/change/Duration.ts"
import * as Port from "../../src/change/Port.ts"
import { isSignal } from "../../src/change/Signal.ts"

describe("Duration.parse", () => {
  it.each([
    ["0", 0n],
    ["-0", 0n],
    ["1ns", 1n],
    ["1us1µs1μs", 3000n],
    ["1h2m3s4ms", 3_723_004_000_000n],
    ["-1.5h", -5_400_000_000_000n],
    ["+.5s", 500_000_000n],
    ["1.s", 1_000_000_000n],
    ["0.9999999999s", 999_999_999n],
    ["9223372036854775807ns", 2n ** 63n - 1n]
  ])("reads %j", (text, expected) => {
    assert.deepStrictEqual(Duration.parse(text), Result.succeed(expected))
  })

  it.each(["", "1", "s", ".s", "1 s", "1S", "1d", "1.2.3s", "--1s", "1s2", "00", "9223372036854775808ns", "1e3s"])(
    "refuses %j",
    (text) => {
      assert.isTrue(Result.isFailure(Duration.parse(text)))
    }
  )

  it.prop("never throws", [Schema.String], ([text]) => {
    Duration.parse(text)
    Port.parse(text)
    isSignal(text)
  })
})

describe("Port.parse", () => {
  it.each([
    ["80", ["80/tcp"]],
    ["080/UDP", ["80/udp"]],
    ["1-3/sctp", ["1/sctp", "2/sctp", "3/sctp"]],
    ["[::1]:1-2:3-4", ["3/tcp", "4/tcp"]],
    ["::1:86:87", ["87/tcp"]],
    ["1.2.3.4::5", ["5/tcp"]]
  ])("reads %j", (text, expected) => {
    assert.deepStrictEqual(Port.parse(text), Result.succeed(expected))
  })

  it.each([
    "",
    "/",
    "x",
    "1.5",
    "1-",
    "-1",
    "65536",
    "99999999999999999999",
    "80/tcp/udp",
    "1-2-3",
    "x::5",
    "1/a:2",
    "80/ "
  ])("refuses %j", (text) => {
    assert.isTrue(Result.isFailure(Port.parse(text)))
  })

  it("reads all ports at once", () => {
    assert.strictEqual(Result.getOrThrow(Port.parse("0-65535")).length, 65536)
  })
})

describe("isSignal", () => {
  it.each(["SIGTERM", "term", "sigusr1", "RTMIN", "RTMIN+15", "SIGRTMAX-14", "1", "99", "-1", "+2"])(
    "takes %s",
    (text) => {
      assert.isTrue(isSignal(text))
    }
  )

  it.each(["", "SIG", "SIGSIGTERM", "0", "-0", "RTMIN+0", "RTMIN+16", "RTMAX-15", "1.5", " 9", "9".repeat(20)])(
    "refuses %j",
    (text) => {
      assert.isFalse(isSignal(text))
    }
  )
})
