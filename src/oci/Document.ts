/**
 * Documents that are addressed by the digest of their bytes. What was read keeps its bytes, whatever their key order and white space;
 * only an edit makes new ones.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import * as Descriptor from "./Descriptor.ts"
import * as Json from "./Json.ts"
import { OciError } from "./OciError.ts"

export { open } from "./Json.ts"

/** `value` is what `bytes` say; `descriptor` describes `bytes`. Edit by `encode({ ...document.value, key })`. */
export interface Document<out A> {
  readonly bytes: Uint8Array
  readonly descriptor: Descriptor.Descriptor
  readonly value: A
}

const standardIssues = SchemaIssue.makeFormatterStandardSchemaV1()

const describe = (error: Schema.SchemaError): string =>
  standardIssues(error.issue)
    .issues.map(({ message, path }) => `${jsonPath(path)}: ${message}`)
    .join("; ")

type Segment = PropertyKey | { readonly key: PropertyKey }

const jsonPath = (path: ReadonlyArray<Segment> = []): string =>
  path.reduce<string>((prefix, segment) => {
    const key = typeof segment === "object" ? segment.key : segment
    if (typeof key === "number") return `${prefix}[${key}]`
    return /^\w+$/.test(String(key)) ? `${prefix}.${String(key)}` : `${prefix}[${JSON.stringify(String(key))}]`
  }, "$")

/**
 * Reads the JSON in `bytes`. `subject` names it in the error: an `OciError` of kind `document` for bytes that are not UTF-8, for text that
 * is not JSON, and, with the JSON path, for what `schema` does not allow.
 */
export const read = <S extends Schema.ConstraintDecoder<unknown>>(schema: S, subject: string) => {
  const decodeValue = Schema.decodeUnknownResult(schema)
  const failure = (detail: string) => new OciError({ kind: "document", input: subject, detail })
  return (bytes: Uint8Array): Result.Result<S["Type"], OciError> =>
    Result.gen(function* () {
      const text = yield* Result.mapError(decodeText(bytes), failure)
      const json = yield* Result.mapError(Json.parse(text), (detail) => failure(`not JSON: ${detail}`))
      return yield* Result.mapError(decodeValue(json), (error) => failure(describe(error)))
    })
}

const decodeText = (bytes: Uint8Array) =>
  Result.try({
    // a byte order mark is no JSON; left alone, TextDecoder would hide it
    try: () => new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes),
    catch: () => "not UTF-8"
  })

/** Reads a document and keeps `bytes`, which the caller must not change afterwards. Fails as `read` does. */
export const decode = <S extends Schema.ConstraintDecoder<unknown>>(schema: S, mediaType: string) => {
  const readValue = read(schema, mediaType)
  return (bytes: Uint8Array): Result.Result<Document<S["Type"]>, OciError> =>
    Result.map(readValue(bytes), (value) => ({ bytes, descriptor: Descriptor.of(mediaType, bytes), value }))
}

/**
 * Writes a document anew: the keys of the schema in its order, then the others sorted, without white space. Equal values give equal
 * bytes. Throws when `value` breaks a rule of the schema that its type does not show, such as a negative size.
 */
export const encode = <S extends Schema.ConstraintEncoder<unknown>>(schema: S, mediaType: string) => {
  const encodeValue = Schema.encodeUnknownSync(schema)
  return (value: S["Type"]): Document<S["Type"]> => {
    const bytes = new TextEncoder().encode(Json.stringify(encodeValue(Json.sortKeys(value))))
    return { bytes, descriptor: Descriptor.of(mediaType, bytes), value }
  }
}
