import { createHash } from "node:crypto"
import { assert, describe, it } from "@effect/vitest"
import { Option, Schema } from "effect"
import * as ChainId from "../../src/oci/ChainId.ts"
import * as Digest from "../../src/oci/Digest.ts"

/** The recursion of image-spec's config.md, from the top down. */
const specified = (diffIds: ReadonlyArray<string>): string => {
  const top = diffIds.at(-1) ?? ""
  if (diffIds.length === 1) return top
  return `sha256:${createHash("sha256")
    .update(`${specified(diffIds.slice(0, -1))} ${top}`)
    .digest("hex")}`
}

const diffIds = (...texts: ReadonlyArray<string>) => texts.map((text) => Digest.fromBytes(Buffer.from(text)))

describe("ChainId", () => {
  it("is nothing without layers and the diff ID of a single one", () => {
    assert.isTrue(Option.isNone(ChainId.fromDiffIds([])))
    const [only] = diffIds("a")
    assert.strictEqual(Option.getOrUndefined(ChainId.fromDiffIds(diffIds("a"))), only)
  })

  it("hashes the text of parent, space and diff ID", () => {
    assert.strictEqual(
      Option.getOrUndefined(ChainId.fromDiffIds(diffIds("a", "b"))),
      "sha256:51c0c8ace48498d6f5fee6b0592cc06f2da0f3cbe09c5a34a97dce85c3889676"
    )
  })

  it.prop("follows the specification", [Schema.NonEmptyArray(Digest.Digest)], ([layers]) => {
    assert.strictEqual(Option.getOrUndefined(ChainId.fromDiffIds(layers)), specified(layers))
  })

  it.prop("grows by one layer", [Schema.Array(Digest.Digest), Digest.Digest], ([layers, top]) => {
    assert.deepStrictEqual(
      ChainId.fromDiffIds([...layers, top]),
      Option.some(ChainId.append(ChainId.fromDiffIds(layers), top))
    )
  })
})
