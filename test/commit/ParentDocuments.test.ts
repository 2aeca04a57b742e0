import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Stream } from "effect"
import { readConfig, readIndex, readManifest } from "../../src/commit/ParentDocuments.ts"
import { ContainerdError, NotFound } from "../../src/core/ContainerdError.ts"
import { ContentStore } from "../../src/core/ContentStore.ts"
import * as Descriptor from "../../src/oci/Descriptor.ts"
import type * as Digest from "../../src/oci/Digest.ts"
import * as MediaType from "../../src/oci/MediaType.ts"

const blobOf = (mediaType: string, value: unknown) => {
  const bytes = Buffer.from(JSON.stringify(value))
  return { bytes, descriptor: Descriptor.of(mediaType, bytes) }
}

const configOf = (comment: string) =>
  blobOf(MediaType.ociConfig, {
    architecture: "amd64",
    os: "linux",
    rootfs: { type: "layers", diff_ids: [] },
    history: [{ comment }]
  })

const manifestOf = (i: number, comment = "") => {
  const config = configOf(comment)
  const annotations = { number: String(i) }
  const manifest = { schemaVersion: 2, config: config.descriptor, layers: [], annotations }
  return { config, manifest: blobOf(MediaType.ociManifest, manifest) }
}

/** A store with these blobs, and the digests that were read of it. */
const storeOf = (...blobs: ReadonlyArray<ReturnType<typeof blobOf>>) => {
  const reads: Array<Digest.Digest> = []
  const layer = Layer.mock(ContentStore, {
    read: (digest) => {
      reads.push(digest)
      const found = blobs.find(({ descriptor }) => descriptor.digest === digest)
      return found === undefined
        ? Stream.fail(new ContainerdError({ method: "Content.Read", reason: new NotFound({ message: digest }) }))
        : Stream.succeed(found.bytes)
    }
  })
  return { reads, layer }
}

describe("documents of parent images", () => {
  it.effect("are read once from a store, and again from another", () =>
    Effect.gen(function* () {
      const { config, manifest } = manifestOf(1)
      const index = blobOf(MediaType.ociIndex, { schemaVersion: 2, manifests: [manifest.descriptor] })
      const readAll = Effect.gen(function* () {
        yield* readIndex(index.descriptor)
        const read = yield* readManifest(manifest.descriptor)
        return { manifest: read, config: yield* readConfig(read) }
      })
      const all = [index, manifest, config]
      const digests = all.map(({ descriptor }) => descriptor.digest)
      for (const { layer, reads } of [storeOf(...all), storeOf(...all)]) {
        const [first, second] = yield* Effect.all([readAll, readAll]).pipe(Effect.provide(layer))
        assert.deepStrictEqual(first, second)
        assert.deepStrictEqual(
          [first.manifest.descriptor, first.config.descriptor],
          [manifest.descriptor, config.descriptor]
        )
        assert.deepStrictEqual(reads, digests)
      }
    })
  )

  it.effect("are forgotten when others came, the oldest first", () =>
    Effect.gen(function* () {
      const manifests = Array.from({ length: 17 }, (_, i) => manifestOf(i).manifest)
      const { layer, reads } = storeOf(...manifests)
      const [first, second] = manifests.map(({ descriptor }) => descriptor)
      yield* Effect.gen(function* () {
        yield* Effect.forEach(manifests, ({ descriptor }) => readManifest(descriptor))
        assert.lengthOf(reads, 17)
        if (second !== undefined) yield* readManifest(second)
        assert.lengthOf(reads, 17)
        if (first !== undefined) yield* readManifest(first)
        assert.lengthOf(reads, 18)
      }).pipe(Effect.provide(layer))
    })
  )

  it.effect("are not remembered when they are large, or not there", () =>
    Effect.gen(function* () {
      const { config, manifest } = manifestOf(1, "x".repeat(300_000))
      const gone = manifestOf(2).manifest
      const { layer, reads } = storeOf(config, manifest)
      yield* Effect.gen(function* () {
        const read = yield* readManifest(manifest.descriptor)
        for (let i = 0; i < 2; i++) {
          yield* readConfig(read)
          assert.strictEqual((yield* Effect.flip(readManifest(gone.descriptor)))._tag, "ContainerdError")
        }
      }).pipe(Effect.provide(layer))
      const [large, missing] = [config.descriptor.digest, gone.descriptor.digest]
      assert.deepStrictEqual(reads, [manifest.descriptor.digest, large, missing, large, missing])
    })
  )
})
