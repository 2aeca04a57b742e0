/** What other people's tools make of an image that was committed here. */
import { join } from "node:path"
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { Commit, ContentStore, Embedded, Images } from "effect-containerd"
import * as RandomTrees from "../layer/RandomTrees.ts"
import * as Trees from "../layer/Trees.ts"
import * as Cache from "../support/Cache.ts"
import { describeDaemons } from "../support/Daemons.ts"
import * as Podman from "../support/Podman.ts"
import { run } from "../support/Process.ts"
import * as Umoci from "../support/Umoci.ts"
import * as Containers from "./Containers.ts"
import * as RichTree from "./RichTree.ts"

const image = "docker.io/library/app:2"

/** A container with everything in it, committed over an image with everything in it. */
const committed = Effect.fnUntraced(function* (base: string) {
  const root = join(base, "root")
  const tree = yield* Effect.gen(function* () {
    yield* Embedded.fromDirectory(RichTree.make(join(base, "tree")), { name: "base:1" })
    const { rootfs } = yield* Embedded.createContainer("base:1", { id: "c" })
    RichTree.change(rootfs)
    yield* Commit.commit({ container: "c", name: image })
    return Trees.read(rootfs)
  }).pipe(Effect.provide(Embedded.layer({ root })))
  return { root, tree }
})

const pulled = (root: string, tag: string) =>
  Effect.gen(function* () {
    const podman = yield* Podman.store
    return Trees.read(yield* podman.mounted(yield* podman.pull(root, tag)))
  }).pipe(Effect.scoped)

/**
 * What podman 4.3 drops, whoever made the layers (the last test shows it with layers that are none of ours):
 * the time of the root directory, times before 1970, and, where it copies lower layers (its driver `vfs`), hard links
 * of what is no file and extended attributes other than `user.*` and capabilities, so ACLs, too. umoci 0.4.7 drops
 * nothing.
 */
const asPodmanKeeps = (tree: Trees.Tree, isLower: (path: string) => boolean): Trees.Tree =>
  Object.fromEntries(
    Object.entries(tree).flatMap(([path, node]) => {
      if (path === "/") return []
      const isFile = node.type === "10"
      const kept = node.xattrs.split("; ").filter((record) => /xattr\.(user|security\.capability)/.test(record))
      return [
        [
          path,
          {
            ...node,
            mtime: node.mtime.startsWith("-") ? "0" : node.mtime,
            links: isLower(path) && !isFile ? path : node.links,
            xattrs: isLower(path) ? kept.join("; ") : node.xattrs
          }
        ]
      ]
    })
  )

const withoutRoot = ({ "/": _, ...tree }: Trees.Tree): Trees.Tree => tree
const isBase = (path: string) => path.startsWith("/base")

describeDaemons("an image that was committed", () => {
  it.live("is read by skopeo, by its tag and by its name", () =>
    Effect.gen(function* () {
      const { root } = yield* committed(yield* Trees.temporary)
      const manifest = yield* Effect.gen(function* () {
        const { target } = yield* (yield* Images.Images).get(image)
        return Buffer.from(yield* ContentStore.readBytes(target)).toString()
      }).pipe(Effect.provide(Embedded.layer({ root })))
      const inspect = (...args: ReadonlyArray<string>) => run(Cache.program("skopeo", "skopeo"), ["inspect", ...args])
      assert.strictEqual(yield* inspect("--raw", `oci:${root}:2`), manifest)
      // This reads the config, too.
      const inspected: unknown = JSON.parse(yield* inspect(`oci:${root}:2`))
      assert.nestedProperty(inspected, "Layers[1]")
    }).pipe(Effect.scoped)
  )

  it.live("is unpacked by umoci to the container's tree", () =>
    Effect.gen(function* () {
      const base = yield* Trees.temporary
      const { root, tree } = yield* committed(base)
      assert.deepStrictEqual(Trees.read(yield* Umoci.unpack(root, "2", join(base, "bundle"))), tree)
    }).pipe(Effect.scoped)
  )

  it.live.each([11, 12, 13])("is unpacked by umoci to the container's tree, after random changes (%i)", (seed) =>
    Effect.gen(function* () {
      const base = yield* Trees.temporary
      const root = join(base, "root")
      const is = RandomTrees.random(seed)
      const tree = Trees.place(join(base, "tree"), Trees.directory("./"), ...RandomTrees.entries(is, 40))
      const { notCarried, rootfs } = yield* Effect.gen(function* () {
        yield* Embedded.fromDirectory(tree, { name: "base:1" })
        const created = yield* Embedded.createContainer("base:1", { id: "c" })
        RandomTrees.mutate(is, created.rootfs, 15)
        return { ...created, ...(yield* Commit.commit({ container: "c", name: image })) }
      }).pipe(Effect.provide(Embedded.layer({ root })))
      assert.deepStrictEqual(notCarried, [])
      // Without times: that of a directory alone is in no layer.
      const compared = ["type", "mode", "owner", "size", "content", "device", "links", "xattrs"] as const
      const unpacked = Trees.read(yield* Umoci.unpack(root, "2", join(base, "bundle")))
      assert.deepStrictEqual(Trees.pick(unpacked, ...compared), Trees.pick(Trees.read(rootfs), ...compared))
    }).pipe(Effect.scoped)
  )

  it.live("is pulled by podman with what podman keeps", () =>
    Effect.gen(function* () {
      const { root, tree } = yield* committed(yield* Trees.temporary)
      assert.deepStrictEqual(withoutRoot(yield* pulled(root, "2")), asPodmanKeeps(tree, isBase))
    }).pipe(Effect.scoped)
  )

  it.live("loses in podman what a layer loses there that GNU tar unpacks whole", () =>
    Effect.gen(function* () {
      const base = yield* Trees.temporary
      const root = join(base, "root")
      const layers = [RichTree.entries("base"), RichTree.entries("new")]
      yield* Containers.imageOfTars(
        image,
        layers.map((entries) => Containers.tar(...entries))
      ).pipe(Effect.provide(Embedded.layer({ root })))
      const tree = Trees.read(Trees.place(join(base, "tree"), ...layers.flat()))
      const shown = withoutRoot(yield* pulled(root, "2"))
      assert.deepStrictEqual(shown, asPodmanKeeps(tree, isBase))
      assert.notDeepEqual(shown, withoutRoot(tree))
      const unpacked = Trees.read(yield* Umoci.unpack(root, "2", join(base, "bundle")))
      assert.deepStrictEqual(withoutRoot(unpacked), withoutRoot(tree))
    }).pipe(Effect.scoped)
  )
})
