import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Option } from "effect"
import * as Commit from "../../src/commit/Commit.ts"
import * as Options from "../../src/commit/Options.ts"
import { Containers } from "../../src/core/Containers.ts"
import { ContentStore } from "../../src/core/ContentStore.ts"
import { Differ } from "../../src/core/Differ.ts"
import { Images } from "../../src/core/Images.ts"
import { Introspection } from "../../src/core/Introspection.ts"
import { Leases } from "../../src/core/Leases.ts"
import { Namespaces } from "../../src/core/Namespaces.ts"
import { Snapshotters } from "../../src/core/Snapshotter.ts"
import { Tasks } from "../../src/core/Tasks.ts"

const digest = `sha256:${"0".repeat(64)}`

const bad: ReadonlyArray<readonly [options: Omit<Commit.CommitOptions, "container">, option: string, message: RegExp]> =
  [
    [{ name: "" }, "name", /^invalid reference "": expected a repository name$/],
    [{ name: "App" }, "name", /^invalid reference "App": repository name must be lowercase$/],
    [{ name: "app:" }, "name", /^invalid reference "app:": a tag must be/],
    [{ name: "app:a b" }, "name", /a tag must be/],
    [{ name: "app name" }, "name", /repository name must be lowercase letters and digits/],
    [{ name: "-host-/app" }, "name", /invalid reference "-host-\/app"/],
    [{ name: "f".repeat(64) }, "name", /cannot specify 64-byte hexadecimal strings/],
    [{ name: "app@sha256:00" }, "name", /bad digest/],
    [
      { name: `app@${digest}` },
      "name",
      /^an image cannot be given the digest in "app@sha256:0{64}": leave it out, the digest follows from the content$/
    ],
    [{ name: `app:1@${digest}` }, "name", /cannot be given the digest/],
    [{ created: "" }, "created", /^invalid timestamp ""/],
    [{ created: "yesterday" }, "created", /^invalid timestamp "yesterday": expected RFC 3339, like /],
    [{ created: "2024-02-30T00:00:00Z" }, "created", /the month has no such day/],
    [{ created: "2024-01-02 03:04:05Z" }, "created", /expected RFC 3339/],
    [{ created: "1704164645" }, "created", /expected RFC 3339/],
    [{ platform: "" }, "platform", /^invalid platform ""/],
    [
      { platform: "linux/amd64/v2/x" },
      "platform",
      /^invalid platform "linux\/amd64\/v2\/x": expected os\/architecture\/variant$/
    ],
    [{ platform: "linux/a b" }, "platform", /architecture and variant are made of/],
    [{ platform: "nosuchos" }, "platform", /unknown operating system or architecture/]
  ]

describe("check", () => {
  it.effect.each(bad)(
    "refuses %j; moby client/container_commit_test.go, podman and buildah names",
    ([options, option, message]) =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(Options.check({ container: "c", ...options }))
        assert.strictEqual(error._tag, "InvalidOption")
        assert.strictEqual(error.option, option)
        assert.match(error.message, message)
      })
  )

  it.effect.each([
    [{ name: "a//b" }, "OciError"],
    [{ created: "yesterday" }, "OciError"],
    [{ platform: "nosuchos" }, "OciError"],
    [{ changes: ["ENV"] }, "ChangeError"],
    [{ changes: [{ _tag: "Env", pairs: [["", "x"]] }] }, "ChangeError"],
    [{ idMap: { uids: [], gids: [] } }, "LayerError"]
  ] as const)("has the error of the parser that refused %j as its cause", ([options, cause]) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Options.check({ container: "c", ...options }))
      assert.propertyVal(error.cause, "_tag", cause)
      assert.propertyVal(error.cause, "message", error.message)
    })
  )

  it.effect.each([
    ["container", { container: "" }],
    ["snapshotter", { container: "c", snapshotter: "" }],
    ["parent", { container: "c", parent: "" }]
  ] as const)("refuses an empty %s", ([option, options]) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Options.check(options))
      assert.deepStrictEqual([error.option, error.message], [option, `the option ${option} is empty`])
    })
  )

  it.effect("refuses an id map that maps nothing", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Options.check({ container: "c", idMap: { uids: [], gids: [] } }))
      assert.deepStrictEqual([error.option, error.message], ["idMap", 'invalid id map "uids": it maps nothing'])
    })
  )

  it.effect("fills in what is not given", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* Options.check({ container: "c" }), {
        container: "c",
        names: [],
        changes: [],
        manifest: undefined,
        created: Option.none(),
        platform: Option.none(),
        pause: true,
        differ: "auto",
        format: "auto",
        compression: "gzip",
        compressor: "auto",
        maxLayers: 127,
        exclude: [],
        include: []
      })
    })
  )

  it.effect("keeps what is given, and writes names and platforms out", () =>
    Effect.gen(function* () {
      const request = yield* Options.check({
        container: "c",
        name: "app",
        created: "2024-02-29T23:59:59.123456789+01:00",
        platform: "Linux/aarch64",
        pause: false,
        compression: "zstd",
        author: "",
        labels: { a: "b" },
        keepReplaced: true
      })
      assert.deepStrictEqual(request.names, ["docker.io/library/app:latest"])
      assert.strictEqual(Option.getOrUndefined(request.created), "2024-02-29T23:59:59.123456789+01:00")
      const platform = Option.getOrUndefined(request.platform)
      assert.deepStrictEqual([platform?.os, platform?.architecture], ["linux", "arm64"])
      const { author, compression, keepReplaced, labels, pause } = request
      assert.deepStrictEqual(
        { author, compression, keepReplaced, labels, pause },
        { author: "", compression: "zstd", keepReplaced: true, labels: { a: "b" }, pause: false }
      )
    })
  )

  it.effect.each([
    ["app", "docker.io/library/app:latest"],
    ["app:1", "docker.io/library/app:1"],
    ["user/app", "docker.io/user/app:latest"],
    ["localhost:5000/app", "localhost:5000/app:latest"],
    ["Registry.example/app:v1", "Registry.example/app:v1"]
  ] as const)("names %s as %s", ([name, expected]) =>
    Effect.gen(function* () {
      const request = yield* Options.check({ container: "c", name })
      assert.deepStrictEqual(request.names, [expected])
    })
  )
})

describe("a commit with a bad option", () => {
  /** Each call on one of these is a defect. */
  const untouchable = Layer.mergeAll(
    Layer.mock(Containers, {}),
    Layer.mock(ContentStore, {}),
    Layer.mock(Differ, { name: "none" }),
    Layer.mock(Images, {}),
    Layer.mock(Introspection, {}),
    Layer.mock(Leases, {}),
    Layer.mock(Namespaces, {}),
    Layer.mock(Snapshotters, {
      get: () => {
        throw new Error("the snapshotters were used")
      }
    }),
    Layer.mock(Tasks, {})
  )

  it.effect.each(bad)("touches nothing: %j", ([options, option]) =>
    Effect.gen(function* () {
      const error = yield* Commit.commit({ container: "c", ...options }).pipe(Effect.provide(untouchable), Effect.flip)
      assert.deepStrictEqual([error._tag, error.container, error.step], ["CommitError", "c", "options"])
      assert.isTrue(error.reason._tag === "InvalidOption" && error.reason.option === option)
      assert.isFalse(error.isRetryable)
      assert.strictEqual(error.message, `cannot commit container c: ${error.reason.message}`)
    })
  )

  it.effect("would touch them otherwise", () =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(Effect.provide(Commit.commit({ container: "c" }), untouchable))
      assert.isTrue(exit._tag === "Failure" && exit.cause.reasons.some(({ _tag }) => _tag === "Die"))
    })
  )
})
