/** Containers of the embedded backend: made, found and removed, or not at all. */
import { linkSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Option, Stream } from "effect"
import {
  Commit,
  type ContainerdError,
  Containers,
  ContentStore,
  Embedded,
  ImageConfig,
  Images,
  Leases,
  type OciError,
  Snapshotter
} from "effect-containerd"
import { Database } from "../../src/embedded/Database.ts"
import * as Trees from "../layer/Trees.ts"
import { leased, reason } from "../suite/Cases.ts"
import * as Layout from "../suite/Layout.ts"
import * as Fixtures from "./Containers.ts"
import * as Root from "./Root.ts"

const { directory, regular } = Trees

const entries = [directory("./"), directory("etc"), regular("etc/name", "base\n"), regular("one", "1")]
const base = Fixtures.imageOfEntries("base:1", entries, { config: { Cmd: ["sh", "-c", "true"] } })
const name = "docker.io/library/base:1"

type Failure = ContainerdError.ContainerdError | OciError.OciError

/** Reason and message of the failure that must come; nothing may be left of what failed. */
const refusal = <A, R>(self: Effect.Effect<A, Failure, R>) =>
  Effect.gen(function* () {
    const before = yield* Fixtures.inventory
    const error = yield* Effect.flip(self)
    assert.deepStrictEqual(yield* Fixtures.inventory, before)
    return `${error._tag === "ContainerdError" ? error.reason._tag : error._tag}: ${error.message}`
  })

describe("createContainer", { timeout: 30_000 }, () => {
  it.live("gives a container of the image's tree, with an id of its own, and leaves no lease", () =>
    Effect.gen(function* () {
      const { layer } = yield* base
      const created = yield* Embedded.createContainer("base:1")
      assert.match(created.id, /^[0-9a-f-]{36}$/)
      assert.strictEqual(created.image.name, name)
      assert.deepStrictEqual(created.notApplied, [])
      assert.strictEqual(readFileSync(join(created.rootfs, "etc/name"), "utf8"), "base\n")
      assert.deepStrictEqual(Trees.read(created.rootfs), yield* Fixtures.snapshotTree(layer.diffId))
      const record = yield* (yield* Containers.Containers).get(created.id)
      assert.deepInclude(record, { id: created.id, image: name, labels: {}, snapshotter: "directory", runtime: "" })
      assert.deepStrictEqual(yield* (yield* Leases.Leases).list(), [])
      assert.deepStrictEqual((yield* Embedded.gc()).items, [])
      const other = yield* Embedded.createContainer(name, { id: "c", labels: { l: "1" } })
      assert.strictEqual(other.id, "c")
      assert.deepStrictEqual((yield* (yield* Containers.Containers).get("c")).labels, { l: "1" })
    }).pipe(Effect.provide(Root.layer))
  )

  it.live("knows images by the name that they have, too", () =>
    Effect.gen(function* () {
      yield* Fixtures.imageOfTars("v1", [Fixtures.tar(...entries)])
      assert.strictEqual((yield* Embedded.createContainer("v1")).image.name, "v1")
    }).pipe(Effect.provide(Root.layer))
  )

  it.live("refuses what it does not know, and says what there is; nothing is left", () =>
    Effect.gen(function* () {
      assert.match(yield* refusal(Embedded.createContainer("base:1")), /^NotFound: .*"base:1".*none at all: import one/)
      yield* base
      yield* Embedded.createContainer("base:1", { id: "taken" })
      const create = (image: string, options?: Embedded.CreateOptions) =>
        refusal(Embedded.createContainer(image, options))
      assert.match(yield* create("bass:1"), /^NotFound: .*"bass:1" here; there are: docker\.io\/library\/base:1$/)
      assert.match(yield* create("not a name"), /^NotFound: .*"not a name"/)
      assert.match(yield* create("base:1", { id: "taken" }), /^AlreadyExists: .*"taken": already exists/)
      assert.match(yield* create("base:1", { id: "" }), /^InvalidArgument: .*needs a/)
      assert.match(yield* create("base:1", { platform: "linux/a/b/c" }), /^InvalidArgument: .*linux\/a\/b\/c/)
      assert.match(yield* create("base:1", { labels: { k: "v".repeat(5000) } }), /^InvalidArgument: /)
    }).pipe(Effect.provide(Root.layer))
  )

  it.live("leaves a snapshot alone that has its id", () =>
    Effect.gen(function* () {
      const { layer } = yield* base
      yield* Embedded.createContainer("base:1")
      const error = yield* refusal(Embedded.createContainer("base:1", { id: layer.diffId }))
      assert.match(error, /^AlreadyExists: .*already exists/)
      assert.strictEqual((yield* Fixtures.snapshotTree(layer.diffId))["/one"]?.size, 1)
    }).pipe(Effect.provide(Root.layer))
  )

  it.live("makes one container of two that want an id at once", () =>
    Effect.gen(function* () {
      yield* base
      const exits = yield* Effect.all(
        [1, 2, 3].map(() => Effect.exit(Embedded.createContainer("base:1", { id: "c" }))),
        { concurrency: "unbounded" }
      )
      assert.strictEqual(exits.filter(Exit.isSuccess).length, 1)
      const { containers, files } = yield* Fixtures.inventory
      assert.deepStrictEqual(containers, ["c"])
      assert.strictEqual(files.filter((path) => path.includes("/snapshots/")).length, 2)
      assert.strictEqual(readFileSync(join(yield* Embedded.rootfs("c"), "one"), "utf8"), "1")
    }).pipe(Effect.provide(Root.layer))
  )
})

describe("the platforms of an index", { timeout: 30_000 }, () => {
  const [host, other, third] = [`linux/${process.arch === "x64" ? "amd64" : process.arch}`, "linux/s390x", "linux/mips"]
  const platformOf = (options?: Embedded.CreateOptions) =>
    Effect.map(Embedded.createContainer("many", options), ({ rootfs }) =>
      readFileSync(join(rootfs, "platform"), "utf8")
    )

  it.live("are this host's, the one that is asked for, or the first that is here", () =>
    Effect.gen(function* () {
      const images = yield* Fixtures.indexOf("many", [other, host, third])
      assert.strictEqual(yield* platformOf(), host)
      assert.strictEqual(yield* platformOf({ platform: third }), third)
      assert.match(
        yield* refusal(Embedded.createContainer("many", { platform: "linux/riscv64" })),
        /^NotFound: .*the image many has no manifest here for linux\/riscv64/
      )
      const store = yield* ContentStore.ContentStore
      const absent = images.filter(({ platform }) => platform.architecture !== "mips")
      for (const { target } of absent) yield* store.delete(target.digest)
      assert.strictEqual(yield* platformOf(), third)
      assert.match(
        yield* refusal(Embedded.createContainer("many", { platform: other })),
        /^NotFound: .*the image many has no manifest here for linux\/s390x/
      )
    }).pipe(Effect.provide(Root.layer))
  )

  it.live("a container is committed over its own", () =>
    Effect.gen(function* () {
      yield* Fixtures.indexOf("many", [other, host])
      const { rootfs } = yield* Embedded.createContainer("many", { id: "c", platform: other })
      writeFileSync(join(rootfs, "new"), "n")
      const { chainId, image } = yield* Commit.commit({ container: "c", name: "app:1" })
      assert.strictEqual((yield* Fixtures.documentsOf(image.target)).config.architecture, "s390x")
      assert.deepStrictEqual(yield* Fixtures.snapshotTree(Option.getOrThrow(chainId)), Trees.read(rootfs))
    }).pipe(Effect.provide(Root.layer))
  )
})

describe("an image", { timeout: 30_000 }, () => {
  it.live("without layers gives an empty root, and what is put there is the first layer", () =>
    Effect.gen(function* () {
      yield* Fixtures.imageOfTars("empty:1", [], { config: { Entrypoint: ["/bin/app"], Cmd: ["-v"] } })
      const { rootfs } = yield* Embedded.createContainer("empty:1", { id: "c" })
      assert.deepStrictEqual(Object.keys(Trees.read(rootfs)), ["/"])
      writeFileSync(join(rootfs, "first"), "f")
      const { chainId, image, layer } = yield* Commit.commit({ container: "c", name: "app:1" })
      assert.strictEqual(Option.getOrThrow(chainId), Option.getOrThrow(layer).diffId)
      assert.deepStrictEqual(yield* Fixtures.snapshotTree(Option.getOrThrow(chainId)), Trees.read(rootfs))
      const { config } = yield* Fixtures.documentsOf(image.target)
      // What the container would run, for its record has the image's command.
      assert.deepStrictEqual(
        ImageConfig.history(config).map(({ created_by }) => created_by),
        ["/bin/app -v"]
      )
    }).pipe(Effect.provide(Root.layer))
  )

  const damages: ReadonlyArray<readonly [string, (path: string) => void, RegExp]> = [
    ["is gone", (path) => rmSync(path), /^NotFound: Content\.Read: .*[0-9a-f]{64}/],
    ["is cut off", (path) => truncateSync(path, 700), /sha256:[0-9a-f]{64} ends after 700 of 2048 bytes/],
    [
      "has other bytes",
      (path) => writeFileSync(path, readFileSync(path, "latin1").replace("second", "sec0nd"), "latin1"),
      /^DigestMismatch: .*expected sha256:[0-9a-f]{64}, got sha256:/
    ]
  ]

  it.live.each(damages)("whose upper layer %s gives no container, and nothing is left", ([_, damage, message]) =>
    Effect.gen(function* () {
      const { paths } = yield* Database
      const tars = [Fixtures.tar(...entries), Fixtures.tar(regular("two", "second"))]
      const { layers } = yield* Fixtures.imageOfTars("base:1", tars)
      const [, upper] = layers
      if (upper === undefined) throw new Error("no layer")
      const path = Fixtures.blobPath(paths.root, upper)
      const whole = readFileSync(path)
      damage(path)
      assert.match(yield* refusal(Embedded.createContainer("base:1")), message)
      assert.deepStrictEqual(
        (yield* Fixtures.inventory).files.filter((file) => file.includes("snapshots")),
        []
      )
      writeFileSync(path, whole)
      yield* Embedded.createContainer("base:1")
    }).pipe(Effect.provide(Root.layer))
  )
})

describe("containers of one image", { timeout: 30_000 }, () => {
  it.live("share nothing, with each other and with the image", () =>
    Effect.gen(function* () {
      const { layer } = yield* base
      const before = yield* Effect.andThen(Embedded.createContainer("base:1"), Fixtures.snapshotTree(layer.diffId))
      const [one, two] = yield* Effect.all([Embedded.createContainer("base:1"), Embedded.createContainer("base:1")])
      // In place: a name that is shared would show it.
      writeFileSync(join(one.rootfs, "etc/name"), "changed by one\n", { flag: "r+" })
      linkSync(join(one.rootfs, "one"), join(one.rootfs, "linked"))
      assert.deepStrictEqual(Trees.read(two.rootfs), before)
      assert.deepStrictEqual(yield* Fixtures.snapshotTree(layer.diffId), before)
      const inodes = [one, two].map(({ rootfs }) => statSync(join(rootfs, "one")).ino)
      assert.notStrictEqual(inodes[0], inodes[1])
    }).pipe(Effect.provide(Root.layer))
  )
})

describe("an interruption", { timeout: 30_000 }, () => {
  it.live("of createContainer leaves nothing, at any moment", () =>
    Effect.gen(function* () {
      const { paths } = yield* Database
      const tars = [Fixtures.tar(...entries), Fixtures.tar(regular("large", "x".repeat(3_000_000)))]
      yield* Fixtures.imageOfTars("base:1", tars)
      const before = yield* Fixtures.inventory
      let interrupted = 0
      for (let i = 0; i < 12; i++) {
        const fiber = yield* Effect.forkChild(Embedded.createContainer("base:1", { id: "c" }), {
          startImmediately: true
        })
        yield* Effect.sleep(`${i * 5} millis`)
        yield* Fiber.interrupt(fiber)
        const { containers, files, leases } = yield* Fixtures.inventory
        assert.deepStrictEqual([leases, (yield* Embedded.gc({ dryRun: true })).items], [[], []])
        assert.deepStrictEqual(Layout.staleRecords(paths.root), [])
        if (containers.length === 0) interrupted += 1
        // The image may be unpacked already: a container of it is one more than its two layers.
        assert.isAtMost(files.length - before.files.length, 2 + containers.length)
        yield* Embedded.removeContainer("c")
      }
      assert.isAbove(interrupted, 1)
    }).pipe(Effect.provide(Root.layer))
  )

  it.live("that comes right after the record was made leaves a whole container", () =>
    Effect.gen(function* () {
      yield* base
      const db = yield* Database
      const interrupting: Database["Service"] = {
        ...db,
        transaction: (method, body) =>
          Effect.tap(db.transaction(method, body), () =>
            Effect.withFiber((fiber) => Effect.sync(() => fiber.interruptUnsafe()))
          )
      }
      const create = Embedded.createContainer("base:1", { id: "c" })
      const fiber = yield* Effect.forkChild(Effect.provideService(create, Database, interrupting))
      assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(fiber)))
      assert.strictEqual(readFileSync(join(yield* Embedded.rootfs("c"), "one"), "utf8"), "1")
    }).pipe(Effect.provide(Root.layer))
  )
})

describe("rootfs and removeContainer", { timeout: 30_000 }, () => {
  it.live("find the directory of a container, and take it away; what was committed stays", () =>
    Effect.gen(function* () {
      yield* base
      assert.match(yield* refusal(Embedded.rootfs("c")), /^NotFound: .*"c": not found/)
      yield* Embedded.removeContainer("c")
      const created = yield* Embedded.createContainer("base:1", { id: "c" })
      assert.strictEqual(yield* Embedded.rootfs("c"), created.rootfs)
      writeFileSync(join(created.rootfs, "new"), "n")
      const tree = Trees.read(created.rootfs)
      const before = yield* Fixtures.inventory
      const { chainId } = yield* Commit.commit({ container: "c", name: "app:1" })
      yield* Embedded.removeContainer("c")
      yield* Embedded.removeContainer("c")
      assert.strictEqual(yield* reason(Embedded.rootfs("c")), "NotFound")
      assert.throws(() => statSync(created.rootfs), /ENOENT/)
      assert.deepStrictEqual((yield* Embedded.gc()).items, [])
      assert.deepStrictEqual(yield* Fixtures.snapshotTree(Option.getOrThrow(chainId)), tree)
      const again = yield* Embedded.createContainer("app:1", { id: "c" })
      assert.deepStrictEqual(Trees.read(again.rootfs), tree)
      // A container less, a blob for each of layer, config and manifest more, and a snapshot.
      assert.strictEqual((yield* Fixtures.inventory).files.length, before.files.length + 4)
    }).pipe(Effect.provide(Root.layer))
  )

  it.live("keep a container whose image is gone; its commit says what to do", () =>
    Effect.gen(function* () {
      yield* base
      const { rootfs } = yield* Embedded.createContainer("base:1", { id: "c" })
      yield* (yield* Images.Images).delete(name)
      yield* Embedded.gc()
      assert.strictEqual(readFileSync(join(rootfs, "one"), "utf8"), "1")
      const error = yield* Effect.flip(Commit.commit({ container: "c", name: "app:1" }))
      assert.match(error.message, /image docker\.io\/library\/base:1 is not here any more: pull it again/)
      yield* Embedded.removeContainer("c")
      yield* Embedded.gc()
      assert.deepStrictEqual((yield* Fixtures.inventory).files, [])
    }).pipe(Effect.provide(Root.layer))
  )

  it.live("refuse a container that has no file system any more", () =>
    Effect.gen(function* () {
      yield* base
      yield* Embedded.createContainer("base:1", { id: "c" })
      yield* leased((yield* Snapshotter.Snapshotters).get("directory").remove("c"))
      assert.match(yield* refusal(Embedded.rootfs("c")), /^NotFound: .*snapshot "c" does not exist/)
      yield* Embedded.removeContainer("c")
      assert.deepStrictEqual(yield* Stream.runCollect((yield* Containers.Containers).list()), [])
    }).pipe(Effect.provide(Root.layer))
  )
})
