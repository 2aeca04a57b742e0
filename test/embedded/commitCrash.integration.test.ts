/** Processes that are killed in the middle of a commit, and processes that commit at once. */
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { gunzipSync } from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import { Commit, ContentStore, Embedded, Images, Leases, Manifest, Snapshotter } from "effect-containerd"
import * as Tars from "../layer/Tars.ts"
import * as Trees from "../layer/Trees.ts"
import * as Layout from "../suite/Layout.ts"
import * as Committer from "./Committer.ts"
import * as Containers from "./Containers.ts"

const lanes = 2
const kills = 26

/** A root with a base image and containers of it. */
const prepared = Effect.fnUntraced(function* (...ids: ReadonlyArray<string>) {
  const base = yield* Trees.temporary
  const [root, tree] = [join(base, "root"), join(base, "tree")]
  mkdirSync(join(tree, "deep/er"), { recursive: true })
  writeFileSync(join(tree, "generation"), "0")
  for (let i = 0; i < 50; i++) writeFileSync(join(tree, `deep/er/file${i}`), `${i}`.repeat(5000))
  yield* Effect.gen(function* () {
    yield* Embedded.fromDirectory(tree, { name: "base:1" })
    for (const id of ids) yield* Embedded.createContainer("base:1", { id })
  }).pipe(Effect.provide(Embedded.layer({ root })))
  return root
})

const nameOf = (id: string) => `docker.io/library/${id}:1`

/** The number that the image's label names, after a look whether its layer holds it, too. */
const generationOf = Effect.fnUntraced(function* (id: string) {
  const { labels, target } = yield* (yield* Images.Images).get(nameOf(id))
  const manifest = Result.getOrThrow(Manifest.decode(yield* ContentStore.readBytes(target), target.mediaType))
  const [, layer] = manifest.value.layers ?? []
  const tar = layer === undefined ? Buffer.alloc(0) : gunzipSync(yield* ContentStore.readBytes(layer))
  const file = Tars.decode(tar).find(({ path }) => path === "generation")
  assert.strictEqual(file?.content, labels["generation"])
  const { labels: references } = yield* (yield* ContentStore.ContentStore).info(manifest.value.config.digest)
  const chainId = references["containerd.io/gc.ref.snapshot.directory"] ?? ""
  assert.strictEqual((yield* (yield* Snapshotter.Snapshotters).get("directory").stat(chainId)).kind, "committed")
  return Number(labels["generation"])
})

/** What the base image, the containers and an image of each take, and no more. */
const isClean = (root: string, containers: number) =>
  Effect.gen(function* () {
    const { files, images, leases } = yield* Containers.inventory
    assert.deepStrictEqual(leases, [])
    assert.strictEqual(images.length, 1 + containers)
    // Config, manifest and layer; the layer of the base image is in all of them.
    assert.strictEqual(files.filter((path) => path.startsWith("blobs/")).length, 3 * (1 + containers))
    const snapshots = files.filter((path) => path.includes("/snapshots/"))
    assert.strictEqual(snapshots.length, 1 + 2 * containers)
    assert.deepStrictEqual(
      files.filter((path) => !/^blobs|\/snapshots\//.test(path)),
      []
    )
    assert.deepStrictEqual((yield* Embedded.gc({ dryRun: true })).items, [])
    assert.deepStrictEqual(Layout.problems(root), [])
    assert.deepStrictEqual(Layout.staleRecords(root), [])
  })

const leaseIds = Effect.flatMap(Leases.Leases, (leases) =>
  Effect.map(leases.list(), (list) => list.map(({ id }) => id))
)

const visible = (root: string) => Effect.provide(generationOf("c"), Embedded.layer({ root }))

/** Kills one committer, looks at what is left, and gives what it was at: nothing when no commit was under way. */
const killOne = Effect.fnUntraced(function* (root: string, nth: number, after: number) {
  const before = yield* visible(root)
  const { begun, ended = before, steps } = yield* Effect.promise(() => Committer.killed(root, "c", nth, after))
  assert.deepStrictEqual(Layout.problems(root), [])
  assert.deepStrictEqual(Layout.staleRecords(root), [])
  assert.include([ended, begun], yield* visible(root))
  const leases = yield* Effect.provide(leaseIds, Embedded.layer({ root }))
  return leases.length === 0 ? [] : steps
})

/** The first commit of each process takes over from the one that was killed; that one or the second is killed. */
const killMany = Effect.fnUntraced(function* () {
  const root = yield* prepared("c")
  const [, ...durations] = yield* Effect.promise(() => Committer.finished(root, "c", 6))
  const duration = durations.reduce((sum, one) => sum + one, 0) / durations.length
  const hits = yield* Effect.forEach(Array.from({ length: kills }), (_, i) =>
    killOne(root, 1 + (i % 2), (duration * (i + Math.random())) / kills)
  )
  return { root, hits: hits.filter((steps) => steps.length > 0) }
})

describe("a commit that is killed", () => {
  it.live(
    `leaves a valid layout and the old image or the new, at ${lanes * kills} random moments, and nothing for long`,
    () =>
      Effect.gen(function* () {
        const all = yield* Effect.forEach(Array.from({ length: lanes }), killMany, { concurrency: lanes })
        const hits = all.flatMap((lane) => lane.hits)
        assert.isAtLeast(hits.length, (lanes * kills) / 2)
        assert.includeMembers(hits.flat(), ["diff", "apply"])
        for (const { root } of all) {
          yield* Effect.promise(() => Committer.finished(root, "c", 1))
          yield* Effect.andThen(Embedded.gc(), isClean(root, 1)).pipe(Effect.provide(Embedded.layer({ root })))
        }
      }).pipe(Effect.scoped),
    180_000
  )

  it.live(
    "is undone by recover, which leaves what the image and the container need",
    () =>
      Effect.gen(function* () {
        const root = yield* prepared("c")
        const [, duration = 0] = yield* Effect.promise(() => Committer.finished(root, "c", 2))
        let steps: ReadonlyArray<string> = []
        for (let i = 0; i < 20 && steps.length === 0; i++) steps = yield* killOne(root, 2, duration / 2)
        assert.isNotEmpty(steps)
        yield* Effect.gen(function* () {
          assert.deepStrictEqual(yield* Commit.recover(), [{ container: "c", resumed: false }])
          assert.deepStrictEqual(yield* Commit.recover(), [])
          yield* Embedded.gc()
          yield* isClean(root, 1)
        }).pipe(Effect.provide(Embedded.layer({ root })))
      }).pipe(Effect.scoped),
    60_000
  )
})

describe("several processes", () => {
  it.live(
    "commit a container each at once, while others collect",
    () =>
      Effect.gen(function* () {
        const [ids, count] = [["a", "b"], 15]
        const root = yield* prepared(...ids)
        const layer = Embedded.layer({ root })
        yield* Effect.raceFirst(
          Effect.promise(() => Promise.all(ids.map((id) => Committer.finished(root, id, count)))),
          Effect.forever(Effect.andThen(Embedded.gc(), Effect.sleep(1))).pipe(Effect.provide(layer))
        )
        yield* Effect.gen(function* () {
          assert.deepStrictEqual(yield* Effect.forEach(ids, generationOf), [count, count])
          yield* isClean(root, ids.length)
          // The last ones are the containers as they are.
          for (const id of ids) {
            const { rootfs } = yield* Embedded.createContainer(nameOf(id), { id: `${id} again` })
            assert.deepStrictEqual(Trees.read(rootfs), Trees.read(yield* Embedded.rootfs(id)))
          }
        }).pipe(Effect.provide(layer))
      }).pipe(Effect.scoped),
    120_000
  )
})
