/**
 * The patterns of `${name#pattern}` and its like: `*` and `?` do not match a line feed, `\` takes a wildcard literally
 * (github.com/moby/buildkit, frontend/dockerfile/shell/lex.go `convertShellPatternToRegex`). Matched in the time that
 * the product of both lengths gives: no pattern is slow.
 */
import * as Result from "effect/Result"

type Token = { readonly _tag: "Star" } | { readonly _tag: "Any" } | { readonly _tag: "Char"; readonly char: string }

export type Glob = ReadonlyArray<Token>

const star: Token = { _tag: "Star" }
const any: Token = { _tag: "Any" }

export const parse = (pattern: string): Result.Result<Glob, string> => {
  const tokens: Array<Token> = []
  for (const [token] of pattern.matchAll(/\\[\s\S]?|[\s\S]/gu)) {
    if (token === "*") tokens.push(star)
    else if (token === "?") tokens.push(any)
    else if (!token.startsWith("\\")) tokens.push({ _tag: "Char", char: token })
    else if (/^\\[*?\\}/]$/.test(token)) tokens.push({ _tag: "Char", char: token.slice(1) })
    else return Result.fail(`has the pattern ${JSON.stringify(pattern)}, in which \\ escapes other than * ? \\ } or /`)
  }
  return Result.succeed(tokens)
}

const steps = (token: Token, chars: ReadonlyArray<string>, from: ReadonlySet<number>): ReadonlySet<number> => {
  const reached = new Set<number>()
  for (const start of from) {
    if (token._tag === "Star") {
      for (let at = start; !reached.has(at); at++) {
        reached.add(at)
        if (at >= chars.length || chars[at] === "\n") break
      }
    } else {
      const char = chars[start]
      if (char !== undefined && (token._tag === "Any" ? char !== "\n" : char === token.char)) reached.add(start + 1)
    }
  }
  return reached
}

/** Where a match from `start` on can end, in any order. */
const ends = (glob: Glob, chars: ReadonlyArray<string>, start: number): ReadonlyArray<number> => {
  let reached: ReadonlySet<number> = new Set([start])
  for (const token of glob) {
    reached = steps(token, chars, reached)
    if (reached.size === 0) return []
  }
  return [...reached]
}

const longest = (found: ReadonlyArray<number>) => found.reduce((a, b) => Math.max(a, b), -1)
const shortest = (found: ReadonlyArray<number>) => found.reduce((a, b) => Math.min(a, b))

const prefixLength = (glob: Glob, chars: ReadonlyArray<string>, greedy: boolean): number => {
  const found = ends(glob, chars, 0)
  if (found.length === 0) return 0
  return greedy ? longest(found) : shortest(found)
}

/** `${name#pattern}`, and `${name##pattern}` where `greedy`. */
export const trimPrefix = (glob: Glob, value: string, greedy: boolean): string => {
  const chars = [...value]
  return chars.slice(prefixLength(glob, chars, greedy)).join("")
}

/** `${name%pattern}`, and `${name%%pattern}` where `greedy`. */
export const trimSuffix = (glob: Glob, value: string, greedy: boolean): string => {
  const chars = [...value]
  const length = prefixLength(glob.toReversed(), chars.toReversed(), greedy)
  return chars.slice(0, chars.length - length).join("")
}

/** `${name/pattern/replacement}`, and `${name//pattern/replacement}` where `all`. Of each place the longest match. */
export const replace = (glob: Glob, value: string, replacement: string, all: boolean): string => {
  const chars = [...value]
  let result = ""
  let at = 0
  let lastEnd = 0
  while (at <= chars.length) {
    const end = longest(ends(glob, chars, at))
    // as Go has it: what is empty does not count right after a match
    if (end > lastEnd || (end >= 0 && at === 0)) {
      result += chars.slice(lastEnd, at).join("") + replacement
      lastEnd = end
      if (!all) break
    }
    at = Math.max(end, at + 1)
  }
  return result + chars.slice(lastEnd).join("")
}
