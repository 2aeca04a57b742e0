import { assert, describe, it } from "@effect/vitest"
import { Effect, Option } from "effect"
import * as Change from "../../src/change/Change.ts"
import { baseOf, containerAnnotation } from "../../src/commit/Base.ts"
import { type CommitOptions, check } from "../../src/commit/Options.ts"
import type { Parent } from "../../src/commit/ParentImage.ts"
import * as ChainId from "../../src/oci/ChainId.ts"
import * as Descriptor from "../../src/oci/Descriptor.ts"
import * as Digest from "../../src/oci/Digest.ts"
import * as MediaType from "../../src/oci/MediaType.ts"

const blob = (text: string, mediaType: string = MediaType.ociLayerGzip) => Descriptor.of(mediaType, Buffer.from(text))
const diffIdOf = (text: string) => Digest.fromBytes(Buffer.from(`tar ${text}`))
const names = ["a", "b", "c"]

const parent: Parent = {
  image: Option.none(),
  format: "oci",
  layers: names.map((name) => blob(name)),
  config: {
    architecture: "amd64",
    os: "linux",
    rootfs: { type: "layers", diff_ids: names.map(diffIdOf) },
    history: [
      { created_by: "a" },
      { created_by: "ENV", empty_layer: true },
      { created_by: "b" },
      { created_by: "c" },
      { created_by: "CMD", empty_layer: true }
    ]
  },
  chainId: ChainId.fromDiffIds(names.map(diffIdOf))
}

const read = (options: Omit<CommitOptions, "container">, from: Parent = parent) =>
  Effect.flatMap(check({ container: "c1", ...options }), (request) =>
    baseOf(from, { id: "c1", spec: {}, config: undefined }, request)
  )

/** Which layers stay, and how the history reads: a step without a layer in brackets. */
const summary = (options: Omit<CommitOptions, "container">, from?: Parent) =>
  Effect.map(read(options, from), ({ history, layers }) => [
    layers.map(({ diffId }) => names.find((name) => diffIdOf(name) === diffId)).join(""),
    history.map(({ created_by, empty_layer }) => (empty_layer === true ? `(${created_by})` : created_by)).join(" ")
  ])

const whole = "a (ENV) b c (CMD)"

/** The parent as an earlier commit of that container left it. */
const marked = (container: string): Parent => ({
  ...parent,
  layers: parent.layers.map((layer, i) =>
    i === 2 ? { ...layer, annotations: { [containerAnnotation]: container } } : layer
  )
})

describe("the parent's part of the new image", () => {
  it.effect.each([
    ["is all of it", {}, "abc", whole],
    ["is nothing when all is squashed", { squash: true }, "", "(a) (ENV) (b) (c) (CMD)"],
    ["is what is below the last layers that are squashed", { squash: 2 }, "a", "a (ENV) (b) (c) (CMD)"],
    ["is nothing when more is squashed than there is", { squash: 9 }, "", "(a) (ENV) (b) (c) (CMD)"],
    ["is all of it when nothing is squashed", { squash: false }, "abc", whole],
    ["has no history when that is left out", { history: "omit" }, "abc", ""],
    ["keeps a top layer that is no container's", { replaceTop: true }, "abc", whole]
  ] as const)("%s", ([, options, layers, history]) =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* summary(options), [layers, history])
    })
  )

  it.effect("goes without the top layer of an earlier commit of the same container, and what came after it", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* summary({ replaceTop: true }, marked("c1")), ["ab", "a (ENV) b"])
      assert.deepStrictEqual(yield* summary({ replaceTop: true }, marked("c2")), ["abc", whole])
      assert.deepStrictEqual(yield* summary({}, marked("c1")), ["abc", whole])
    })
  )

  it.effect("has the chain ID of what stays", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual((yield* read({ squash: 1 })).chainId, ChainId.fromDiffIds(["a", "b"].map(diffIdOf)))
      assert.deepStrictEqual((yield* read({ squash: true })).chainId, Option.none())
    })
  )

  it.effect("runs what the changes say, and is refused for one that is wrong with its variables", () =>
    Effect.gen(function* () {
      const from: Parent = { ...parent, config: { ...parent.config, config: { Env: ["A=1"], Cmd: ["c"] } } }
      const changes = ["ENV B=$A", Change.unsetEnv("A"), 'CMD ["d"]']
      const { containerConfig } = yield* read({ changes }, from)
      assert.deepStrictEqual(containerConfig, { Env: ["B=1"], Cmd: ["d"] })
      const merged = yield* read({ changes, config: { Env: ["A=2"], User: "u" } }, from)
      assert.deepStrictEqual(merged.containerConfig, { Env: ["B=2"], Cmd: ["d"], User: "u" })
      assert.deepStrictEqual((yield* read({}, from)).containerConfig, from.config.config)
      const error = yield* Effect.flip(
        read({ changes: ["STOPSIGNAL $A"] }, { ...from, config: { ...from.config, config: { Env: ["A=none"] } } })
      )
      assert.deepStrictEqual([error._tag, "option" in error && error.option], ["InvalidOption", "changes"])
    })
  )

  it.effect("is refused with advice when there would be too many layers", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(read({ maxLayers: 3 }))
      assert.strictEqual(error._tag, "TooManyLayers")
      assert.match(error.message, /would have 4 layers, and at most 3 are allowed: squash them/)
      assert.strictEqual((yield* read({ maxLayers: 4 })).layers.length, 3)
      assert.strictEqual((yield* read({ maxLayers: 1, squash: true })).layers.length, 0)
    })
  )

  it.effect("has the types of one side only", () =>
    Effect.gen(function* () {
      const mixed: Parent = {
        ...parent,
        layers: [
          blob("a", MediaType.dockerLayerGzip),
          blob("b", MediaType.dockerLayer),
          blob("c", MediaType.ociLayerZstd)
        ]
      }
      const typesOf = (options: Omit<CommitOptions, "container">) =>
        Effect.map(read(options, mixed), ({ layers }) => layers.map(({ descriptor }) => descriptor.mediaType))
      assert.deepStrictEqual(yield* typesOf({}), [MediaType.ociLayerGzip, MediaType.ociLayer, MediaType.ociLayerZstd])
      assert.deepStrictEqual(yield* typesOf({ format: "docker", squash: 1 }), [
        MediaType.dockerLayerGzip,
        MediaType.dockerLayer
      ])
      const error = yield* Effect.flip(typesOf({ format: "docker" }))
      assert.match(error.message, /\+zstd, which an image of the format docker cannot have: give the format oci/)
    })
  )

  it.effect("is refused for a layer that the other side has no type for, and for annotations in Docker's form", () =>
    Effect.gen(function* () {
      const erofs: Parent = { ...parent, layers: [blob("a"), blob("b"), blob("c", MediaType.erofsLayer)] }
      const docker: Parent = { ...parent, format: "docker" }
      const messages = yield* Effect.forEach(
        [read({ format: "docker" }, erofs), read({ annotations: { a: "b" } }, docker)],
        (effect) => Effect.map(Effect.flip(effect), ({ message }) => message)
      )
      assert.match(
        messages[0] ?? "",
        /is of the type application\/vnd.erofs.layer.v1, which an image of the format docker/
      )
      assert.match(messages[1] ?? "", /has no annotations: leave them out, or give the format oci/)
      assert.strictEqual((yield* read({ annotations: { a: "b" }, format: "oci" }, docker)).format, "oci")
    })
  )
})
