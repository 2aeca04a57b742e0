import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Option, Result, Schema } from "effect"
import * as Platform from "../../src/oci/Platform.ts"

const read = (text: string) => Result.getOrThrow(Platform.parse(text))
const { architecture, os } = Platform.host()

const some = (...texts: ReadonlyArray<string>) => Schema.Literals(texts)

/** Real names, their aliases and nonsense, in any case. */
const platforms: Arbitrary.Arbitrary<Platform.Platform> = Arbitrary.map(
  Arbitrary.schema(
    Schema.Struct({
      architecture: some(
        "amd64",
        "x86_64",
        "X86-64",
        "386",
        "i386",
        "arm",
        "armhf",
        "armel",
        "arm64",
        "AARCH64",
        "riscv64",
        "?"
      ),
      os: some("linux", "Linux", "macos", "darwin", "windows", "plan9"),
      variant: some(
        "",
        "v1",
        "v2",
        "v4",
        "5",
        "v6",
        "v7",
        "8",
        "V8",
        "v8.0",
        "v8.3",
        "9",
        "v9.0",
        "v9.2",
        "v12",
        "odd"
      ),
      version: some("", "10.0.17763", "10.0.20348.1", "10.0.26100", "6+1(%)/x"),
      features: Schema.Array(some("win32k", "gpu", "erofs", "a+b"))
    })
  ),
  ({ architecture, os, variant, version, features }) => ({
    architecture,
    os,
    ...(version === "" ? {} : { "os.version": version }),
    ...(features.length === 0 ? {} : { "os.features": features }),
    ...(variant === "" ? {} : { variant })
  })
)

describe("Platform.parse", () => {
  const cases: ReadonlyArray<readonly [string, Platform.Platform]> = [
    ["linux", { os: "linux", architecture }],
    ["macOS", { os: "darwin", architecture }],
    ["arm64", { os, architecture: "arm64" }],
    ["Aarch64", { os, architecture: "arm64" }],
    ["x86_64", { os, architecture: "amd64" }],
    ["arm", { os, architecture: "arm" }],
    ["armhf", { os, architecture: "arm" }],
    ["armel", { os, architecture: "arm", variant: "v6" }],
    ["Linux/x86-64", { os: "linux", architecture: "amd64" }],
    ["linux/arm", { os: "linux", architecture: "arm" }],
    ["linux/arm/v7", { os: "linux", architecture: "arm", variant: "v7" }],
    ["linux/arm/6", { os: "linux", architecture: "arm", variant: "v6" }],
    ["linux/arm64", { os: "linux", architecture: "arm64" }],
    ["linux/arm64/v8", { os: "linux", architecture: "arm64", variant: "v8" }],
    ["linux/amd64/v1", { os: "linux", architecture: "amd64" }],
    ["linux/amd64/v3", { os: "linux", architecture: "amd64", variant: "v3" }],
    ["unknown/unknown", { os: "unknown", architecture: "unknown" }],
    ["windows()", { os: "windows", architecture }],
    ["windows(10.0.17763)/amd64", { os: "windows", architecture: "amd64", "os.version": "10.0.17763" }],
    ["linux(+gpu+erofs)/amd64", { os: "linux", architecture: "amd64", "os.features": ["gpu", "erofs"] }],
    [
      "windows(10%2B1+win32k)/amd64",
      { os: "windows", architecture: "amd64", "os.version": "10+1", "os.features": ["win32k"] }
    ]
  ]
  it.each(cases)("reads %s", (text, expected) => {
    assert.deepStrictEqual(read(text), expected)
  })

  it.each([
    "",
    "/",
    "nothing",
    "*",
    "linux/*",
    "linux/",
    "/amd64",
    "linux/&arm",
    "linux//v7",
    "linux/arm/",
    "linux/arm/v7/more",
    "linux/arm(7)",
    "linux amd64",
    "linux(1",
    "linux()x",
    "linux(+)",
    "linux(++gpu)",
    "arm64(1.0)",
    "windows(%zz)/amd64",
    "windows(+%ff)/amd64"
  ])("refuses %j", (text) => {
    assert.strictEqual(Result.getOrThrow(Result.flip(Platform.parse(text))).kind, "platform")
  })

  it.prop("never throws", [Schema.String], ([text]) => {
    Platform.parse(text)
  })
})

describe("Platform.format", () => {
  it("sorts features and escapes what would be syntax", () => {
    const platform = {
      os: "linux",
      architecture: "arm",
      variant: "v7",
      "os.version": "1/(2)%",
      "os.features": ["b+", "a", "a", ""]
    }
    assert.strictEqual(Platform.format(platform), "linux(1%2F%282%29%25+a+b%2B)/arm/v7")
  })

  it("is unknown without an os", () => {
    assert.strictEqual(Platform.format({ os: "", architecture: "amd64" }), "unknown")
  })

  it.prop("is read again as the same platform", [platforms], ([platform]) => {
    if (platform.architecture === "?") return
    const again = Platform.normalize(read(Platform.format(platform)))
    assert.deepStrictEqual(again, Platform.normalize(platform))
  })
})

describe("Platform.normalize", () => {
  const cases: ReadonlyArray<readonly [string, string, string, string]> = [
    ["aarch64", "", "arm64", ""],
    ["arm64", "v8", "arm64", ""],
    ["arm64", "8", "arm64", ""],
    ["arm64", "v8.1", "arm64", "v8.1"],
    ["arm64", "9.0", "arm64", "v9"],
    ["X86_64", "", "amd64", ""],
    ["x86-64", "V1", "amd64", ""],
    ["amd64", "v2", "amd64", "v2"],
    ["i386", "sse2", "386", ""],
    ["armhf", "", "arm", "v7"],
    ["armel", "v7", "arm", "v6"],
    ["arm", "", "arm", "v7"],
    ["arm", "5", "arm", "v5"],
    ["arm", "8", "arm", "v8"],
    ["riscv64", "", "riscv64", ""]
  ]
  it.each(cases)("%s %s is %s %s", (fromArchitecture, fromVariant, toArchitecture, toVariant) => {
    const from = { os: "linux", architecture: fromArchitecture, variant: fromVariant }
    assert.deepStrictEqual(Platform.normalize(from), {
      os: "linux",
      architecture: toArchitecture,
      ...(toVariant === "" ? {} : { variant: toVariant })
    })
  })

  it("keeps what it does not know, and fills in an absent os", () => {
    assert.deepStrictEqual(Platform.normalize({ os: "", architecture: "amd64", "x.vendor": { a: 1 } }), {
      os,
      architecture: "amd64",
      "x.vendor": { a: 1 }
    })
  })

  it.prop("is idempotent", [platforms], ([platform]) => {
    const once = Platform.normalize(platform)
    assert.deepStrictEqual(Platform.normalize(once), once)
  })
})

describe("Platform.matches", () => {
  const table: ReadonlyArray<readonly [wanted: string, runs: ReadonlyArray<string>, not: ReadonlyArray<string>]> = [
    ["linux/amd64", ["linux/amd64", "linux/amd64/v1", "linux/386"], ["linux/amd64/v2", "linux/arm64", "windows/amd64"]],
    ["linux/amd64/v3", ["linux/amd64/v3", "linux/amd64/v2", "linux/amd64", "linux/386"], ["linux/amd64/v4"]],
    ["linux/386", ["linux/386", "linux/i386"], ["linux/amd64"]],
    [
      "windows/amd64",
      ["windows/amd64", "windows(10.0.17763)/amd64", "windows(+win32k)/amd64"],
      ["linux/amd64", "windows(+gpu)/amd64"]
    ],
    ["linux/arm/v8", ["linux/arm/v8", "linux/arm", "linux/arm/v6", "linux/arm/v5"], ["linux/arm/v4", "linux/arm64"]],
    ["linux/arm", ["linux/arm/v7", "linux/arm/v6", "linux/arm/v5"], ["linux/arm/v8", "linux/arm64", "linux/arm/v4"]],
    ["linux/arm/v5", ["linux/arm/v5"], ["linux/arm/v6", "linux/arm/v4"]],
    ["linux/arm/v4", ["linux/arm/v4"], ["linux/arm/v5"]],
    [
      "linux/arm64",
      ["linux/arm64", "linux/arm64/v8", "linux/aarch64", "linux/arm/v8", "linux/arm/v5"],
      ["linux/arm64/v8.1", "linux/arm64/v9", "linux/amd64", "linux/arm/v9"]
    ],
    [
      "linux/arm64/v8.2",
      ["linux/arm64/v8.2", "linux/arm64/v8.1", "linux/arm64", "linux/arm"],
      ["linux/arm64/v8.3", "linux/arm64/v9"]
    ],
    [
      "linux/arm64/v9.1",
      ["linux/arm64/v9.1", "linux/arm64/v9", "linux/arm64/v8.6", "linux/arm64/v8", "linux/arm/v8"],
      ["linux/arm64/v9.2", "linux/arm64/v8.7", "linux/arm/v9"]
    ],
    ["linux/arm64/v9.6", ["linux/arm64/v8.9"], []],
    [
      "linux(+erofs+gpu)/amd64",
      ["linux/amd64", "linux(+gpu)/amd64", "linux(+gpu+erofs)/386"],
      ["linux(+gpu+simd)/amd64"]
    ],
    ["linux/amd64", ["linux(5.1)/amd64"], ["linux(+gpu)/amd64"]],
    [
      "windows(10.0.17763.1)/amd64",
      ["windows(10.0.17763.9)/amd64", "windows/amd64"],
      ["windows(10.0.20348)/amd64", "windows(x)/amd64"]
    ]
  ]
  it.each(table)("%s", (wanted, runs, not) => {
    const matches = Platform.matches(read(wanted))
    for (const text of runs) assert.isTrue(matches(read(text)), `runs ${text}`)
    for (const text of not) assert.isFalse(matches(read(text)), `does not run ${text}`)
  })

  it.prop("a platform runs itself, however it is written", [platforms], ([platform]) => {
    const normal = Platform.normalize(platform)
    assert.isTrue(Platform.matches(platform)(platform))
    assert.isTrue(Platform.matches(normal)(platform))
    assert.isTrue(Platform.matches(platform)(normal))
  })

  it.prop("does not depend on how either is written", [platforms, platforms], ([wanted, candidate]) => {
    const normal = Platform.matches(Platform.normalize(wanted))(Platform.normalize(candidate))
    assert.strictEqual(Platform.matches(wanted)(candidate), normal)
  })
})

describe("Platform.select", () => {
  const select = (wanted: string, ...candidates: ReadonlyArray<string>) =>
    Option.getOrUndefined(
      Platform.select(read(wanted), candidates, (text) => (text === "none" ? undefined : read(text)))
    )

  it.each([
    ["linux/arm/v7", ["linux/arm/v5", "linux/arm/v6"], "linux/arm/v6"],
    ["linux/arm64", ["linux/arm/v7", "linux/arm/v8", "linux/amd64"], "linux/arm/v8"],
    ["linux/arm64", ["linux/arm/v8", "linux/arm64/v8"], "linux/arm64/v8"],
    ["linux/arm64/v9", ["linux/arm64", "linux/arm64/v8.5", "linux/arm64/v8.6"], "linux/arm64/v8.5"],
    ["linux/amd64", ["linux/386", "linux/amd64/v2", "linux/amd64"], "linux/amd64"],
    ["linux/amd64/v4", ["linux/386", "linux/amd64", "linux/amd64/v2"], "linux/amd64/v2"],
    ["linux(+a+b)/amd64", ["linux/amd64", "linux(+a)/amd64", "linux(+a+b)/386"], "linux(+a)/amd64"],
    ["linux/amd64", ["none", "linux/386"], "linux/386"],
    ["linux/amd64", ["linux/s390x", "none"], "none"],
    ["linux/amd64", ["linux/s390x", "unknown/unknown"], undefined],
    ["linux/amd64", [], undefined]
  ])("for %s out of %j takes %s", (wanted, candidates, expected) => {
    assert.strictEqual(select(wanted, ...candidates), expected)
  })

  it("takes the first of equals", () => {
    const candidates = [1, 2].map((id) => ({ id, platform: read("linux/amd64") }))
    const chosen = Platform.select(read("linux/amd64"), candidates, ({ platform }) => platform)
    assert.strictEqual(Option.getOrUndefined(chosen)?.id, 1)
  })

  it.prop(
    "takes something exactly when something matches",
    [platforms, Arbitrary.array(platforms)],
    ([wanted, candidates]) => {
      const chosen = Platform.select(wanted, candidates, (each) => each)
      assert.strictEqual(Option.isSome(chosen), candidates.some(Platform.matches(wanted)))
      assert.isTrue(Option.isNone(chosen) || Platform.matches(wanted)(chosen.value))
    }
  )
})

describe("Platform.host", () => {
  it("is already normal and known", () => {
    assert.deepStrictEqual(Platform.normalize(Platform.host()), Platform.host())
    assert.isTrue(Platform.matches(Platform.host())(read(os)))
  })
})
