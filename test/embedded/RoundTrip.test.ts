/** Container, image, unpacked image: nothing is lost on the way. */
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Option } from "effect"
import { Commit, Embedded } from "effect-containerd"
import * as RandomTrees from "../layer/RandomTrees.ts"
import * as Trees from "../layer/Trees.ts"
import * as Layout from "../suite/Layout.ts"
import * as Containers from "./Containers.ts"
import * as RichTree from "./RichTree.ts"

const image = "docker.io/library/app:2"

/** Commits the container, takes the image to a root of its own as a file, and gives all three trees. */
const trip = Effect.fnUntraced(function* (base: string, id: string) {
  const rootfs = yield* Embedded.rootfs(id)
  const { chainId, notCarried } = yield* Commit.commit({ container: id, name: image })
  const container = Trees.read(rootfs)
  const snapshot = yield* Containers.snapshotTree(Option.getOrThrow(chainId))
  const archive = join(base, "image.tar")
  yield* Embedded.exportArchive([image], archive)
  const root = join(base, "other")
  const unpacked = yield* Effect.gen(function* () {
    yield* Embedded.importArchive(archive)
    const created = yield* Embedded.createContainer(image)
    assert.deepStrictEqual(created.notApplied, [])
    return Trees.read(created.rootfs)
  }).pipe(Effect.provide(Embedded.layer({ root })))
  assert.deepStrictEqual(Layout.problems(root), [])
  return { container, snapshot, unpacked, notCarried }
})

describe.runIf(Trees.hasGnuTar)("an image of a container", { timeout: 30_000 }, () => {
  it.live("holds everything that this user may make, to the last nanosecond, byte of a name and attribute", () =>
    Effect.gen(function* () {
      const base = yield* Trees.temporary
      const tree = RichTree.make(join(base, "tree"))
      yield* Effect.gen(function* () {
        const { notCarried } = yield* Embedded.fromDirectory(tree, { name: "base:1" })
        assert.deepStrictEqual(notCarried, [])
        const { notApplied, rootfs } = yield* Embedded.createContainer("base:1", { id: "c" })
        assert.deepStrictEqual(notApplied, [])
        assert.deepStrictEqual(Trees.read(rootfs), Trees.read(tree))
        RichTree.change(rootfs)
        const trees = yield* trip(base, "c")
        assert.deepStrictEqual(trees.notCarried, [])
        assert.isAbove(Object.keys(trees.container).length, 60)
        assert.deepStrictEqual(trees.snapshot, trees.container)
        assert.deepStrictEqual(trees.unpacked, trees.container)
      }).pipe(Effect.provide(Embedded.layer({ root: join(base, "root") })))
    }).pipe(Effect.scoped)
  )

  /** A layer has no word for a directory whose time alone changed; the test above compares the times of the others. */
  const withoutDirectoryTimes = (tree: Trees.Tree, without: ReadonlyArray<keyof Trees.Node>) =>
    Object.fromEntries(
      Object.entries(tree).map(([path, node]) => {
        const skipped = [...without, ...(node.type === "4" ? ["mtime"] : [])]
        return [path, Object.fromEntries(Object.entries(node).filter(([key]) => !skipped.some((one) => one === key)))]
      })
    )

  it.live.each([1, 2, 3, 4, 5, 6])("holds a random tree after random changes (%i)", (seed) =>
    Effect.gen(function* () {
      const base = yield* Trees.temporary
      const is = RandomTrees.random(seed)
      const tree = Trees.place(join(base, "tree"), Trees.directory("./"), ...RandomTrees.entries(is, 40))
      yield* Effect.gen(function* () {
        yield* Embedded.fromDirectory(tree, { name: "base:1" })
        const { rootfs } = yield* Embedded.createContainer("base:1", { id: "c" })
        RandomTrees.mutate(is, rootfs, 15)
        const { container, notCarried, snapshot, unpacked } = yield* trip(base, "c")
        // That an attribute of a directory is gone is the other thing that no layer can say.
        assert.isTrue(notCarried.every((line) => line.includes("the removal of the extended attribute")))
        const without = notCarried.length === 0 ? [] : (["xattrs"] as const)
        for (const copy of [snapshot, unpacked]) {
          assert.deepStrictEqual(withoutDirectoryTimes(copy, without), withoutDirectoryTimes(container, without))
        }
      }).pipe(Effect.provide(Embedded.layer({ root: join(base, "root") })))
    }).pipe(Effect.scoped)
  )
})
