import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import * as Digest from "../../src/oci/Digest.ts"
import * as Document from "../../src/oci/Document.ts"
import { hasEscapedKeys } from "./EscapedKeys.ts"

const bytesOf = (text: string) => new TextEncoder().encode(text)
const textOf = (document: { readonly bytes: Uint8Array }) => new TextDecoder().decode(document.bytes)

const Inner = Document.open({ b: Schema.String, a: Schema.optionalKey(Schema.Natural) })
const Outer = Document.open({
  second: Schema.optionalKey(Schema.String),
  first: Schema.NullOr(Schema.Array(Inner)),
  map: Schema.optionalKey(Schema.Record(Schema.String, Schema.String))
})

const decode = Document.decode(Outer, "text/outer")
const encode = Document.encode(Outer, "text/outer")
const read = (text: string) => Result.getOrThrow(decode(bytesOf(text)))

describe("Document.decode", () => {
  const text = ` { "z": 1,\n"first":[{"x":{"y":null},"b":"t"}] , "second":"s" }\n`

  it("keeps the bytes and describes them", () => {
    const bytes = bytesOf(text)
    const document = Result.getOrThrow(decode(bytes))
    assert.strictEqual(document.bytes, bytes)
    assert.deepStrictEqual(document.descriptor, {
      mediaType: "text/outer",
      digest: Digest.fromBytes(bytes),
      size: bytes.length
    })
    assert.strictEqual(document.value.second, "s")
    assert.deepStrictEqual(document.value.first, [{ x: { y: null }, b: "t" }])
  })

  it.each([
    ['{"first":[{"b":"t"},{"b":1}]}', "$.first[1].b: "],
    ['{"first":[{}]}', "$.first[0].b: Missing key"],
    ['{"first":[{"b":"t","a":-1}]}', "$.first[0].a: "],
    ['{"first":[{"b":"t","a":9007199254740993}]}', "$.first[0].a: "],
    ['{"first":null,"map":{"a.b/c":null}}', '$.map["a.b/c"]: '],
    ["{}", "$.first: Missing key"],
    ["[]", "$: "],
    ["null", "$: "],
    ["", "not JSON: "],
    ["{]", "not JSON: "],
    ['\ufeff{"first":null}', "not JSON: "]
  ])("refuses %s and says where", (text, detail) => {
    const error = Result.getOrThrow(Result.flip(decode(bytesOf(text))))
    assert.strictEqual(error.kind, "document")
    assert.strictEqual(error.input, "text/outer")
    assert.isTrue(error.detail.startsWith(detail), error.detail)
  })

  it("refuses bytes that are not UTF-8", () => {
    const bytes = Buffer.from('{"first":null,"second":"\xff"}', "latin1")
    assert.strictEqual(Result.getOrThrow(Result.flip(decode(bytes))).detail, "not UTF-8")
  })

  it.prop("never throws", [Schema.Uint8Array], ([bytes]) => {
    decode(bytes)
  })
})

describe("Document.encode", () => {
  it("writes known keys in the order of the schema, then the others sorted", () => {
    const value = {
      zoo: { y: 1, x: [{ b: 1, a: 2 }] },
      map: { d: "1", c: "2" },
      art: 1,
      first: [{ z: 1, a: 0, y: 2, b: "t" }],
      second: "s"
    }
    assert.strictEqual(
      textOf(encode(value)),
      '{"second":"s","first":[{"b":"t","a":0,"y":2,"z":1}],"map":{"c":"2","d":"1"},"art":1,"zoo":{"x":[{"a":2,"b":1}],"y":1}}'
    )
  })

  it("describes the new bytes", () => {
    const { bytes, descriptor, value } = encode({ first: null })
    assert.strictEqual(descriptor.digest, Digest.fromBytes(bytes))
    assert.strictEqual(descriptor.size, bytes.length)
    assert.deepStrictEqual(value, { first: null })
  })

  it("keeps what it does not know through an edit, at every level", () => {
    const document = read(
      '{"first":[{"b":"t","__proto__":{"q":1},"big":12345678901234567890}],"__proto__":[2],"é":"\\ud800","n":null}'
    )
    const edited = encode({ ...document.value, second: "new" })
    assert.deepStrictEqual(JSON.parse(textOf(edited)), {
      ...JSON.parse(textOf(document)),
      second: "new"
    })
    assert.isTrue(textOf(edited).includes('"__proto__":{"q":1}'))
    assert.isTrue(textOf(edited).includes('"__proto__":[2]'))
    assert.isTrue(textOf(edited).includes('"big":12345678901234567890'))
    assert.isTrue(textOf(edited).includes('"\\ud800"'))
  })

  it("throws on what the type cannot forbid", () => {
    assert.throws(() => encode({ first: [{ b: "t", a: -1 }] }))
  })

  it.prop(
    "gives equal bytes for equal values, and reads them as the same value",
    [Outer, Schema.Json],
    ([known, extra]) => {
      const value = { ...known, extra }
      const shuffled = { extra, ...Object.fromEntries(Object.entries(known).reverse()), first: known.first }
      const document = encode(value)
      assert.strictEqual(textOf(encode(shuffled)), textOf(document))
      if (hasEscapedKeys(value)) return
      const again = read(textOf(document))
      assert.deepStrictEqual(again.descriptor, document.descriptor)
      assert.deepStrictEqual(encode(again.value), { ...document, value: again.value })
    }
  )
})
