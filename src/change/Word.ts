/**
 * Docker's shell words: quotes, `\`, `$name` and the forms of `${name}` with a word or a pattern
 * (github.com/moby/buildkit, frontend/dockerfile/shell/lex.go). What is wrong with a word does not depend on the
 * environment, but for `${name?message}` and for patterns that themselves have variables.
 */
import * as Result from "effect/Result"
import * as Glob from "./Glob.ts"
import { isSpace } from "./Space.ts"

/** The last of equal names counts. */
export type Environment = ReadonlyMap<string, string>

type Form =
  | { readonly operator: "" }
  | { readonly operator: "-" | "+" | "?"; readonly orEmpty: boolean; readonly word: Word }
  | { readonly operator: "#" | "%"; readonly pattern: Word }
  | { readonly operator: "/"; readonly all: boolean; readonly pattern: Word; readonly replacement: Word }

/** Where it is `whole`, white space in it does not end a word. */
type Part =
  | { readonly _tag: "Text"; readonly text: string; readonly whole: boolean }
  | { readonly _tag: "Variable"; readonly name: string; readonly form: Form; readonly whole: boolean }

export type Word = ReadonlyArray<Part>

interface Cursor {
  readonly text: string
  at: number
}

interface Mode {
  /** What ends the word; the end of the text where it is absent. */
  readonly stop?: "}" | "/"
  /** Inside a pattern a `\` stays: the pattern takes it for its own. */
  readonly keepEscapes: boolean
  readonly depth: number
}

// far beyond any real word, well below what recursion can take
const maxDepth = 200

const plain: Form = { operator: "" }
const text = (text: string, whole: boolean): Part => ({ _tag: "Text", text, whole })

/** Takes what the pattern, which must be sticky, matches here. */
const take = (cursor: Cursor, pattern: RegExp): string => {
  pattern.lastIndex = cursor.at
  const [found = ""] = pattern.exec(cursor.text) ?? []
  cursor.at += found.length
  return found
}

const char = /[\s\S]/uy
const unquoted = /[^$\\'"}/]+/y
const doubleQuoted = /[^$\\"]+/y
const escapedInQuotes = /["$\\]/y
const variableName = /\p{Nd}+|[@*#?$!-]|[\p{L}_][\p{L}\p{Nd}_]*/uy

export const parse = (source: string): Result.Result<Word, string> =>
  parseParts({ text: source, at: 0 }, { keepEscapes: false, depth: 0 })

const parseParts = (cursor: Cursor, mode: Mode): Result.Result<Word, string> =>
  Result.gen(function* () {
    if (mode.depth > maxDepth) return yield* Result.fail(`nests more than ${maxDepth} substitutions`)
    const parts: Array<Part> = []
    while (cursor.at < cursor.text.length) {
      const next = cursor.text[cursor.at]
      if (next === mode.stop) {
        cursor.at += 1
        return parts
      }
      if (next === "'") parts.push(yield* singleQuoted(cursor))
      else if (next === '"') parts.push(...(yield* parseDoubleQuoted(cursor, mode)))
      else if (next === "$") parts.push(yield* parseDollar(cursor, mode, false))
      else if (next === "\\") parts.push(escaped(cursor, mode))
      else parts.push(text(take(cursor, unquoted) || take(cursor, char), false))
    }
    return mode.stop === undefined ? parts : yield* Result.fail(`misses a "${mode.stop}" after "\${"`)
  })

const singleQuoted = (cursor: Cursor): Result.Result<Part, string> => {
  const end = cursor.text.indexOf("'", cursor.at + 1)
  if (end < 0) return Result.fail(`misses the closing ' of a quotation`)
  const content = cursor.text.slice(cursor.at + 1, end)
  cursor.at = end + 1
  return Result.succeed(text(content, true))
}

const escaped = (cursor: Cursor, { keepEscapes }: Mode): Part => {
  cursor.at += 1
  const next = take(cursor, char)
  return text(keepEscapes ? `\\${next}` : next, true)
}

const parseDoubleQuoted = (cursor: Cursor, mode: Mode): Result.Result<Word, string> =>
  Result.gen(function* () {
    const parts: Array<Part> = []
    cursor.at += 1
    while (cursor.at < cursor.text.length) {
      const next = cursor.text[cursor.at]
      if (next === '"') {
        cursor.at += 1
        return parts
      }
      if (next === "$") parts.push(yield* parseDollar(cursor, mode, true))
      else if (next === "\\") parts.push(escapedInDoubleQuotes(cursor, mode))
      else parts.push(text(take(cursor, doubleQuoted), true))
    }
    return yield* Result.fail('misses the closing " of a quotation')
  })

/** Here a `\` before any other character is itself. */
const escapedInDoubleQuotes = (cursor: Cursor, { keepEscapes }: Mode): Part => {
  cursor.at += 1
  const next = take(cursor, escapedInQuotes)
  return text((keepEscapes ? "\\" : "") + (next || "\\"), true)
}

const parseDollar = (cursor: Cursor, mode: Mode, whole: boolean): Result.Result<Part, string> => {
  cursor.at += 1
  if (cursor.text[cursor.at] === "{") {
    cursor.at += 1
    return parseSubstitution(cursor, mode, whole)
  }
  const name = take(cursor, variableName)
  return Result.succeed(name === "" ? text("$", true) : { _tag: "Variable", name, form: plain, whole })
}

const parseSubstitution = (cursor: Cursor, mode: Mode, whole: boolean): Result.Result<Part, string> => {
  if (/^[{}:]/.test(cursor.text.slice(cursor.at, cursor.at + 1))) return Result.fail('misses a name after "${"')
  const name = take(cursor, variableName)
  return Result.map(parseForm(cursor, mode, name), (form) => ({ _tag: "Variable", name, form, whole }))
}

const colon = /:/y
const slash = /\//y

const parseForm = (cursor: Cursor, mode: Mode, name: string): Result.Result<Form, string> => {
  const orEmpty = take(cursor, colon) !== ""
  const operator = take(cursor, char)
  const until = (stop: "}" | "/", keepEscapes: boolean) =>
    parseParts(cursor, { stop, keepEscapes, depth: mode.depth + 1 })
  if (operator === "-" || operator === "+" || operator === "?") {
    return Result.map(until("}", false), (word) => ({ operator, orEmpty, word }))
  }
  if (operator === "") return Result.fail('misses a "}" after "${"')
  if (orEmpty) return Result.fail(badOperator(name, `:${operator}`))
  if (operator === "}") return Result.succeed(plain)
  if (operator === "#" || operator === "%") {
    return Result.flatMap(until("}", true), (pattern) => checkPattern({ operator, pattern }))
  }
  return operator === "/" ? parseReplacement(cursor, until) : Result.fail(badOperator(name, operator))
}

const badOperator = (name: string, operator: string): string =>
  `has "${operator}" after "\${${name}": expected } :- :+ :? - + ? # ## % %% / or //`

const parseReplacement = (
  cursor: Cursor,
  until: (stop: "}" | "/", keepEscapes: boolean) => Result.Result<Word, string>
): Result.Result<Form, string> => {
  const all = take(cursor, slash) !== ""
  return Result.gen(function* () {
    const pattern = yield* until("/", true)
    const replacement = yield* until("}", true)
    return yield* checkPattern({ operator: "/", all, pattern, replacement })
  })
}

/** Refuses a pattern that can be known now. */
const checkPattern = (form: Extract<Form, { readonly pattern: Word }>): Result.Result<Form, string> => {
  if (!isConstant(form.pattern)) return Result.succeed(form)
  const pattern = Result.map(expand(form.pattern, new Map()), (pattern) => withoutGreed(form.operator, pattern))
  return Result.map(Result.flatMap(pattern, Glob.parse), () => form)
}

const withoutGreed = (operator: string, pattern: string): string =>
  pattern.startsWith(operator) && operator !== "/" ? pattern.slice(1) : pattern

/** Whether the word is the same in every environment. */
export const isConstant = (word: Word): boolean => word.every((part) => part._tag === "Text")

/** `ProcessWord`: one word, whatever white space there is. */
export const expand = (word: Word, environment: Environment): Result.Result<string, string> =>
  Result.map(Result.all(word.map((part) => partValue(part, environment))), (values) => values.join(""))

const partValue = (part: Part, environment: Environment): Result.Result<string, string> => {
  if (part._tag === "Text") return Result.succeed(part.text)
  const { name, form } = part
  const value = environment.get(name)
  switch (form.operator) {
    case "":
      return Result.succeed(value ?? "")
    case "-":
    case "+":
    case "?": {
      const isSet = value !== undefined && !(form.orEmpty && value === "")
      // also what is not used must be right
      return Result.flatMap(expand(form.word, environment), (word) => {
        if (form.operator === "+") return Result.succeed(isSet ? word : "")
        if (isSet) return Result.succeed(value)
        return form.operator === "-" ? Result.succeed(word) : Result.fail(mustBeSet(name, word, form.orEmpty))
      })
    }
    case "/":
      return Result.gen(function* () {
        const glob = yield* Result.flatMap(expand(form.pattern, environment), Glob.parse)
        const replacement = yield* expand(form.replacement, environment)
        return Glob.replace(glob, value ?? "", replacement, form.all)
      })
    default:
      return Result.gen(function* () {
        const pattern = yield* expand(form.pattern, environment)
        const bare = withoutGreed(form.operator, pattern)
        const glob = yield* Glob.parse(bare)
        const trim = form.operator === "#" ? Glob.trimPrefix : Glob.trimSuffix
        return trim(glob, value ?? "", bare !== pattern)
      })
  }
}

const mustBeSet = (name: string, message: string, orEmpty: boolean): string =>
  `needs the variable ${name}, which is unset${orEmpty ? " or empty" : ""}${message === "" ? "" : `: ${message}`}`

/** `ProcessWords`: split at the white space that is neither quoted nor escaped, also at that of variables. */
export const expandToWords = (word: Word, environment: Environment): Result.Result<ReadonlyArray<string>, string> =>
  Result.gen(function* () {
    const words: Array<string> = []
    let current = ""
    for (const part of word) {
      for (const char of yield* partValue(part, environment)) {
        if (part.whole || !isSpace(char)) current += char
        else if (current !== "") {
          words.push(current)
          current = ""
        }
      }
    }
    return current === "" ? words : [...words, current]
  })
