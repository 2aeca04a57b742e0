/** Images out of one root, as files, and into another. */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { gzipSync } from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { ContentStore, Embedded, Images } from "effect-containerd"
import * as Trees from "../layer/Trees.ts"
import * as Layout from "../suite/Layout.ts"
import * as Fixtures from "./Containers.ts"
import * as Root from "./Root.ts"

const name = "docker.io/library/base:1"
const base = Fixtures.imageOfEntries("base:1", [Trees.directory("./"), Trees.regular("file", "content")])

/** In a root of its own. */
const elsewhere = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.provide(self, Layer.fresh(Root.layer), { local: true })

const exported = Effect.gen(function* () {
  const directory = yield* Trees.temporary
  const { image } = yield* base
  const path = join(directory, "image.tar")
  yield* Embedded.exportArchive([name], path)
  return { directory, image, path }
})

describe("an exported image", { timeout: 30_000 }, () => {
  it.live("comes back the same from a tar, a gzipped tar and a layout, and stays", () =>
    Effect.gen(function* () {
      const { directory, image, path } = yield* exported
      const layout = join(directory, "layout")
      mkdirSync(layout)
      Trees.place(layout, readFileSync(path))
      writeFileSync(`${path}.gz`, gzipSync(readFileSync(path)))
      const tree = Trees.read((yield* Embedded.createContainer(name)).rootfs)
      for (const source of [path, `${path}.gz`, layout]) {
        const [record, files, copy] = yield* Effect.gen(function* () {
          const [record] = yield* Embedded.importArchive(source)
          assert.deepStrictEqual((yield* Embedded.gc()).items, [])
          const { files, leases } = yield* Fixtures.inventory
          assert.deepStrictEqual(leases, [])
          return [record, files, Trees.read((yield* Embedded.createContainer(name)).rootfs)] as const
        }).pipe(elsewhere)
        assert.deepStrictEqual(record, image, source)
        // Layer, config and manifest.
        assert.strictEqual(files.length, 3)
        assert.deepStrictEqual(copy, tree)
      }
      yield* Embedded.exportArchive([name], `${path}.again`)
      assert.isTrue(readFileSync(path).equals(readFileSync(`${path}.again`)))
    }).pipe(Effect.scoped, Effect.provide(Root.layer))
  )

  it.live("gets another name when it is asked for, and takes the place of the image of that name", () =>
    Effect.gen(function* () {
      const { image, path } = yield* exported
      yield* Fixtures.imageOfEntries("other:2", [Trees.directory("./"), Trees.regular("other", "o")])
      const [record] = yield* Embedded.importArchive(path, { name: "other:2" })
      assert.strictEqual(record?.name, "docker.io/library/other:2")
      assert.strictEqual(
        (yield* (yield* Images.Images).get("docker.io/library/other:2")).target.digest,
        image.target.digest
      )
      yield* Embedded.gc()
      assert.strictEqual((yield* Fixtures.inventory).files.length, 3)
    }).pipe(Effect.scoped, Effect.provide(Root.layer))
  )

  it.live("can be one of several in a file; what they share is in it once", () =>
    Effect.gen(function* () {
      const { directory, image } = yield* exported
      yield* Images.put({ name: "docker.io/library/same:1", target: image.target, labels: {} })
      const path = join(directory, "both.tar")
      yield* Embedded.exportArchive([name, "docker.io/library/same:1"], path)
      const records = yield* elsewhere(
        Effect.gen(function* () {
          const records = yield* Embedded.importArchive(path)
          assert.strictEqual((yield* Fixtures.inventory).files.length, 3)
          return records.map((record) => record.name)
        })
      )
      assert.deepStrictEqual(records, [name, "docker.io/library/same:1"])
    }).pipe(Effect.scoped, Effect.provide(Root.layer))
  )
})

describe("nothing is left", { timeout: 30_000 }, () => {
  it.live("of an export that cannot be: of what is not here, not whole, or to nowhere", () =>
    Effect.gen(function* () {
      const { directory, image } = yield* exported
      const path = join(directory, "not.tar")
      const failure = (names: ReadonlyArray<string>, to: string) =>
        Effect.map(Effect.flip(Embedded.exportArchive(names, to)), ({ message }) => message)
      assert.match(yield* failure(["docker.io/library/none:1"], path), /docker\.io\/library\/none:1.*not found/)
      assert.match(yield* failure([name], join(directory, "no/where.tar")), /no\/where\.tar.*ENOENT/)
      const { manifest } = yield* Fixtures.documentsOf(image.target)
      const [layer] = manifest.layers ?? []
      if (layer === undefined) throw new Error("no layer")
      yield* (yield* ContentStore.ContentStore).delete(layer.digest)
      assert.include(yield* failure([name], path), layer.digest)
      assert.deepStrictEqual(readdirSync(directory), ["image.tar"])
      assert.deepStrictEqual((yield* Fixtures.inventory).leases, [])
    }).pipe(Effect.scoped, Effect.provide(Root.layer))
  )

  it.live("of an import of what is no archive, is cut off or damaged", () =>
    Effect.gen(function* () {
      const { directory, image, path } = yield* exported
      const good = readFileSync(path)
      const damaged = Buffer.from(good)
      // The first byte of the manifest, behind its header.
      const at = damaged.indexOf(`blobs/${image.target.digest.replace(":", "/")}\0`, 0, "latin1") + 512
      damaged.writeUInt8(damaged.readUInt8(at) ^ 1, at)
      const file = (name: string, bytes: Uint8Array | string) => {
        writeFileSync(join(directory, name), bytes)
        return join(directory, name)
      }
      const cases: ReadonlyArray<readonly [string, RegExp]> = [
        [join(directory, "none"), /none: ENOENT/],
        [file("text", "no archive, and long enough to be one. ".repeat(50)), /text: /],
        [file("empty.tar", Buffer.alloc(1024)), /empty\.tar is no archive of images: .*index\.json.*manifest\.json/],
        [file("short.tar", good.subarray(0, good.length / 2)), /short\.tar: /],
        [file("damaged.tar", damaged), /sha256:[0-9a-f]{64}/]
      ]
      yield* elsewhere(
        Effect.gen(function* () {
          const before = yield* Fixtures.inventory
          for (const [source, message] of cases) {
            assert.match((yield* Effect.flip(Embedded.importArchive(source))).message, message)
            assert.deepStrictEqual(yield* Fixtures.inventory, before, source)
          }
        })
      )
    }).pipe(Effect.scoped, Effect.provide(Root.layer))
  )

  it.live("of an export or an import that is interrupted", () =>
    Effect.gen(function* () {
      const directory = yield* Trees.temporary
      const large = Trees.regular("large", Buffer.alloc(20_000_000, crypto.randomUUID()))
      yield* Fixtures.imageOfEntries("base:1", [large], { compression: "uncompressed" })
      const path = join(directory, "image.tar")
      for (const millis of [2, 10, 20]) {
        yield* Effect.timeoutOption(Embedded.exportArchive([name], path), millis)
        if (!existsSync(path)) assert.deepStrictEqual(readdirSync(directory), [])
      }
      yield* Embedded.exportArchive([name], path)
      const root = yield* Root.directory
      yield* Effect.gen(function* () {
        for (const millis of [2, 10, 20]) {
          yield* Effect.timeoutOption(Embedded.importArchive(path), millis)
          const { files, images, leases } = yield* Fixtures.inventory
          assert.deepStrictEqual([files.length, leases], [3 * images.length, []])
          assert.deepStrictEqual(Layout.problems(root), [])
        }
      }).pipe(Effect.provide(Embedded.layer({ root }), { local: true }))
    }).pipe(Effect.scoped, Effect.provide(Root.layer))
  )
})
