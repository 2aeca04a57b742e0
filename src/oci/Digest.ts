/**
 * Content digests: `sha256:` or `sha512:` and lowercase hexadecimal digits (OCI image-spec, descriptor.md "Digests").
 * Other algorithms, which the specification allows and containerd cannot verify, are refused.
 */
import { createHash } from "node:crypto"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { OciError } from "./OciError.ts"

/** 64 hexadecimal digits after `sha256:`, 128 after `sha512:`. */
export const Digest = Schema.String.check(
  Schema.isPattern(/^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/, { expected: "a sha256 or sha512 digest" })
).pipe(Schema.brand("effect-containerd/Digest"))
export type Digest = typeof Digest.Type

export type Algorithm = "sha256" | "sha512"

export const is: (u: unknown) => u is Digest = Schema.is(Digest)

/** The digest that `text` is, or an `OciError` of kind `digest`. */
export const parse = (text: string): Result.Result<Digest, OciError> =>
  is(text) ? Result.succeed(text) : Result.fail(new OciError({ kind: "digest", input: text, detail: problem(text) }))

const problem = (text: string): string => {
  const [algorithm, hex] = text.split(":", 2)
  if (hex === undefined) return "expected algorithm:hex"
  if (algorithm !== "sha256" && algorithm !== "sha512") return "only sha256 and sha512 are supported"
  return `expected ${algorithm === "sha256" ? 64 : 128} lowercase hexadecimal digits after ${algorithm}:`
}

export const algorithm = (digest: Digest): Algorithm => (digest.startsWith("sha512:") ? "sha512" : "sha256")

/** What follows the colon. */
export const hex = (digest: Digest): string => digest.slice(digest.indexOf(":") + 1)

export const fromBytes = (bytes: Uint8Array, algorithm: Algorithm = "sha256"): Digest => {
  const hash = hasher(algorithm)
  hash.update(bytes)
  return hash.digest()
}

/** A digest in the making. `size` counts the bytes so far; `digest` may be asked at any time, and again. */
export interface Hasher {
  update(bytes: Uint8Array): void
  readonly size: number
  digest(): Digest
}

export const hasher = (algorithm: Algorithm = "sha256"): Hasher => {
  const hash = createHash(algorithm)
  let size = 0
  return {
    update: (bytes) => {
      hash.update(bytes)
      size += bytes.length
    },
    get size() {
      return size
    },
    // a copy, because a finished node hash cannot be used again
    digest: () => Digest.make(`${algorithm}:${hash.copy().digest("hex")}`)
  }
}
