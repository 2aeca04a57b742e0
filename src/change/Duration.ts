/**
 * Durations as Go writes them: `1m30s`, `1.5h`, `100ms` (pkg.go.dev/time `ParseDuration`).
 */
import * as Result from "effect/Result"

const nanoseconds: Readonly<Partial<Record<string, number>>> = {
  ns: 1,
  us: 1e3,
  "\u00b5s": 1e3,
  "\u03bcs": 1e3,
  ms: 1e6,
  s: 1e9,
  m: 60e9,
  h: 3600e9
}

/** The most that Go's int64 holds: 292 years. */
export const max = 2n ** 63n - 1n

/** In nanoseconds; what is less than one falls off. */
export const parse = (text: string): Result.Result<bigint, string> => {
  const [, sign = "", amounts = ""] = /^([-+]?)(.*)$/s.exec(text) ?? []
  if (amounts === "0") return Result.succeed(0n)
  if (!/^(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)[^0-9.]+)+$/.test(amounts)) return Result.fail(expected)
  let total = 0n
  for (const [, whole = "", fraction = "", unit = ""] of amounts.matchAll(/([0-9]*)\.?([0-9]*)([^0-9.]+)/g)) {
    const factor = nanoseconds[unit]
    if (factor === undefined) return Result.fail(expected)
    const scaled = (BigInt(fraction || "0") * BigInt(factor)) / 10n ** BigInt(fraction.length)
    total += BigInt(whole || "0") * BigInt(factor) + scaled
  }
  return total > max
    ? Result.fail("is more than 292 years: expected less")
    : Result.succeed(sign === "-" ? -total : total)
}

const expected = "is no duration: expected numbers with the units h, m, s, ms, us or ns, as 1m30s"
