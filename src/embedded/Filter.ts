/**
 * containerd's filters: `field`, `field==value`, `field!=value`, `field~=regular expression`; a comma is "and", several
 * filters are "or" (containerd, pkg/filters).
 *
 * @since 0.1.0
 */
import { InvalidArgument } from "../core/ContainerdError.ts"
import { refuse } from "./EmbeddedError.ts"

/** The value of a field such as `["labels", "k"]`; `undefined` when there is none. An unknown field has none. */
export type Fields = (path: ReadonlyArray<string>) => string | undefined
export type Predicate = (fields: Fields) => boolean

type Operator = "==" | "!=" | "~="

const quoted = String.raw`"(?:[^"\\]|\\.)*"`
const fieldPattern = new RegExp(String.raw`^(?:[A-Za-z][\w]*|${quoted})`)
const operatorPattern = /^(?:==|!=|~=)/
const valuePattern = new RegExp(String.raw`^(?:${quoted}|\|[^|]*\||/[^/]*/|[^\s,"]+)`)

const isOperator = (text: string): text is Operator => text === "==" || text === "!=" || text === "~="

const matches = (pattern: string) => {
  try {
    const expression = new RegExp(pattern)
    return (value: string) => expression.test(value)
  } catch {
    return () => false
  }
}

const selector = (path: ReadonlyArray<string>, operator: Operator | undefined, operand: string): Predicate => {
  switch (operator) {
    case undefined:
      return (fields) => fields(path) !== undefined
    case "==":
      return (fields) => fields(path) === operand
    case "!=":
      return (fields) => (fields(path) ?? "") !== operand
    case "~=": {
      const test = matches(operand)
      return (fields) => test(fields(path) ?? "")
    }
  }
}

/** Go's escapes in double quotes are JSON's, as far as anybody writes them here. */
const unquote = (text: string): string => {
  if (text.startsWith("|") || text.startsWith("/")) return text.slice(1, -1)
  if (!text.startsWith('"')) return text
  const value: unknown = JSON.parse(text)
  return String(value)
}

class Scanner {
  readonly #text: string
  #rest: string
  constructor(text: string) {
    this.#text = text
    this.#rest = text.trim()
  }
  get done() {
    return this.#rest === ""
  }
  take(pattern: RegExp): string | undefined {
    const found = pattern.exec(this.#rest)?.[0]
    if (found !== undefined) this.#rest = this.#rest.slice(found.length).trimStart()
    return found
  }
  expect(pattern: RegExp, what: string, method: string): string {
    const message = `filter ${JSON.stringify(this.#text)}: expected ${what} before ${JSON.stringify(this.#rest)}`
    return this.take(pattern) ?? refuse(method, new InvalidArgument({ message }))
  }
}

const parseSelector = (scanner: Scanner, method: string): Predicate => {
  const path: Array<string> = []
  do path.push(unquote(scanner.expect(fieldPattern, "a field", method)))
  while (scanner.take(/^\./) !== undefined)
  const operator = scanner.take(operatorPattern)
  if (operator === undefined || !isOperator(operator)) return selector(path, undefined, "")
  return selector(path, operator, unquote(scanner.expect(valuePattern, "a value", method)))
}

const parse = (text: string, method: string): Predicate => {
  const scanner = new Scanner(text)
  if (scanner.done) return () => true
  const selectors = [parseSelector(scanner, method)]
  while (!scanner.done) {
    scanner.expect(/^,/, "a comma", method)
    selectors.push(parseSelector(scanner, method))
  }
  return (fields) => selectors.every((test) => test(fields))
}

/** Throws `InvalidArgument` for what is no filter. Without filters everything matches. */
export const any = (method: string, filters: ReadonlyArray<string>): Predicate => {
  if (filters.length === 0) return () => true
  const predicates = filters.map((filter) => parse(filter, method))
  return (fields) => predicates.some((test) => test(fields))
}

/** The fields of a record that has scalar fields and labels. */
export const record =
  (scalars: Readonly<Record<string, string>>, labels: Readonly<Record<string, string>>): Fields =>
  ([field = "", ...rest]) => {
    if (field !== "labels") return rest.length === 0 && Object.hasOwn(scalars, field) ? scalars[field] : undefined
    const key = rest.join(".")
    return Object.hasOwn(labels, key) ? labels[key] : undefined
  }
