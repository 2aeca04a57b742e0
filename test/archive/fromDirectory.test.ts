/** A directory becomes an image of one layer. */
import { spawnSync } from "node:child_process"
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Option } from "effect"
import { Archive, Embedded, ImageConfig, Images, MediaType } from "effect-containerd"
import * as Fixtures from "../embedded/Containers.ts"
import * as Root from "../embedded/Root.ts"
import * as Trees from "../layer/Trees.ts"

/** A directory with a file and a link. */
const tree = Effect.map(Trees.temporary, (base) => {
  const root = join(base, "tree")
  mkdirSync(join(root, "etc"), { recursive: true })
  writeFileSync(join(root, "etc/name"), "hello\n")
  symlinkSync("etc/name", join(root, "link"))
  return root
})

const documents = (name: string) =>
  Effect.flatMap(
    Images.Images.use((images) => images.get(name)),
    ({ target }) => Fixtures.documentsOf(target)
  )

const historyOf = (config: ImageConfig.ImageConfig) =>
  ImageConfig.history(config).map(({ comment, created }) => `${created} ${comment}`)

const created = "2024-01-02T03:04:05Z"
const architecture = process.arch === "x64" ? "amd64" : process.arch

describe("fromDirectory", { timeout: 30_000 }, () => {
  it.live("makes an image for this host, of now, with a gzipped layer and nothing to run", () =>
    Effect.gen(function* () {
      const directory = yield* tree
      const { image, layer, notCarried } = yield* Archive.fromDirectory(directory, { name: "app" })
      assert.strictEqual(image.name, "docker.io/library/app:latest")
      assert.deepStrictEqual(notCarried, [])
      const { config, manifest } = yield* documents(image.name)
      assert.deepInclude(config, { os: "linux", architecture, rootfs: { type: "layers", diff_ids: [layer.diffId] } })
      assert.isUndefined(config.config)
      assert.isBelow(Math.abs(Date.parse(config.created ?? "") - Date.now()), 60_000)
      assert.deepStrictEqual(historyOf(config), [`${config.created} imported from a directory`])
      assert.deepStrictEqual(manifest.layers, [layer.descriptor])
      assert.strictEqual(layer.descriptor.mediaType, MediaType.layer("oci", "gzip"))
      const { rootfs } = yield* Embedded.createContainer("app")
      assert.deepStrictEqual(Trees.read(rootfs), Trees.read(directory))
      assert.deepStrictEqual((yield* Embedded.gc()).items, [])
    }).pipe(Effect.scoped, Effect.provide(Root.layer))
  )

  it.live.each(["gzip", "zstd", "uncompressed"] as const)("does what its options say (%s)", (compression) =>
    Effect.gen(function* () {
      const directory = yield* tree
      const options: Archive.DirectoryOptions = {
        ...{ name: "ghcr.io/some/app:1", compression, platform: "linux/arm64/v8", message: "a tree" },
        ...{ created, config: { Cmd: ["sh"], Env: ["A=b"], Labels: { l: "1" } } }
      }
      const { image, layer } = yield* Archive.fromDirectory(directory, options)
      assert.strictEqual(image.name, "ghcr.io/some/app:1")
      assert.strictEqual(layer.descriptor.mediaType, MediaType.layer("oci", compression))
      const { config } = yield* documents(image.name)
      assert.deepInclude(config, { os: "linux", architecture: "arm64", variant: "v8" })
      assert.deepStrictEqual(config.config, { Cmd: ["sh"], Env: ["A=b"], Labels: { l: "1" } })
      assert.strictEqual(String(config.created), created)
      assert.deepStrictEqual(historyOf(config), [`${created} a tree`])
      const { rootfs } = yield* Embedded.createContainer(image.name)
      assert.deepStrictEqual(Trees.read(rootfs), Trees.read(directory))
    }).pipe(Effect.scoped, Effect.provide(Root.layer))
  )

  it.live.each(["gzip", "uncompressed"] as const)(
    "of the same directory at the same time is the same (%s)",
    (compression) =>
      Effect.gen(function* () {
        const directory = yield* tree
        const make = Archive.fromDirectory(directory, { name: "app", created, compression })
        assert.deepStrictEqual(yield* make, yield* make)
      }).pipe(Effect.scoped, Effect.provide(Root.layer))
  )

  it.live("takes the place of an image of that name, and leaves nothing of it", () =>
    Effect.gen(function* () {
      const directory = yield* tree
      const first = yield* Archive.fromDirectory(directory, { name: "app" })
      const before = yield* Fixtures.inventory
      writeFileSync(join(directory, "more"), "m")
      const second = yield* Archive.fromDirectory(directory, { name: "app" })
      assert.notStrictEqual(second.layer.diffId, first.layer.diffId)
      const after = yield* Fixtures.inventory
      assert.deepStrictEqual(after.images, [`docker.io/library/app:latest ${second.image.target.digest}`])
      assert.strictEqual(after.files.length, before.files.length)
    }).pipe(Effect.scoped, Effect.provide(Root.layer))
  )

  it.live("follows a symlink to the directory, and gives files of an ordinary user to root", () =>
    Effect.gen(function* () {
      const directory = yield* tree
      const link = `${directory}-link`
      symlinkSync("tree", link)
      const through = yield* Archive.fromDirectory(link, { name: "app", created })
      assert.deepStrictEqual(through, yield* Archive.fromDirectory(directory, { name: "app", created }))
      // Who may not give files away sees his own for root's: nothing is lost.
      assert.deepStrictEqual((yield* Embedded.createContainer("app")).notApplied, [])
    }).pipe(Effect.scoped, Effect.provide(Root.layer))
  )

  it.live("says what no layer can hold", () =>
    Effect.gen(function* () {
      const directory = yield* tree
      writeFileSync(join(directory, ".wh.name"), "")
      const server = createServer().listen(join(directory, "socket"))
      yield* Effect.promise(() => new Promise((resolve) => server.on("listening", resolve)))
      const { notCarried } = yield* Archive.fromDirectory(directory, { name: "app" })
      yield* Effect.promise(() => new Promise((resolve) => server.close(resolve)))
      assert.deepStrictEqual(
        notCarried.map(({ path, what }) => `${path}: ${what}`),
        [
          ".wh.name: the name begins with .wh., which in a layer stands for a deletion",
          "socket: a socket cannot be in a layer"
        ]
      )
      const { rootfs } = yield* Embedded.createContainer("app")
      assert.deepStrictEqual(Object.keys(Trees.read(rootfs)).toSorted(), ["/", "/etc", "/etc/name", "/link"])
    }).pipe(Effect.scoped, Effect.provide(Root.layer))
  )

  it.live("refuses what is no directory and options that are none, with the word that is wrong; nothing is left", () =>
    Effect.gen(function* () {
      const directory = yield* tree
      const before = yield* Fixtures.inventory
      const cases: ReadonlyArray<readonly [string, Archive.DirectoryOptions, RegExp]> = [
        [join(directory, "none"), { name: "app" }, /none: ENOENT/],
        [join(directory, "etc/name"), { name: "app" }, /etc\/name is no directory$/],
        [directory, { name: "Not A Name" }, /Not A Name/],
        [directory, { name: "" }, /empty|""/],
        [directory, { name: "app", platform: "linux/a/b/c" }, /linux\/a\/b\/c/],
        [directory, { name: "app", created: "yesterday" }, /yesterday/]
      ]
      for (const [path, options, message] of cases) {
        const error = yield* Effect.flip(Archive.fromDirectory(path, options))
        assert.strictEqual(error._tag, "ArchiveError", path)
        assert.match(error.message, message)
      }
      assert.deepStrictEqual(yield* Fixtures.inventory, before)
    }).pipe(Effect.scoped, Effect.provide(Root.layer))
  )

  it.live.skipIf(Trees.isRoot)("names the file that the user may not read, and leaves nothing", () =>
    Effect.gen(function* () {
      const directory = yield* tree
      const before = yield* Fixtures.inventory
      chmodSync(join(directory, "etc/name"), 0)
      const error = yield* Effect.flip(Archive.fromDirectory(directory, { name: "app" }))
      assert.strictEqual(error._tag, "LayerError")
      assert.match(error.message, /etc\/name.*[Pp]ermission denied/)
      assert.deepStrictEqual(yield* Fixtures.inventory, before)
    }).pipe(Effect.scoped, Effect.provide(Root.layer))
  )

  it.live("leaves nothing when it is interrupted", () =>
    Effect.gen(function* () {
      const directory = yield* tree
      spawnSync("dd", ["if=/dev/urandom", `of=${join(directory, "large")}`, "bs=1M", "count=16"])
      const before = yield* Fixtures.inventory
      for (const millis of [5, 20, 50, 100]) {
        const done = yield* Effect.timeoutOption(Archive.fromDirectory(directory, { name: "app" }), millis)
        assert.isTrue(Option.isNone(done))
        yield* Embedded.gc()
        assert.deepStrictEqual(yield* Fixtures.inventory, before)
      }
    }).pipe(Effect.scoped, Effect.provide(Root.layer))
  )
})
