/**
 * RFC 3339 times as OCI documents hold them: the text itself, because a `Date` would lose nanoseconds and offset.
 * What is accepted is what Go's `time.Time` reads from JSON: capital `T` and `Z`, a dot before the fraction, no leap second.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { OciError } from "./OciError.ts"

const time = "(?:[01]\\d|2[0-3]):[0-5]\\d"
const pattern = new RegExp(
  `^\\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\\d|3[01])T${time}:[0-5]\\d(?:\\.\\d+)?(?:Z|[+-]${time})$`
)

// Date reads 30 February as 1 March, so a day that does not exist comes back as another
const dayExists = (text: string): boolean => {
  const day = text.slice(0, 10)
  const midnight = Date.parse(`${day}T00:00:00Z`)
  return !Number.isNaN(midnight) && new Date(midnight).toISOString().startsWith(day)
}

export const Timestamp = Schema.String.check(
  Schema.isPattern(pattern, { expected: "an RFC 3339 time" }),
  Schema.makeFilter(dayExists, { expected: "a day of the calendar" })
).pipe(Schema.brand("effect-containerd/Timestamp"))
export type Timestamp = typeof Timestamp.Type

const is = Schema.is(Timestamp)

const failure = (input: string, detail: string) => Result.fail(new OciError({ kind: "timestamp", input, detail }))

/** The time that `text` is, unchanged, or an `OciError` of kind `timestamp`. */
export const parse = (text: string): Result.Result<Timestamp, OciError> => {
  if (is(text)) return Result.succeed(text)
  return pattern.test(text)
    ? failure(text, "the month has no such day")
    : failure(text, "expected RFC 3339, like 2024-01-02T03:04:05.123456789Z")
}

/**
 * In UTC, without trailing zeros in the fraction, as Go's `time.RFC3339Nano` prints.
 * Throws on an invalid date and on years outside 0 to 9999, which RFC 3339 cannot say.
 */
export const fromDate = (date: Date): Timestamp => Timestamp.make(date.toISOString().replace(/\.?0+Z$/, "Z"))

/** Whole seconds since 1970, such as the value of `SOURCE_DATE_EPOCH`. Fails on fractions and on years outside 0 to 9999. */
export const fromUnixSeconds = (seconds: number): Result.Result<Timestamp, OciError> => {
  if (!Number.isInteger(seconds)) return failure(`${seconds}`, "expected whole seconds since 1970")
  const date = new Date(seconds * 1000)
  const year = date.getUTCFullYear()
  return year >= 0 && year <= 9999
    ? Result.succeed(fromDate(date))
    : failure(`${seconds}`, "the year is outside 0 to 9999")
}

/** Whole seconds since 1970, rounded down, and the nanoseconds (0 to 999 999 999) after them. Finer digits are dropped. */
export const toUnix = (timestamp: Timestamp): { readonly seconds: number; readonly nanos: number } => {
  const fraction = /\.\d+/.exec(timestamp)?.[0] ?? "."
  return {
    seconds: Date.parse(timestamp.replace(/\.\d+/, "")) / 1000,
    nanos: Number(fraction.slice(1, 10).padEnd(9, "0"))
  }
}
