import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Option, Result, Schema } from "effect"
import * as Digest from "../../src/oci/Digest.ts"
import * as Reference from "../../src/oci/Reference.ts"

const read = (text: string) => Result.getOrThrow(Reference.parse(text))
const digest = `sha256:${"0123456789abcdef".repeat(4)}`
const hex64 = "fedcba9876543210".repeat(4)

describe("Reference.parse", () => {
  it.each([
    // short names
    ["alpine", "docker.io", "library/alpine", undefined, undefined],
    ["alpine:3.20", "docker.io", "library/alpine", "3.20", undefined],
    ["owner/app", "docker.io", "owner/app", undefined, undefined],
    ["library/alpine", "docker.io", "library/alpine", undefined, undefined],
    ["docker.io/alpine", "docker.io", "library/alpine", undefined, undefined],
    ["index.docker.io/alpine:1", "docker.io", "library/alpine", "1", undefined],
    ["index.docker.io/a/b/c", "docker.io", "a/b/c", undefined, undefined],
    // a domain before the first slash, or not
    ["localhost/app", "localhost", "app", undefined, undefined],
    ["localhost:5000/app", "localhost:5000", "app", undefined, undefined],
    ["host/app", "docker.io", "host/app", undefined, undefined],
    ["host:5000/app:2", "host:5000", "app", "2", undefined],
    ["HOST/app", "HOST", "app", undefined, undefined],
    ["Docker.io/app", "Docker.io", "app", undefined, undefined],
    ["ghcr.io/owner/app", "ghcr.io", "owner/app", undefined, undefined],
    ["127.0.0.1/app", "127.0.0.1", "app", undefined, undefined],
    ["[::1]/app", "[::1]", "app", undefined, undefined],
    ["[2001:db8::1]:5000/a/b:t", "[2001:db8::1]:5000", "a/b", "t", undefined],
    ["xn--n3h.com/app:xn--n3h.com", "xn--n3h.com", "app", "xn--n3h.com", undefined],
    // without a slash, what follows the colon is a tag
    ["example.com", "docker.io", "library/example.com", undefined, undefined],
    ["localhost", "docker.io", "library/localhost", undefined, undefined],
    ["example.com:5000", "docker.io", "library/example.com", "5000", undefined],
    ["192.168.0.1:80", "docker.io", "library/192.168.0.1", "80", undefined],
    // separators
    ["a.b/c", "a.b", "c", undefined, undefined],
    ["a_b/c__d/e---f.g", "docker.io", "a_b/c__d/e---f.g", undefined, undefined],
    // tags and digests
    ["app:Upper_.-9", "docker.io", "library/app", "Upper_.-9", undefined],
    [`app:${"t".repeat(128)}`, "docker.io", "library/app", "t".repeat(128), undefined],
    [`app@${digest}`, "docker.io", "library/app", undefined, digest],
    [`ghcr.io/app:1@${digest}`, "ghcr.io", "app", "1", digest],
    [`app@sha512:${"a".repeat(128)}`, "docker.io", "library/app", undefined, `sha512:${"a".repeat(128)}`],
    // 64 hexadecimal digits are a name where they cannot be an identifier
    [`docker.io/${hex64}`, "docker.io", `library/${hex64}`, undefined, undefined],
    [`${hex64}:1`, "docker.io", `library/${hex64}`, "1", undefined],
    [hex64.slice(1), "docker.io", `library/${hex64.slice(1)}`, undefined, undefined],
    // 255 characters of path
    [`example.com/${"a".repeat(255)}:tag`, "example.com", "a".repeat(255), "tag", undefined],
    ["b".repeat(247), "docker.io", `library/${"b".repeat(247)}`, undefined, undefined]
  ])("reads %s", (text, domain, path, tag, digest) => {
    const reference = read(text)
    assert.deepStrictEqual(
      { ...reference, tag: Option.getOrUndefined(reference.tag), digest: Option.getOrUndefined(reference.digest) },
      { domain, path, name: `${domain}/${path}`, tag, digest }
    )
  })

  it.each([
    ["", "expected a repository name"],
    ["Alpine", "repository name must be lowercase"],
    ["owner/App:1", "repository name must be lowercase"],
    ["host:5000/Owner/app", "repository name must be lowercase"],
    [hex64, "cannot specify 64-byte hexadecimal strings"],
    [`example.com/${"a".repeat(256)}`, "repository name must not be more than 255 characters"],
    ["b".repeat(248), "repository name must not be more than 255 characters"],
    [`app:${"t".repeat(129)}`, "a tag must be"],
    ["app:", "a tag must be"],
    ["app:.x", "a tag must be"],
    ["app:-x", "a tag must be"],
    ["app:a:b", "a tag must be"],
    ["app:é", "a tag must be"],
    ["app@sha256:ff", "bad digest: expected 64"],
    ["app@", "bad digest"],
    [`app@${digest.toUpperCase()}`, "bad digest"],
    ["app@md5:d41d8cd98f00b204e9800998ecf8427e", "bad digest: only sha256"],
    [`app@${digest}@${digest}`, "bad digest"],
    ["https://example.com/app", "expected a host"],
    ["-host.io/app", "expected a host"],
    ["host-.io/app", "expected a host"],
    ["a..b/app", "expected a host"],
    ["a_b.io/app", "expected a host"],
    ["host:port/app", "expected a host"],
    ["[fe80::1%eth0]:5000/app", "expected a host"],
    ["[::ffff:192.0.2.1]/app", "expected a host"],
    ["fc00::1:5000/app", "expected a host"],
    [":tag", "repository name must"],
    [`@${digest}`, "repository name must"],
    ["/app", "repository name must"],
    ["owner/", "repository name must"],
    ["docker.io/", "repository name must"],
    ["owner//app", "repository name must"],
    ["-app", "repository name must"],
    ["app-", "repository name must"],
    ["_a/_b", "repository name must"],
    ["a__._b", "repository name must"],
    ["a..b", "repository name must"],
    ["a___b", "repository name must"],
    ["a$b", "repository name must"],
    ["a b", "repository name must"],
    [" app", "repository name must"],
    ["[::1]", "repository name must"],
    ["[::1]:5000", "repository name must"]
  ])("refuses %s", (text, detail) => {
    const error = Result.getOrThrow(Result.flip(Reference.parse(text)))
    assert.strictEqual(error.kind, "reference")
    assert.strictEqual(error.input, text)
    assert.isTrue(error.detail.startsWith(detail), error.detail)
  })

  it("refuses a line feed at the end", () => {
    for (const text of ["app\n", "app:1\n", `app@${digest}\n`, "host.io\n/app"]) {
      assert.isTrue(Result.isFailure(Reference.parse(text)), JSON.stringify(text))
    }
  })

  it("gives up quickly on what is made to be slow", () => {
    for (const text of [
      `${"a-".repeat(50_000)}!`,
      `${"a.".repeat(50_000)}!/x`,
      `${"-".repeat(100_000)}x`,
      "[".repeat(100_000)
    ]) {
      assert.isTrue(Result.isFailure(Reference.parse(text)))
    }
  })
})

describe("Reference.familiar", () => {
  it.each([
    ["docker.io/library/alpine:3", "alpine:3"],
    [`alpine:3@${digest}`, `alpine:3@${digest}`],
    ["index.docker.io/owner/app", "owner/app"],
    ["docker.io/library/a/b", "library/a/b"],
    ["ghcr.io/library/app:1", "ghcr.io/library/app:1"],
    ["localhost/app", "localhost/app"],
    // shortened, these would be read as other images or not at all
    ["docker.io/localhost/app", "docker.io/localhost/app"],
    ["docker.io/a.b/app:1", "docker.io/a.b/app:1"],
    [`docker.io/library/${hex64}`, `docker.io/library/${hex64}`]
  ])("%s is %s", (text, expected) => {
    assert.strictEqual(Reference.familiar(read(text)), expected)
  })
})

describe("Reference", () => {
  it("gets the tag latest only where nothing says which", () => {
    assert.strictEqual(Reference.format(Reference.withDefaultTag(read("app"))), "docker.io/library/app:latest")
    assert.strictEqual(Reference.format(Reference.withDefaultTag(read("app:1"))), "docker.io/library/app:1")
    assert.strictEqual(
      Reference.format(Reference.withDefaultTag(read(`app@${digest}`))),
      `docker.io/library/app@${digest}`
    )
  })

  it("is a repository without tag and digest", () => {
    assert.deepStrictEqual(Reference.repository(read(`ghcr.io/app:1@${digest}`)), read("ghcr.io/app"))
  })

  const texts = Arbitrary.map(
    Arbitrary.schema(
      Schema.Struct({
        domain: Schema.Literals([
          "",
          "docker.io/",
          "index.docker.io/",
          "localhost/",
          "host:80/",
          "[::1]/",
          "UP/",
          "a.b/"
        ]),
        path: Schema.String.check(
          Schema.isPattern(/^[a-z0-9]{1,9}((\.|_|__|-{1,3})[a-z0-9]{1,9}){0,2}(\/[a-z0-9]{1,9}){0,2}$/)
        ),
        tag: Schema.Option(Schema.String.check(Schema.isPattern(/^[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,20}$/))),
        digest: Schema.Option(Digest.Digest)
      })
    ),
    ({ domain, path, tag, digest }) =>
      domain +
      // With a dot the first component would be a host, and some of these cannot be one.
      (domain === "" ? path.replaceAll(".", "-") : path) +
      Option.match(tag, { onNone: () => "", onSome: (tag) => `:${tag}` }) +
      Option.match(digest, { onNone: () => "", onSome: (digest) => `@${digest}` })
  )

  it.prop("is the same after format and parse, in full and in short", [texts], ([text]) => {
    const reference = read(text)
    assert.deepStrictEqual(read(Reference.format(reference)), reference)
    assert.deepStrictEqual(read(Reference.familiar(reference)), reference)
    assert.isTrue(Reference.format(reference).endsWith(text.slice(text.indexOf("/") + 1)))
  })

  const noise = Schema.String.check(Schema.isPattern(/^[a-zA-Z0-9.:/@_\-[\]% ]{0,40}$/))
  it.prop("never throws, and what it takes it gives back", [Schema.Union([Schema.String, noise])], ([text]) => {
    const reference = Reference.parse(text)
    if (Result.isFailure(reference)) return
    assert.deepStrictEqual(Reference.parse(Reference.format(reference.success)), reference)
  })
})
