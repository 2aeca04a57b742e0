/**
 * White space as Go's `unicode.IsSpace` has it: JavaScript's `\s` lacks U+0085 and has U+FEFF.
 */
const codes = "\\t-\\r \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000"

/** For a character class of a regular expression. */
export const spaces = codes

const leading = new RegExp(`^[${codes}]+`)
const only = new RegExp(`^[${codes}]$`)

export const isSpace = (char: string): boolean => only.test(char)
export const trimStart = (text: string): string => text.replace(leading, "")

/** By hand: a regular expression would look at every run of white space to its end, from each of its places. */
export const trimEnd = (text: string, isTrimmed: (char: string) => boolean = isSpace): string => {
  let end = text.length
  while (end > 0 && isTrimmed(text.charAt(end - 1))) end -= 1
  return text.slice(0, end)
}

export const trim = (text: string): string => trimEnd(trimStart(text))
