/**
 * How an instruction's line falls into words (github.com/moby/buildkit, frontend/dockerfile/parser/split_command.go and
 * line_parsers.go).
 */
import * as Result from "effect/Result"
import * as Json from "../oci/Json.ts"
import type { Command } from "./Model.ts"
import { spaces, trim, trimStart } from "./Space.ts"

/** A piece of a line, and where in the line it is. */
export interface Span {
  readonly text: string
  readonly at: number
}

/** What is wrong, and where in the line. */
export interface Failure {
  readonly at: number
  readonly detail: string
}

export type Parsed<A> = Result.Result<A, Failure>

export const fail = (at: number, detail: string): Parsed<never> => Result.fail({ at, detail })

/** `name` is undone of its quotes, and `value` is absent where there is no `=`. */
export interface Flag {
  readonly name: string
  readonly value: string | undefined
  readonly at: number
}

export interface Instruction {
  readonly line: Span
  /** As it is written. */
  readonly keyword: Span
  readonly flags: ReadonlyArray<Flag>
  readonly args: Span
}

export const trimSpan = ({ text, at }: Span): Span => {
  const rest = trimStart(text)
  return { text: trim(rest), at: at + text.length - rest.length }
}

const skip = ({ text, at }: Span, length: number): Span => ({ text: text.slice(length), at: at + length })

/** Splits off what the pattern matches at the start. */
const head = (span: Span, pattern: RegExp): readonly [head: Span, rest: Span] => {
  const [found = ""] = pattern.exec(span.text) ?? []
  return [{ text: found, at: span.at }, skip(span, found.length)]
}

const inQuotes = (quote: string) => `${quote}(?:\\\\(?:[\\s\\S]|$)|[^${quote}\\\\])*(?:${quote}|$)`
const flagWord = new RegExp(`^(?:\\\\(?:[\\s\\S]|$)|${inQuotes("'")}|${inQuotes('"')}|[^${spaces}\\\\'"])+`)
const flagPiece = new RegExp(`\\\\[\\s\\S]?|${inQuotes("'")}|${inQuotes('"')}`, "g")

const unquote = (word: string): string =>
  word.replace(flagPiece, (piece: string) =>
    piece.startsWith("\\") ? piece.slice(1) : withoutEscapes(piece.slice(1, piece.at(-1) === piece[0] ? -1 : undefined))
  )

const withoutEscapes = (text: string): string => text.replace(/\\([\s\S]?)/g, "$1")

const readFlags = (line: Span): readonly [flags: ReadonlyArray<Flag>, args: Span] => {
  const flags: Array<Flag> = []
  let rest = trimSpan(line)
  while (rest.text.startsWith("--")) {
    const [word, after] = head(rest, flagWord)
    rest = trimSpan(after)
    const flag = unquote(word.text)
    if (flag === "--") break
    const [name = ""] = flag.split("=", 1)
    flags.push({ name, value: flag === name ? undefined : flag.slice(name.length + 1), at: word.at })
  }
  return [flags, rest]
}

/** An instruction's keyword, its flags, which may stop at `--`, and what follows. */
export const splitLine = (line: Span): Instruction => {
  const [keyword, rest] = head(trimSpan(line), /^[^\t\v\f\r ]+/)
  const [flags, args] = readFlags(rest)
  return { line, keyword, flags, args }
}

/** At white space only: quotes do not hold a word together. */
export const words = ({ text, at }: Span): ReadonlyArray<Span> =>
  [...text.matchAll(/[^\t\v\f\r ]+/g)].map((found) => ({ text: found[0], at: at + found.index }))

/** A list where the text is JSON and a list. */
export const jsonWords = ({ text, at }: Span): Parsed<ReadonlyArray<string> | undefined> => {
  const value = text.startsWith("[") ? Result.getOrUndefined(Json.parse(text)) : undefined
  if (!Array.isArray(value)) return Result.succeed(undefined)
  const items: ReadonlyArray<unknown> = value
  const strings = items.filter((item) => typeof item === "string").map((item) => item.toWellFormed())
  return strings.length === items.length
    ? Result.succeed(strings)
    : fail(at, "has a JSON list of other things than strings: expected strings only")
}

/** The exec form or the shell form. */
export const command = (span: Span): Parsed<Command> => Result.map(jsonWords(span), (list) => list ?? span.text)

const pairWord = new RegExp(
  `(?:\\\\[\\s\\S]|'[^']*(?:'|$)|"(?:\\\\[\\s\\S]|[^"\\\\])*(?:"|\\\\?$)|[^${spaces}\\\\'"])+`,
  "g"
)

/** `NAME=value NAME=value` or the old `NAME value`; quotes and escapes are still in the words. */
export const pairs = (span: Span): Parsed<ReadonlyArray<readonly [name: Span, value: Span]>> => {
  const found = [...span.text.matchAll(pairWord)].map((word) => ({ text: word[0], at: span.at + word.index }))
  const [first] = found
  if (first === undefined) return Result.succeed([])
  if (!first.text.includes("=")) {
    const [name, rest] = head(span, /^[^\t\v\f\r ]+/)
    const value = trimSpan(rest)
    return value.text === ""
      ? fail(span.at, `has no value for ${JSON.stringify(name.text)}: expected NAME=value`)
      : Result.succeed([[name, value]])
  }
  return Result.all(found.map(pair))
}

const pair = (word: Span): Parsed<readonly [Span, Span]> => {
  const at = word.text.indexOf("=")
  return at < 0
    ? fail(word.at, `has ${JSON.stringify(word.text)} without =: expected NAME=value, with quotes around white space`)
    : Result.succeed([{ text: word.text.slice(0, at), at: word.at }, skip(word, at + 1)])
}
