/**
 * The lines of a Dockerfile: a `\` at the end joins the next one, comments and empty lines fall out
 * (github.com/moby/buildkit, frontend/dockerfile/parser/parser.go `Parse`).
 */
import { trim, trimStart } from "./Space.ts"

/** 1-based, in UTF-16 units. */
export interface Position {
  readonly line: number
  readonly column: number
}

/** An instruction in one piece, and where its parts come from. */
export interface Line {
  readonly text: string
  readonly pieces: ReadonlyArray<Position & { readonly at: number }>
}

const continuation = /(^|[^\\])\\[ \t]*$/u
const isComment = (line: string) => trimStart(line).startsWith("#")

/** The last line may end with `\`: then there is nothing to join. */
export const split = (text: string): ReadonlyArray<Line> => {
  const lines: Array<Line> = []
  let open: Line | undefined
  for (const [index, physical] of text.split("\n").entries()) {
    const withoutEnd = physical.replace(/\r+$/, "")
    if (isComment(withoutEnd) || (open !== undefined && trim(withoutEnd) === "")) continue
    const content = open === undefined ? trimStart(withoutEnd) : withoutEnd
    const goesOn = continuation.test(content)
    const before: Line = open ?? { text: "", pieces: [] }
    const piece = { at: before.text.length, line: index + 1, column: withoutEnd.length - content.length + 1 }
    const joined = {
      text: before.text + content.replace(continuation, "$1"),
      pieces: [...before.pieces, piece]
    }
    open = goesOn ? joined : undefined
    if (!goesOn && joined.text !== "") lines.push(joined)
  }
  return open === undefined ? lines : [...lines, open]
}

/** Where in the text a place of the line is. */
export const locate = ({ pieces }: Line, at: number): Position => {
  const piece = pieces.findLast((piece) => piece.at <= at) ?? { at: 0, line: 1, column: 1 }
  return { line: piece.line, column: piece.column + at - piece.at }
}
