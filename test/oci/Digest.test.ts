import { createHash } from "node:crypto"
import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import * as Digest from "../../src/oci/Digest.ts"

describe("Digest", () => {
  it("reads sha256 and sha512", () => {
    for (const [algorithm, length] of [
      ["sha256", 64],
      ["sha512", 128]
    ] as const) {
      const digest = Result.getOrThrow(Digest.parse(`${algorithm}:${"0f".repeat(length / 2)}`))
      assert.strictEqual(Digest.algorithm(digest), algorithm)
      assert.strictEqual(Digest.hex(digest), "0f".repeat(length / 2))
      assert.isTrue(Digest.is(digest))
    }
  })

  it.each([
    ["", "expected algorithm:hex"],
    ["f".repeat(64), "expected algorithm:hex"],
    ["md5:d41d8cd98f00b204e9800998ecf8427e", "only sha256 and sha512 are supported"],
    [`SHA256:${"f".repeat(64)}`, "only sha256 and sha512 are supported"],
    [`sha256:${"f".repeat(63)}`, "expected 64 lowercase hexadecimal digits after sha256:"],
    [`sha256:${"f".repeat(65)}`, "expected 64 lowercase hexadecimal digits after sha256:"],
    [`sha256:${"F".repeat(64)}`, "expected 64 lowercase hexadecimal digits after sha256:"],
    [`sha256:${"f".repeat(64)}\n`, "expected 64 lowercase hexadecimal digits after sha256:"],
    [`sha512:${"f".repeat(64)}`, "expected 128 lowercase hexadecimal digits after sha512:"]
  ])("refuses %j", (text, expected) => {
    const error = Result.getOrThrow(Result.flip(Digest.parse(text)))
    assert.strictEqual(error.kind, "digest")
    assert.strictEqual(error.detail, expected)
    assert.isFalse(Digest.is(text))
  })

  it("names a long input by its beginning", () => {
    const { message } = Result.getOrThrow(Result.flip(Digest.parse("x".repeat(1000))))
    assert.strictEqual(message, `invalid digest "${"x".repeat(97)}...": expected algorithm:hex`)
  })

  it("hashes the empty text as everybody does", () => {
    assert.strictEqual(
      Digest.fromBytes(new Uint8Array()),
      "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )
  })

  it.prop(
    "hashes in pieces as in one",
    [Schema.Array(Schema.Uint8Array), Schema.Literals(["sha256", "sha512"])],
    ([pieces, algorithm]) => {
      const hasher = Digest.hasher(algorithm)
      const whole = Buffer.concat(pieces)
      for (const piece of pieces) {
        hasher.update(piece)
        hasher.digest() // looking does not disturb
      }
      assert.strictEqual(hasher.size, whole.length)
      assert.strictEqual(hasher.digest(), `${algorithm}:${createHash(algorithm).update(whole).digest("hex")}`)
      assert.strictEqual(hasher.digest(), Digest.fromBytes(whole, algorithm))
    }
  )

  it.prop("agrees with itself on any text", [Schema.String], ([text]) => {
    assert.strictEqual(Result.isSuccess(Digest.parse(text)), Digest.is(text))
  })

  it.prop("reads what its schema makes", [Digest.Digest], ([digest]) => {
    assert.deepStrictEqual(Digest.parse(digest), Result.succeed(digest))
    assert.strictEqual(`${Digest.algorithm(digest)}:${Digest.hex(digest)}`, digest)
  })
})
