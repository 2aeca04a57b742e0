import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import * as Json from "../../src/oci/Json.ts"
import { hasEscapedKeys } from "./EscapedKeys.ts"

const read = (text: string) => Result.getOrThrow(Json.parse(text))

describe("Json", () => {
  it("keeps integers that a double cannot hold", () => {
    const text = '{"a":9007199254740993,"b":[-9223372036854775808],"c":18446744073709551615}'
    assert.deepStrictEqual(read(text), { a: 9007199254740993n, b: [-9223372036854775808n], c: 18446744073709551615n })
    assert.strictEqual(Json.stringify(read(text)), text)
    const beyondDouble = `[${"9".repeat(400)}]`
    assert.strictEqual(Json.stringify(read(beyondDouble)), beyondDouble)
  })

  it("leaves other numbers to JavaScript", () => {
    assert.deepStrictEqual(read("[9007199254740991,1.5,1e2,-0.25]"), [9007199254740991, 1.5, 100, -0.25])
    assert.strictEqual(read("1e21"), 1e21)
  })

  it.each([
    ["1e400", "the number 1e400 is out of range"],
    ["[-9.5e999]", "the number -9.5e999 is out of range"],
    ["[".repeat(501) + "]".repeat(501), "nested more than 500 levels deep"],
    [`${'{"a":'.repeat(100_000)}1${"}".repeat(100_000)}`, "nested more than 500 levels deep"]
  ])("refuses what it could not write again", (text, expected) => {
    assert.deepStrictEqual(Json.parse(text), Result.fail(expected))
  })

  it.each(["", "{", "{'a':1}", "[1,]", "nul", "\ufeff{}", "1 2", '"\n"'])("refuses %j", (text) => {
    assert.isTrue(Result.isFailure(Json.parse(text)))
  })

  it("counts only brackets outside strings as depth", () => {
    const text = `"${'[{\\"\\\\'.repeat(1000)}"`
    assert.strictEqual(read(text), '[{"\\'.repeat(1000))
    assert.isTrue(Result.isFailure(Json.parse(`["\\\\",${"[".repeat(600)}`)))
    assert.isTrue(Result.isSuccess(Json.parse("[".repeat(500) + "]".repeat(500))))
    assert.isTrue(Result.isSuccess(Json.parse(`[${Array(1000).fill("[]").join()}]`)))
  })

  it("keeps __proto__ as a key like any other", () => {
    const text = '{"__proto__":{"polluted":true},"constructor":1}'
    const value = Json.sortKeys(read(text))
    assert.strictEqual(Json.stringify(value), text)
    assert.strictEqual(Object.getPrototypeOf(value), Object.prototype)
  })

  it("writes undefined as JSON.stringify does", () => {
    const value = { a: undefined, b: [undefined], c: null, d: Number.NaN }
    assert.strictEqual(Json.stringify(value), JSON.stringify(value))
  })

  it.prop("writes what JSON.stringify writes", [Schema.Json], ([value]) => {
    assert.strictEqual(Json.stringify(value), JSON.stringify(value))
  })

  it.prop("reads what it wrote", [Schema.Json], ([value]) => {
    if (hasEscapedKeys(value)) return
    const text = Json.stringify(value)
    assert.strictEqual(Json.stringify(read(text)), text)
  })

  it.prop("sorts keys at every level and changes nothing else", [Schema.Json], ([value]) => {
    const sorted = Json.sortKeys({ z: value, a: [value] })
    assert.deepStrictEqual(sorted, { a: [value], z: value })
    assert.deepStrictEqual(Object.keys(sorted instanceof Object ? sorted : {}), ["a", "z"])
  })
})
