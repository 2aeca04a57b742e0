/**
 * The lines of a Dockerfile: a `\` at the end joins the next one, comments and empty lines fall out
 * (github.com/moby/buildkit, frontend/dockerfile/parser/parser.go `Parse`).
 */
import { trim, trimEnd, trimStart } from "./Space.ts"

/** 1-based, in UTF-16 units. */
export interface Position {
  readonly line: number
  readonly column: number
}

interface Piece extends Position {
  /** Where in the line the piece begins. */
  readonly at: number
}

/** An instruction in one piece, and where its parts come from. */
export interface Line {
  readonly text: string
  readonly pieces: ReadonlyArray<Piece>
}

const continuation = /(^|[^\\])\\[ \t]*$/u
const isComment = (line: string) => trimStart(line).startsWith("#")

/** The last line may end with `\`: then there is nothing to join. */
export const split = (text: string): ReadonlyArray<Line> => {
  const lines: Array<Line> = []
  let open: { text: string; readonly pieces: Array<Piece> } | undefined
  for (const [index, physical] of text.split("\n").entries()) {
    const line = trimEnd(physical, (char) => char === "\r")
    if (isComment(line) || (open !== undefined && trim(line) === "")) continue
    const content = open === undefined ? trimStart(line) : line
    open ??= { text: "", pieces: [] }
    open.pieces.push({ at: open.text.length, line: index + 1, column: line.length - content.length + 1 })
    open.text += content.replace(continuation, "$1")
    if (continuation.test(content)) continue
    if (open.text !== "") lines.push(open)
    open = undefined
  }
  return open === undefined ? lines : [...lines, open]
}

/** Where in the text a place of the line is. */
export const locate = ({ pieces }: Line, at: number): Position => {
  const piece = pieces.findLast((piece) => piece.at <= at) ?? { at: 0, line: 1, column: 1 }
  return { line: piece.line, column: piece.column + at - piece.at }
}
