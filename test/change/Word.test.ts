// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are Docker's
import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import * as Glob from "../../src/change/Glob.ts"
import * as Word from "../../src/change/Word.ts"

const environment = new Map([
  ["HOME", "/home/me"],
  ["NULL", ""],
  ["WIDE", " a  b\tc "],
  ["PATH_", "/usr/lib/x.tar.gz"],
  ["한", "글"],
  ["LINES", "one\ntwo"]
])
const expand = (source: string) => Result.flatMap(Word.parse(source), (word) => Word.expand(word, environment))
const words = (source: string) => Result.flatMap(Word.parse(source), (word) => Word.expandToWords(word, environment))

describe("Word.expand", () => {
  it.each([
    // quotes and escapes
    ["plain", "plain"],
    ["p'l'a\"i\"n", "plain"],
    ["p\\'lain", "p'lain"],
    ["tab\\t", "tabt"],
    ['"tab\\t \\" \\$ \\\\"', 'tab\\t " $ \\'],
    ["'a\\b \"$HOME\"'", 'a\\b "$HOME"'],
    ["end\\", "end"],
    ["end\\\\", "end\\"],
    ["\\😀", "😀"],
    // names
    ["$HOME/$HOME", "/home/me//home/me"],
    ["$HOMES|$HOME.x|${HOME}S", "|/home/me.x|/home/meS"],
    ["$한 ${한}", "글 글"],
    ["$ $. a$", "$ $. a$"],
    ["$1x$12y$0z", "xyz"],
    ["$@a$*b$#c$?d$-e$$f$!g", "abcdefg"],
    ["${1:-one}${@-at}${#:+no}", "oneat"],
    // words in substitutions
    ["${NOPE:-a}${NOPE-b}${NULL:-c}${NULL-d}", "abc"],
    ["${HOME:+a}${HOME+b}${NULL:+c}${NULL+d}${NOPE+e}", "abd"],
    ["${NULL?}${HOME:?x}", "/home/me"],
    ["${NOPE:-${NOPE:-${HOME}}}}", "/home/me}"],
    ["${NOPE:-'}' \"}\" \\} {}}", "} } } {}"],
    ['"${NOPE:-"in"}"', "in"],
    ["${NOPE:-\\$HOME}", "$HOME"],
    // patterns
    ["${PATH_#*/}|${PATH_##*/}|${PATH_%/*}|${PATH_%%/*}", "usr/lib/x.tar.gz|x.tar.gz|/usr/lib|"],
    ["${PATH_#/u?r}|${PATH_%.g?}|${PATH_#x}|${NOPE#*}", "/lib/x.tar.gz|/usr/lib/x.tar|/usr/lib/x.tar.gz|"],
    ["${LINES##*}|${LINES%%*}", "\ntwo|one\n"],
    ["${HOME/m/M}|${HOME//m/M}|${HOME//\\//-}|${HOME//m*/}", "/hoMe/me|/hoMe/Me|-home-me|/ho"],
    ["${한/글/${HOME}}", "/home/me"]
  ])("makes of %j %j", (source, expected) => {
    assert.deepStrictEqual(expand(source), Result.succeed(expected))
  })

  it.each([
    ...["'a", '"a', '"a\\"', "${", "${a", "${a:", "${a:-b", "${a#b", "${a/b", "${a/b/c", "${a:-'}"],
    ...["${}", "${:}", "${{a}}", "${.}", "${a b}", "${a=b}", "${a:=b}", "${a:#b}", "${a:/b/c}", "${a!}", "${a:}"],
    ...["${NOPE?}", "${NULL:?}", "${NOPE:-${NOPE?x}}", "${HOME#\\q}", "${HOME/a\\/}"]
  ])("refuses %j", (source) => {
    assert.isTrue(Result.isFailure(expand(source)))
  })

  it("takes deep nesting for wrong, and long words for right", () => {
    assert.isTrue(Result.isFailure(expand("${a:-".repeat(1e5))))
    assert.deepStrictEqual(expand("'a'$HOME".repeat(1e4)), Result.succeed("a/home/me".repeat(1e4)))
    const long = new Map([["A", "a".repeat(2000)]])
    const word = Result.getOrThrow(Word.parse("${A##*a*a*a*a*a*a*a*b}"))
    assert.deepStrictEqual(Word.expand(word, long), Result.succeed("a".repeat(2000)))
  })

  const noise = Schema.String.check(Schema.isPattern(/^[$\\{}:#%/?+'" *a-cA_1.-]{0,40}$/))
  it.prop("never throws, and does not depend on the environment for the syntax", [noise], ([source]) => {
    const word = Word.parse(source)
    if (Result.isFailure(word)) return
    const results = [Word.expand(word.success, environment), Word.expand(word.success, new Map())]
    if (!Word.isConstant(word.success)) return
    assert.deepStrictEqual(results[0], results[1])
    assert.isTrue(results.every(Result.isSuccess))
  })

  it.prop("gives quoted text back", [Schema.String], ([text]) => {
    assert.deepStrictEqual(expand(`"${text.replace(/["$\\]/g, "\\$&")}"`), Result.succeed(text))
    assert.deepStrictEqual(expand([...text].map((char) => `\\${char}`).join("")), Result.succeed(text))
  })
})

describe("Word.expandToWords", () => {
  it.each([
    ["a b", ["a", "b"]],
    ["  a\t\u00a0b  ", ["a", "b"]],
    ["a\\ b 'c d' \"e f\"g", ["a b", "c d", "e fg"]],
    ["x${WIDE}y", ["x", "a", "b", "c", "y"]],
    ['x"${WIDE}"y', ["x a  b\tc y"]],
    ["a '' $NOPE \"\" b", ["a", "b"]],
    ["8${NOPE:-0 9}", ["80", "9"]],
    ["", []]
  ])("splits %j into %j", (source, expected) => {
    assert.deepStrictEqual(words(source), Result.succeed(expected))
  })
})

describe("Glob", () => {
  const pattern = Schema.String.check(Schema.isPattern(/^[ab*?]{0,6}$/))
  const value = Schema.String.check(Schema.isPattern(/^[ab\n]{0,8}$/))
  const source = (pattern: string, star: string) => pattern.replace(/[*?]/g, (char) => (char === "*" ? star : "[^\\n]"))
  const glob = (pattern: string) => Result.getOrThrow(Glob.parse(pattern))

  it.prop("trims as the regular expressions of Docker do", [pattern, value], ([pattern, value]) => {
    const reversed = [...pattern].reverse().join("")
    const end = (text: string) => [...text].reverse().join("")
    for (const greedy of [false, true]) {
      const star = greedy ? "[^\\n]*" : "[^\\n]*?"
      const expression = new RegExp(`^${source(pattern, star)}`)
      assert.strictEqual(Glob.trimPrefix(glob(pattern), value, greedy), value.replace(expression, ""))
      const backwards = new RegExp(`^${source(reversed, star)}`)
      assert.strictEqual(Glob.trimSuffix(glob(pattern), value, greedy), end(end(value).replace(backwards, "")))
    }
  })

  it.prop("replaces the first match as they do", [pattern, value], ([pattern, value]) => {
    const expression = new RegExp(source(pattern, "[^\\n]*"))
    assert.strictEqual(
      Glob.replace(glob(pattern), value, "<$&>", false),
      value.replace(expression, () => "<$&>")
    )
  })

  it.each([
    ["", "abc", "<>a<>b<>c<>"],
    ["*", "ab", "<>"],
    ["*", "a\nb", "<>\n<>"],
    ["a", "aaba", "<><>b<>"],
    ["?", "😀\n", "<>\n"],
    ["\\*", "a*b", "a<>b"]
  ])("replaces all of %j in %j", (pattern, value, expected) => {
    assert.strictEqual(Glob.replace(glob(pattern), value, "<>", true), expected)
  })
})
