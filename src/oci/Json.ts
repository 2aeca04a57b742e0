/**
 * JSON as content-addressed documents need it: keys that we do not know and integers that a double cannot hold survive
 * reading and writing, and equal values are written as equal text.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"

/** A struct that keeps every key it does not know, as `unknown`. List the fields in the order in which Go's struct has them. */
export const open = <const F extends Schema.Struct.Fields>(fields: F) =>
  Schema.StructWithRest(Schema.Struct(fields), [Schema.Record(Schema.String, Schema.Unknown)])

/** A key that may be absent or `null`, which is what Go writes for a nil slice, map or pointer. */
export const nullable = <S extends Schema.Constraint>(schema: S) => Schema.optionalKey(Schema.NullOr(schema))

// far beyond any real document, well below what recursion can take
const maxDepth = 500

const isTooDeep = (text: string): boolean => {
  let depth = 0
  let inString = false
  for (let i = 0; i < text.length; i++) {
    const char = text[i]
    if (inString && char === "\\") i += 1
    else if (char === '"') inString = !inString
    else if (!inString && (char === "[" || char === "{")) depth += 1
    else if (!inString && (char === "]" || char === "}")) depth -= 1
    if (depth > maxDepth) return true
  }
  return false
}

const keepInteger = (_key: string, value: unknown, context?: { readonly source?: string }): unknown => {
  if (typeof value !== "number" || Number.isSafeInteger(value)) return value
  const source = context?.source ?? ""
  if (/^-?\d+$/.test(source)) return BigInt(source)
  if (!Number.isFinite(value)) throw new SyntaxError(`the number ${source} is out of range`)
  return value
}

/**
 * Integers beyond 2^53 become `bigint`; other numbers have the precision of a double. Fails with what is wrong with the text.
 * Node 24 may misread a key that is written with a backslash (nodejs/node#63785); Node 22 does not.
 */
export const parse = (text: string): Result.Result<unknown, string> =>
  isTooDeep(text)
    ? Result.fail(`nested more than ${maxDepth} levels deep`)
    : Result.try({
        try: (): unknown => JSON.parse(text, keepInteger),
        catch: (cause) => (cause instanceof Error ? cause.message : String(cause))
      })

const isObject = (value: unknown): value is object =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** The same value with the keys of every object in one order, as Go does for its maps. */
export const sortKeys = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(sortKeys)
  if (!isObject(value)) return value
  const sorted = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
  return Object.fromEntries(sorted.map(([key, item]) => [key, sortKeys(item)]))
}

/** As `JSON.stringify` without white space, for JSON values and `bigint`. Keys that are `undefined` are left out. */
export const stringify = (value: unknown): string => {
  if (typeof value === "bigint") return value.toString()
  if (Array.isArray(value)) return `[${value.map(stringify).join(",")}]`
  if (!isObject(value)) return JSON.stringify(value) ?? "null"
  const members = Object.entries(value)
    .filter(([, item]) => item !== undefined)
    .map(([key, item]) => `${JSON.stringify(key)}:${stringify(item)}`)
  return `{${members.join(",")}}`
}
