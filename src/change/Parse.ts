/**
 * Reads instructions as `docker commit --change` does (github.com/moby/moby, daemon/builder/dockerfile/builder.go
 * `BuildFromConfig`). Own code: of the parsers on npm the kept one, dockerfile-ast 0.7.1, is made for editors. It loses
 * `\n`, `\u0041` and spaces in the strings of JSON forms, takes `["a", 1]`, and knows neither a health check's times
 * nor Docker's expansion.
 */
import * as Result from "effect/Result"
import { ChangeError } from "./ChangeError.ts"
import { expand } from "./Expand.ts"
import { type Draft, type Expandable, readers } from "./Instructions.ts"
import * as Lines from "./Lines.ts"
import type { Change } from "./Model.ts"
import { trimStart } from "./Space.ts"
import { fail, type Parsed, splitLine } from "./Syntax.ts"
import * as Word from "./Word.ts"

/**
 * One or more instructions, each on a line of its own, which a `\` at its end continues. Comments are allowed;
 * here-documents, the directive `escape` and instructions of more than 64 KiB are not. Refuses all that is wrong
 * whatever the environment is: an instruction without variables is a value already, the others are a `Template`.
 */
export const parse = (text: string): Result.Result<ReadonlyArray<Change>, ChangeError> => {
  const source = text.replace(/^\ufeff/, "")
  const lines = Lines.split(source)
  const directive = escapeDirective(source)
  if (directive !== undefined) {
    return Result.fail(
      new ChangeError({
        ...directive,
        text,
        instruction: "# escape",
        detail: "is not supported: expected \\ to escape"
      })
    )
  }
  if (lines.length === 0) {
    const detail = `has no instruction: expected ${keywords}`
    return Result.fail(new ChangeError({ instruction: "the text", text, line: 1, column: 1, detail }))
  }
  return Result.all(lines.map((line) => readLine(text, line)))
}

const keywords = [...readers.keys()].join(", ").toUpperCase()

/** Only before the first line that is no directive, as in a Dockerfile. */
const escapeDirective = (text: string): Lines.Position | undefined => {
  for (const [index, line] of text.split("\n").entries()) {
    const [, name = "", value = ""] = /^#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*$/.exec(trimStart(line)) ?? []
    if (!["syntax", "check", "escape"].includes(name.toLowerCase())) return undefined
    if (name.toLowerCase() === "escape" && value !== "\\") return { line: index + 1, column: 1 }
  }
  return undefined
}

// Docker's limit is 65535 bytes for each line of the text: none for the whole, which would be none for our time
const maxLength = 65535

const readLine = (text: string, line: Lines.Line): Result.Result<Change, ChangeError> => {
  if (line.text.length > maxLength) {
    const detail = `is longer than ${maxLength} characters`
    return Result.fail(new ChangeError({ instruction: "the line", text, ...Lines.locate(line, 0), detail }))
  }
  const instruction = splitLine({ text: line.text, at: 0 })
  const { keyword } = instruction
  const read = readers.get(keyword.text.toLowerCase())
  const parsed: Parsed<Change> =
    read === undefined
      ? fail(keyword.at, `is not a change: expected ${keywords}`)
      : Result.flatMap(read(instruction), (draft) => finish(draft, { text, ...Lines.locate(line, keyword.at) }))
  return Result.mapError(parsed, ({ at, detail }) => {
    const name = read === undefined ? keyword.text : keyword.text.toUpperCase()
    return new ChangeError({ instruction: name, text, ...Lines.locate(line, at), detail })
  })
}

const finish = ({ value, words }: Draft, source: Lines.Position & { readonly text: string }): Parsed<Change> =>
  Result.gen(function* () {
    const constants = yield* Result.all(words.map(checkWord))
    if (!constants.every((isConstant) => isConstant)) return { _tag: "Template", value, ...source } as const
    return yield* Result.mapError(expand(value, new Map()), (detail) => ({ at: 0, detail }))
  })

/** Whether the word is constant. */
const checkWord = ({ span, rule }: Expandable): Parsed<boolean> => {
  const failure = (detail: string) => ({ at: span.at, detail })
  return Result.gen(function* () {
    const word = yield* Result.mapError(Word.parse(span.text), failure)
    if (!Word.isConstant(word)) return false
    const problem = rule(yield* Result.mapError(Word.expand(word, new Map()), failure))
    return problem === undefined ? true : yield* fail(span.at, problem)
  })
}
