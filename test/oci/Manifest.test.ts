import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import * as Descriptor from "../../src/oci/Descriptor.ts"
import * as Digest from "../../src/oci/Digest.ts"
import * as Index from "../../src/oci/Index.ts"
import * as Manifest from "../../src/oci/Manifest.ts"
import * as MediaType from "../../src/oci/MediaType.ts"
import { hasEscapedKeys } from "./EscapedKeys.ts"

const bytesOf = (value: unknown) => new TextEncoder().encode(JSON.stringify(value))
const textOf = (document: { readonly bytes: Uint8Array }) => new TextDecoder().decode(document.bytes)
const detail = (result: Result.Result<unknown, { readonly detail: string }>) =>
  Result.getOrThrow(Result.flip(result)).detail

const config = Descriptor.of(MediaType.ociConfig, bytesOf({}))
const layer = Descriptor.of(MediaType.ociLayerGzip, bytesOf([]))
const manifest: Manifest.Manifest = { schemaVersion: 2, config, layers: [layer] }
const index: Index.Index = {
  schemaVersion: 2,
  manifests: [{ ...config, platform: { os: "linux", architecture: "arm" } }]
}

describe("Descriptor", () => {
  it("describes bytes", () => {
    const bytes = bytesOf({})
    assert.deepStrictEqual(Descriptor.of("a/b", bytes), {
      mediaType: "a/b",
      digest: Digest.fromBytes(bytes),
      size: 2
    })
  })

  it("refuses sizes that are none", () => {
    for (const size of [-1, 0.5, 2 ** 53, Number.NaN]) {
      assert.throws(() => Descriptor.make({ ...layer, size }), undefined, undefined, `${size}`)
    }
    assert.deepStrictEqual(Descriptor.make({ ...layer, "x.vendor": 1 }), { ...layer, "x.vendor": 1 })
  })

  it.prop("any fits into a manifest", [Descriptor.Descriptor], ([descriptor]) => {
    if (hasEscapedKeys(descriptor)) return
    const document = Manifest.encode({ ...manifest, layers: [descriptor] })
    assert.deepStrictEqual(Result.getOrThrow(Manifest.decode(document.bytes)).descriptor, document.descriptor)
  })
})

describe("Manifest", () => {
  it("is written in the order of Go's struct", () => {
    const full: Manifest.Manifest = {
      annotations: { k: "v" },
      subject: { size: 0, digest: config.digest, mediaType: MediaType.ociManifest },
      vendor: true,
      ...manifest,
      artifactType: "a/b",
      mediaType: MediaType.ociManifest
    }
    assert.deepStrictEqual(
      textOf(Manifest.encode(full))
        .match(/"(\w+)":/g)
        ?.join(""),
      [
        '"schemaVersion":"mediaType":"artifactType":"config":"mediaType":"digest":"size":',
        '"layers":"mediaType":"digest":"size":"subject":"mediaType":"digest":"size":"annotations":"k":"vendor":'
      ].join("")
    )
  })

  it("has OCI's media type unless it or the caller names another", () => {
    assert.strictEqual(Manifest.encode(manifest).descriptor.mediaType, MediaType.ociManifest)
    assert.strictEqual(
      Manifest.encode({ ...manifest, mediaType: MediaType.dockerManifest }).descriptor.mediaType,
      MediaType.dockerManifest
    )
    assert.strictEqual(Manifest.encode(manifest, "a/b").descriptor.mediaType, "a/b")
    const docker = Result.getOrThrow(Manifest.decode(bytesOf(manifest), MediaType.dockerManifest))
    assert.strictEqual(docker.descriptor.mediaType, MediaType.dockerManifest)
  })

  it("keeps Go's null for no layers", () => {
    const bytes = bytesOf({ ...manifest, layers: null })
    const document = Result.getOrThrow(Manifest.decode(bytes))
    assert.isNull(document.value.layers)
    assert.deepStrictEqual(Manifest.encode(document.value).bytes, bytes)
  })

  it("is no index and no schema 1", () => {
    assert.strictEqual(detail(Manifest.decode(bytesOf({ ...manifest, manifests: [] }))), "$: an index, not a manifest")
    assert.strictEqual(
      detail(Manifest.decode(bytesOf({ ...manifest, mediaType: MediaType.ociIndex }))),
      "$: an index, not a manifest"
    )
    assert.isTrue(Result.isFailure(Manifest.decode(bytesOf(index))))
    assert.isTrue(detail(Manifest.decode(bytesOf({ ...manifest, schemaVersion: 1 }))).startsWith("$.schemaVersion: "))
  })

  it("refuses a digest that is none, and says where", () => {
    const broken = { ...manifest, layers: [layer, { ...layer, digest: "sha256:1" }] }
    assert.isTrue(detail(Manifest.decode(bytesOf(broken))).startsWith("$.layers[1].digest: "))
  })

  it.prop("reads what it wrote", [Manifest.schema, Schema.Json], ([value, extra]) => {
    if (hasEscapedKeys([value, extra])) return
    const document = Manifest.encode({ ...value, extra })
    const again = Result.getOrThrow(Manifest.decode(document.bytes, document.descriptor.mediaType))
    assert.deepStrictEqual(again.descriptor, document.descriptor)
    assert.deepStrictEqual(Manifest.encode(again.value, document.descriptor.mediaType).bytes, document.bytes)
  })
})

describe("Index", () => {
  it("keeps platforms, unknown keys and Go's null", () => {
    const value = {
      ...index,
      vendor: 1,
      manifests: [{ ...layer, platform: { architecture: "a", os: "b", more: [1] } }]
    }
    assert.deepStrictEqual(Result.getOrThrow(Index.decode(bytesOf(value))).value, value)
    assert.isNull(Result.getOrThrow(Index.decode(bytesOf({ ...index, manifests: null }))).value.manifests)
  })

  it("has OCI's media type unless it or the caller names another", () => {
    assert.strictEqual(Index.encode(index).descriptor.mediaType, MediaType.ociIndex)
    assert.strictEqual(
      Index.encode({ ...index, mediaType: MediaType.dockerManifestList }).descriptor.mediaType,
      MediaType.dockerManifestList
    )
    assert.strictEqual(Index.encode(index, "a/b").descriptor.mediaType, "a/b")
  })

  it("is no manifest", () => {
    for (const extra of [{ config }, { layers: [] }, { mediaType: MediaType.dockerManifest }]) {
      assert.strictEqual(detail(Index.decode(bytesOf({ ...index, ...extra }))), "$: a manifest, not an index")
    }
  })
})
