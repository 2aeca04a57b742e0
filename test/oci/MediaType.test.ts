import { assert, describe, it } from "@effect/vitest"
import { Option, Schema } from "effect"
import * as MediaType from "../../src/oci/MediaType.ts"

const formats = ["oci", "docker"] as const
const compressions = ["gzip", "zstd", "uncompressed"] as const

describe("MediaType", () => {
  it("tells indexes, manifests, configs and layers apart", () => {
    const kinds = [MediaType.isIndex, MediaType.isManifest, MediaType.isConfig, MediaType.isLayer]
    const table: ReadonlyArray<readonly [ReadonlyArray<string>, number]> = [
      [[MediaType.ociIndex, MediaType.dockerManifestList], 0],
      [[MediaType.ociManifest, MediaType.dockerManifest], 1],
      [[MediaType.ociConfig, MediaType.dockerConfig], 2],
      [
        [
          MediaType.ociLayer,
          MediaType.ociNondistributableLayerZstd,
          MediaType.dockerLayer,
          MediaType.dockerForeignLayerGzip,
          MediaType.erofsLayer,
          `${MediaType.ociLayerGzip}+encrypted`,
          `${MediaType.dockerLayerGzip}+encrypted`,
          "application/vnd.oci.image.layer.v2.squashfs"
        ],
        3
      ]
    ]
    for (const [mediaTypes, kind] of table) {
      for (const mediaType of mediaTypes) {
        assert.deepStrictEqual(
          kinds.map((is) => is(mediaType)),
          [0, 1, 2, 3].map((each) => each === kind),
          mediaType
        )
      }
    }
  })

  it.each([
    "",
    "application/json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
    "application/vnd.oci.image.manifest.v1+json; charset=utf-8",
    "application/vnd.OCI.image.manifest.v1+json",
    "application/vnd.docker.container.image.rootfs.diff+x-gtar"
  ])("takes %j for unknown", (mediaType) => {
    for (const is of [MediaType.isIndex, MediaType.isManifest, MediaType.isConfig, MediaType.isLayer]) {
      assert.isFalse(is(mediaType))
    }
    assert.isTrue(Option.isNone(MediaType.compression(mediaType)))
  })

  it("says compression only where the type does", () => {
    assert.deepStrictEqual(MediaType.compression(MediaType.ociNondistributableLayerZstd), Option.some("zstd"))
    assert.deepStrictEqual(MediaType.compression(MediaType.dockerForeignLayerGzip), Option.some("gzip"))
    for (const mediaType of [
      MediaType.erofsLayer,
      MediaType.dockerLayer,
      MediaType.dockerForeignLayer,
      `${MediaType.ociLayerGzip}+encrypted`,
      MediaType.ociManifest
    ]) {
      assert.isTrue(Option.isNone(MediaType.compression(mediaType)), mediaType)
    }
  })

  it("makes types that it knows again", () => {
    for (const format of formats) {
      assert.isTrue(MediaType.isManifest(MediaType.manifest(format)))
      assert.isTrue(MediaType.isConfig(MediaType.config(format)))
      for (const mediaType of [MediaType.manifest(format), MediaType.config(format)]) {
        assert.deepStrictEqual(MediaType.format(mediaType), Option.some(format))
      }
      for (const compression of compressions) {
        const layer = MediaType.layer(format, compression)
        assert.isTrue(MediaType.isLayer(layer))
        assert.deepStrictEqual(MediaType.format(layer), Option.some(format))
        const told = format === "docker" && compression === "uncompressed" ? Option.none() : Option.some(compression)
        assert.deepStrictEqual(MediaType.compression(layer), told)
      }
    }
    assert.isTrue(Option.isNone(MediaType.format(MediaType.erofsLayer)))
  })

  it.prop("is at most one kind, whatever the text", [Schema.String], ([text]) => {
    const kinds = [MediaType.isIndex, MediaType.isManifest, MediaType.isConfig, MediaType.isLayer]
    assert.isAtMost(kinds.filter((is) => is(text)).length, 1)
  })
})
