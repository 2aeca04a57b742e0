/** The programs themselves, and what other people's tools say of the layers. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import * as Zlib from "node:zlib"
import { assert, it, layer } from "@effect/vitest"
import { Effect, Option } from "effect"
import { Commit, ContentStore, Digest, Images, MediaType } from "effect-containerd"
import * as Embedded from "../../src/embedded/Embedded.ts"
import type { Settings } from "../../src/layer/Compressor.ts"
import * as Compressor from "../../src/layer/Compressor.ts"
import { type Form, writeLayer } from "../../src/layer/WriteLayer.ts"
import { leased } from "../suite/Cases.ts"
import * as BaseImage from "../support/BaseImage.ts"
import * as Cache from "../support/Cache.ts"
import * as Container from "../support/Container.ts"
import { describeDaemons } from "../support/Daemons.ts"
import * as Debris from "../support/Debris.ts"
import * as Host from "../support/Host.ts"
import { run } from "../support/Process.ts"
import { compressed, compressible, cut, mebibyte } from "./Compressible.ts"
import * as LargeLayers from "./LargeLayers.ts"
import * as Tars from "./Tars.ts"

const programs = ["igzip", "pigz", "zstd"] as const

const withPrograms = Cache.inPath(programs)

const engines = [
  ["gzip", "node"],
  ["zstd", "node"],
  ["gzip", "igzip"],
  ["gzip", "pigz"],
  ["zstd", "zstd"]
] as const

const readers = { gzip: Zlib.gunzipSync, zstd: Zlib.zstdDecompressSync }
const large = compressible(7 * mebibyte + 123)

/** A tar of one file of some megabytes, which is more than a chunk. */
const tar = Tars.bytes(Tars.file({ name: "file" }, large), Tars.end)

/** An image of one layer that is compressed in that way, in a new layout. */
const imageOf = Effect.fnUntraced(function* (form: Form) {
  const root = join(yield* Debris.directory, "Layout")
  const layer = yield* Effect.gen(function* () {
    const store = yield* ContentStore.ContentStore
    const { descriptor, diffId } = yield* writeLayer(cut(tar, [65_536]), form)
    const rootfs = { type: "layers", diff_ids: [diffId] }
    const write = (document: object, mediaType: string) =>
      store.writeBytes(Buffer.from(JSON.stringify(document)), { mediaType })
    const config = yield* write({ architecture: "amd64", os: "linux", rootfs }, MediaType.ociConfig)
    const manifest = { schemaVersion: 2, mediaType: MediaType.ociManifest, config, layers: [descriptor] }
    const target = yield* write(manifest, MediaType.ociManifest)
    yield* Images.put({ name: "localhost/layer:1", target, labels: {} })
    return { descriptor, diffId }
  }).pipe(leased, Effect.provide(Embedded.layer({ root })))
  return { root, ...layer }
})

describeDaemons("compression by", () => {
  it.live.each(engines)(
    "%s by %s: every level is read by everyone, and the bytes are those of the input",
    (engine) =>
      Effect.gen(function* () {
        yield* withPrograms
        const [form, compressor] = engine
        const directory = yield* Debris.directory
        const scale = Compressor.levels(compressor, form)
        for (const level of [scale?.least, undefined, scale?.most]) {
          const settings: Settings = { compressor, level }
          const out = yield* compressed(form, large, { ...settings, concurrency: 1 })
          for (const [concurrency, size] of [
            [2, 4096],
            [5, 1_000_000],
            [undefined, 8 * mebibyte]
          ] as const) {
            const other = yield* compressed(form, large, { ...settings, concurrency }, [size, 70_001])
            assert.isTrue(other.equals(out), `level ${level}, ${concurrency} at once`)
          }
          assert.isTrue(readers[form](out).equals(large))
          const path = join(directory, `out.${form === "gzip" ? "gz" : "zst"}`)
          writeFileSync(path, out)
          yield* run(form === "gzip" ? "gzip" : Cache.program("zstd", "zstd"), ["-t", path])
        }
      }),
    120_000
  )

  it.live.each(engines)(
    "%s by %s takes the bytes of large files before others come into their place",
    (engine) => Effect.andThen(withPrograms, LargeLayers.compressed(engine)).pipe(Effect.scoped),
    60_000
  )

  it.live.each(["igzip", "pigz"] as const)("gzip by %s says nothing of time and place", (compressor) =>
    Effect.gen(function* () {
      yield* withPrograms
      const out = yield* compressed("gzip", large, { compressor })
      assert.deepStrictEqual([...out.subarray(0, 8)], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0])
    })
  )

  it.live.each(engines)("%s by %s: skopeo makes the same tar of the layer", ([compression, compressor]) =>
    Effect.gen(function* () {
      yield* withPrograms
      const { diffId, root } = yield* imageOf({ compression, compressor })
      assert.strictEqual(diffId, Digest.fromBytes(tar))
      const target = join(root, "..", "copy")
      mkdirSync(target)
      const skopeo = Cache.program("skopeo", "skopeo")
      yield* run(skopeo, ["copy", "--quiet", "--dest-decompress", `oci:${root}:1`, `dir:${target}`])
      assert.isTrue(readFileSync(join(target, diffId.replace("sha256:", ""))).equals(tar))
    })
  )

  it.live("the choice is igzip where it is installed", () =>
    Effect.gen(function* () {
      yield* withPrograms
      assert.strictEqual(yield* Compressor.choose({ compressor: "auto" }, "gzip"), "igzip")
      for (const program of programs) assert.isTrue(yield* Compressor.isAvailable(program))
    })
  )
})

describeDaemons("a commit compressed here", () => {
  layer(Host.layer("2.x"), { excludeTestServices: true })((it) => {
    it.effect.each(engines)(
      "%s by %s: containerd extracts it, and concurrency changes nothing",
      ([compression, compressor]) =>
        Effect.gen(function* () {
          yield* withPrograms
          const { containerd } = yield* Host.Host
          const base = yield* BaseImage.busybox({ ref: "localhost/base:1" })
          yield* BaseImage.importImage(containerd, base)
          const container = yield* Container.run(containerd, { image: base.ref })
          yield* container.exec("for i in 1 2 3 4 5 6 7 8; do cat /bin/busybox; done > /large")
          const options = { container: container.id, compression, compressor, created: "2024-01-02T03:04:05Z" }
          const layerOf = (name: string, compressionConcurrency: number) =>
            Effect.map(Commit.commit({ ...options, name, compressionConcurrency }), (committed) =>
              Option.getOrThrow(committed.layer)
            )
          const first = yield* layerOf("app:1", 1)
          assert.strictEqual(first.descriptor.mediaType, MediaType.layer("oci", compression))
          assert.deepStrictEqual(yield* layerOf("app:2", 2), first)
          const unpacked = yield* Container.runOnce(containerd, { image: "docker.io/library/app:2" }, "wc -c < /large")
          assert.isAbove(Number(unpacked), 4 * mebibyte)
        })
    )
  })
})
