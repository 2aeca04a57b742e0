import { assert, describe, it } from "@effect/vitest"
import { Effect, Option, Result, Schema, Stream } from "effect"
import type { Base } from "../../src/commit/Base.ts"
import { newContainerConfig } from "../../src/commit/MergeConfig.ts"
import { newImage } from "../../src/commit/NewImage.ts"
import { type CommitOptions, check } from "../../src/commit/Options.ts"
import type { Source } from "../../src/commit/Resolve.ts"
import * as Snapshotter from "../../src/core/Snapshotter.ts"
import * as ChainId from "../../src/oci/ChainId.ts"
import * as Descriptor from "../../src/oci/Descriptor.ts"
import * as Digest from "../../src/oci/Digest.ts"
import * as ImageConfig from "../../src/oci/ImageConfig.ts"
import * as Layer from "../../src/oci/Layer.ts"
import * as Manifest from "../../src/oci/Manifest.ts"
import * as MediaType from "../../src/oci/MediaType.ts"
import { Timestamp } from "../../src/oci/Timestamp.ts"

const unused = Effect.die("the snapshotter was used")
const snapshotter = Snapshotter.make("overlayfs", {
  stat: () => unused,
  mounts: () => unused,
  usage: () => unused,
  list: () => Stream.die("the snapshotter was used"),
  prepare: () => unused,
  view: () => unused,
  commit: () => unused,
  remove: () => unused
})

const source: Source = {
  id: "c",
  image: Option.none(),
  status: "running",
  pid: 7,
  snapshotter,
  snapshot: { name: "c", parent: "", kind: "active", labels: {} },
  below: [],
  idMap: undefined,
  spec: { process: { args: ["sh", "-c", "true"] } },
  config: undefined,
  imageLabels: {}
}

const layerOf = (text: string, mediaType: string): Layer.Layer => ({
  descriptor: Descriptor.of(mediaType, Buffer.from(`compressed ${text}`)),
  diffId: Digest.fromBytes(Buffer.from(text))
})

const base = layerOf("base", MediaType.ociLayerGzip)
const created = Timestamp.make("2024-01-02T03:04:05.000000006Z")

const parentOf = (config: Partial<ImageConfig.ImageConfig> = {}, parent: Partial<Base> = {}): Base => ({
  image: Option.none(),
  format: "oci",
  layers: [base],
  history: config.history ?? [],
  containerConfig: config.config,
  config: {
    architecture: "arm64",
    os: "linux",
    rootfs: { type: "layers", diff_ids: [base.diffId] },
    ...config
  },
  chainId: ChainId.fromDiffIds([base.diffId]),
  ...parent
})

const change = layerOf("change", MediaType.ociLayerGzip)

/** The documents as a reader finds them. */
const made = (
  parent: Base = parentOf(),
  options: Omit<CommitOptions, "container"> = {},
  layer: Option.Option<Layer.Layer> = Option.some(change)
) =>
  Effect.gen(function* () {
    const request = yield* check({ container: "c", ...options })
    const containerConfig = yield* Effect.fromResult(newContainerConfig(parent.config.config, source, request))
    const image = newImage(source, { ...parent, containerConfig }, layer, request, created)
    const { config, manifest } = image
    assert.deepStrictEqual(config.descriptor, Descriptor.of(config.descriptor.mediaType, config.bytes))
    assert.deepStrictEqual(manifest.descriptor, Descriptor.of(manifest.descriptor.mediaType, manifest.bytes))
    const read = Result.getOrThrow(ImageConfig.decode(config.bytes, config.descriptor.mediaType))
    const readManifest = Result.getOrThrow(Manifest.decode(manifest.bytes, manifest.descriptor.mediaType))
    assert.deepStrictEqual(readManifest.value.config, config.descriptor)
    return { image, config: read.value, manifest: readManifest.value }
  })

describe("the config of the new image", () => {
  it.effect("has one more layer and one more step of history", () =>
    Effect.gen(function* () {
      const older: ImageConfig.History = { created: Timestamp.make("2023-01-01T00:00:00Z"), created_by: "ADD file" }
      const { config } = yield* made(parentOf({ created, history: [older] }), { message: "hello" })
      assert.deepStrictEqual(config.rootfs, { type: "layers", diff_ids: [base.diffId, change.diffId] })
      assert.deepStrictEqual(config.history, [older, { created, created_by: "sh -c true", comment: "hello" }])
      assert.strictEqual(config.created, created)
    })
  )

  it.effect("has no layer more, and an empty step, when nothing changed", () =>
    Effect.gen(function* () {
      const { config, manifest } = yield* made(parentOf(), {}, Option.none())
      assert.deepStrictEqual(config.rootfs.diff_ids, [base.diffId])
      assert.deepStrictEqual(config.history, [{ created, created_by: "sh -c true", empty_layer: true }])
      assert.deepStrictEqual(manifest.layers, [base.descriptor])
    })
  )

  it.effect("inherits the author, in the history too, unless another is given", () =>
    Effect.gen(function* () {
      const parent = parentOf({ author: "parent" })
      const authors = (options: Omit<CommitOptions, "container">, from: Base = parent) =>
        Effect.map(made(from, options), ({ config }) => [config.author, config.history?.at(-1)?.author])
      assert.deepStrictEqual(yield* authors({}), ["parent", "parent"])
      assert.deepStrictEqual(yield* authors({ author: "me" }), ["me", "me"])
      assert.deepStrictEqual(yield* authors({ author: "" }), ["", ""])
      const { config } = yield* made()
      assert.notProperty(config, "author")
      assert.notProperty(config.history?.[0], "author")
    })
  )

  it.effect("takes what made the layer from the options before the container's command", () =>
    Effect.gen(function* () {
      const { config } = yield* made(parentOf(), { createdBy: "RUN make" })
      assert.deepStrictEqual(config.history, [{ created, created_by: "RUN make" }])
    })
  )

  it.effect("keeps the whole platform and every key that it does not know", () =>
    Effect.gen(function* () {
      const platform = {
        architecture: "arm",
        os: "windows",
        "os.version": "10.0.20348.1",
        "os.features": ["win32k"],
        variant: "v7"
      }
      const unknown = {
        "moby.buildkit.buildinfo.v1": "x",
        rootfs: { type: "layers" as const, diff_ids: [base.diffId], extra: [1] },
        config: { Env: ["A=b"], Labels: null, "x-unknown": { deep: [null, 12345678901234567890n] } }
      }
      const { config } = yield* made(parentOf({ ...platform, ...unknown }))
      assert.deepStrictEqual(config, {
        ...platform,
        ...unknown,
        created,
        rootfs: { type: "layers", diff_ids: [base.diffId, change.diffId], extra: [1] },
        history: [{ created, created_by: "sh -c true" }]
      })
    })
  )

  it.effect("runs what the caller says, then what the container ran, then what the image says", () =>
    Effect.gen(function* () {
      const image = { Cmd: ["sh"], Env: ["A=b"], WorkingDir: "/w" }
      const parent = parentOf({ config: image })
      const configOf = (options: Omit<CommitOptions, "container">) =>
        Effect.map(made(parent, options), ({ config }) => config.config)
      assert.deepStrictEqual(yield* configOf({}), image)
      assert.deepStrictEqual(yield* configOf({ config: { Cmd: ["ls"] } }), { ...image, Cmd: ["ls"] })
      assert.deepStrictEqual(yield* configOf({ config: { Cmd: ["ls"] }, mergeConfig: false }), { Cmd: ["ls"] })
      const containerConfig = { Cmd: ["top"], User: "7" }
      assert.deepStrictEqual(yield* configOf({ containerConfig }), containerConfig)
      assert.deepStrictEqual(yield* configOf({ containerConfig, config: { User: "8" } }), { Cmd: ["top"], User: "8" })
      assert.deepStrictEqual(yield* configOf({ configFrom: "container" }), { ...image, Cmd: ["sh", "-c", "true"] })
      assert.notProperty((yield* made()).config, "config")
    })
  )

  it.effect("stands alone without a parent", () =>
    Effect.gen(function* () {
      const scratch = parentOf({ rootfs: { type: "layers", diff_ids: [] } }, { layers: [], chainId: Option.none() })
      const { config, manifest } = yield* made(scratch)
      assert.deepStrictEqual(config.rootfs.diff_ids, [change.diffId])
      assert.deepStrictEqual(manifest.layers, [change.descriptor])
      const nothing = yield* made(scratch, {}, Option.none())
      assert.deepStrictEqual(nothing.config.rootfs.diff_ids, [])
      assert.deepStrictEqual(nothing.manifest.layers, [])
    })
  )

  it.effect("takes what Go writes for nothing", () =>
    Effect.gen(function* () {
      const parent = parentOf(
        { rootfs: { type: "layers", diff_ids: null }, history: null, config: null },
        { layers: [] }
      )
      const { config } = yield* made(parent)
      assert.deepStrictEqual(config.rootfs.diff_ids, [change.diffId])
      assert.strictEqual(config.history?.length, 1)
      assert.isNull(config.config)
    })
  )
})

describe("the manifest of the new image", () => {
  it.effect("has the parent's layers as they were, with their annotations and addresses, and the new one", () =>
    Effect.gen(function* () {
      const annotated = { ...base.descriptor, annotations: { a: "b" }, urls: ["https://example.com"], unknown: 1 }
      const { manifest } = yield* made(parentOf({}, { layers: [{ ...base, descriptor: annotated }] }))
      assert.deepStrictEqual(manifest.layers, [annotated, change.descriptor])
    })
  )

  it.effect("says nothing of its own but what it must: annotations and subject are about the parent", () =>
    Effect.gen(function* () {
      const { image, manifest } = yield* made()
      assert.deepStrictEqual(Object.keys(manifest), ["schemaVersion", "mediaType", "config", "layers"])
      assert.strictEqual(manifest.schemaVersion, 2)
      assert.strictEqual(manifest.mediaType, image.manifest.descriptor.mediaType)
    })
  )

  it.effect.each([
    ["oci", MediaType.ociManifest, MediaType.ociConfig],
    ["docker", MediaType.dockerManifest, MediaType.dockerConfig]
  ] as const)("is of the parent's form: %s", ([format, manifestType, configType]) =>
    Effect.gen(function* () {
      for (const compression of ["gzip", "zstd", "uncompressed"] as const) {
        const layer = Layer.retyped(change, MediaType.layer(format, compression))
        const { image, manifest } = yield* made(parentOf({}, { format }), { compression }, Option.some(layer))
        assert.strictEqual(image.manifest.descriptor.mediaType, manifestType)
        assert.strictEqual(manifest.mediaType, manifestType)
        assert.strictEqual(manifest.config.mediaType, configType)
        assert.strictEqual(manifest.layers?.at(-1)?.mediaType, MediaType.layer(format, compression))
      }
    })
  )
})

describe("both", () => {
  const text = Schema.optionalKey(Schema.String)

  it.effect.prop(
    "are the same bytes for the same input, whatever the order of its keys",
    { author: text, variant: text, labels: Schema.Record(Schema.String, Schema.String), message: Schema.String },
    ({ author, labels, message, variant }) =>
      Effect.gen(function* () {
        const config = { Labels: labels, Env: [message] }
        const parent = {
          config,
          ...(author === undefined ? {} : { author }),
          ...(variant === undefined ? {} : { variant })
        }
        const reversed = (value: object) => Object.fromEntries(Object.entries(value).reverse())
        const one = yield* made(parentOf(parent), { message })
        const other = yield* made(
          parentOf(reversed({ ...parent, config: reversed({ ...config, Labels: reversed(labels) }) })),
          {
            message
          }
        )
        assert.deepStrictEqual(other.image.config.bytes, one.image.config.bytes)
        assert.strictEqual(other.image.manifest.descriptor.digest, one.image.manifest.descriptor.digest)
      }),
    { arbitrary: { runs: 50 } }
  )

  it.effect("are others at another time", () =>
    Effect.gen(function* () {
      const request = yield* check({ container: "c" })
      const later = newImage(source, parentOf(), Option.some(change), request, Timestamp.make("2025-01-01T00:00:00Z"))
      const { image } = yield* made()
      assert.notStrictEqual(later.config.descriptor.digest, image.config.descriptor.digest)
      assert.notStrictEqual(later.manifest.descriptor.digest, image.manifest.descriptor.digest)
    })
  )
})
