/** What commits by the host made, read by eyes that are not ours: containerd's own Apply, and a tar reader of the tests. */
import { randomUUID } from "node:crypto"
import { gunzipSync, zstdDecompressSync } from "node:zlib"
import { assert } from "@effect/vitest"
import { Effect, Option, Stream, Tracer } from "effect"
import { Commit, ContentStore, Differ, Leases, type Mount, Snapshotter } from "effect-containerd"
import * as Tars from "../layer/Tars.ts"
import type * as Container from "../support/Container.ts"
import * as Debris from "../support/Debris.ts"
import { run } from "../support/Process.ts"
import * as Tree from "../support/Tree.ts"

export const exact = { mtime: "nanoseconds" } as const
const snapshotter = "overlayfs"

/** An overlay that is in use is not mounted a second time: as read-only layers it shows the same. */
const optionsOf = ({ options, source, type }: Mount.Mount): ReadonlyArray<string> => {
  if (type !== "overlay") return ["--options", "bind,ro", source]
  const value = (key: string) => options.find((option) => option.startsWith(`${key}=`))?.slice(key.length + 1)
  const layers = [value("upperdir"), value("lowerdir")].filter((layer) => layer !== undefined).join(":")
  return ["-t", "overlay", "overlay", "--options", `ro,index=off,lowerdir=${layers}`]
}

const treeOf = Effect.fnUntraced(function* (mounts: ReadonlyArray<Mount.Mount>) {
  const target = yield* Debris.directory
  for (const mount of mounts) {
    yield* Effect.acquireRelease(run("mount", [...optionsOf(mount), target]), () =>
      Effect.ignore(run("umount", [target]))
    )
  }
  return (yield* Tree.ofDirectory(target, exact)).filter(({ path }) => path !== "/owner")
}, Effect.scoped)

/** The tree of the image's snapshot, and the one that its top layer's blob makes of a new snapshot. */
const bothTrees = Effect.fnUntraced(function* ({ chainId, layer }: Commit.Committed) {
  const snapshots = (yield* Snapshotter.Snapshotters).get(snapshotter)
  const name = Option.getOrThrow(chainId)
  const view = yield* snapshots.view({ key: `tree-${randomUUID()}`, parent: name })
  const tree = yield* treeOf(view.mounts)
  if (Option.isNone(layer)) return [tree, tree] as const
  const { parent } = yield* snapshots.stat(name)
  const target = yield* snapshots.prepare({ key: `applied-${randomUUID()}`, parent })
  const differ = yield* Differ.Differ
  const { descriptor, diffId } = layer.value
  assert.strictEqual((yield* differ.apply(descriptor, target.mounts)).digest, diffId)
  return [tree, yield* treeOf(target.mounts)] as const
}, Effect.scoped)

const linesOf = (tree: ReadonlyArray<object>) => tree.map((entry) => JSON.stringify(entry))

/** Shows what differs, and no more. */
export const assertSame = (actual: ReadonlyArray<object>, expected: ReadonlyArray<object>): void => {
  const [a, b] = [linesOf(actual), linesOf(expected)]
  const [before, now] = [new Set(b), new Set(a)]
  assert.deepStrictEqual(
    a.filter((line) => !before.has(line)),
    b.filter((line) => !now.has(line))
  )
  assert.lengthOf(a, b.length)
}

/** containerd's Apply leaves the root directory as it is, whatever the layer says. */
export const belowRoot = (tree: ReadonlyArray<Tree.TreeEntry>) => tree.filter(({ path }) => path !== "/")

/** That the image's snapshot is what anybody makes of its blobs; gives the tree. */
export const consistent = Effect.fnUntraced(function* (committed: Commit.Committed) {
  const [tree, other] = yield* Leases.withLease({ id: `applied-${randomUUID()}` })(bothTrees(committed))
  assertSame(belowRoot(tree), belowRoot(other))
  return tree
})

const plain = (blob: Uint8Array): Uint8Array => {
  if (blob[0] === 0x1f && blob[1] === 0x8b) return gunzipSync(blob)
  return blob[0] === 0x28 && blob[1] === 0xb5 ? zstdDecompressSync(blob) : blob
}

/** The entries of the layer, in their order; names as latin1. */
export const entries = Effect.fnUntraced(function* ({ layer }: Commit.Committed) {
  if (Option.isNone(layer)) return []
  const store = yield* ContentStore.ContentStore
  return Tars.decode(plain(yield* Stream.mkUint8Array(store.read(layer.value.descriptor.digest))))
})

/** The names in the layer, directories without a slash, the root's own left out. */
export const names = (committed: Commit.Committed) =>
  Effect.map(entries(committed), (all) =>
    all.map(({ path }) => path.replace(/\/$/, "").replace(/^\.$/, "")).filter((path) => path !== "")
  )

/** Gives how often the container's files were copied, too: not when they are read into memory. */
export const counting = <A, E, R>(commit: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const names: Array<string> = []
    const tracer = Tracer.make({
      span(options) {
        names.push(options.name)
        return new Tracer.NativeSpan(options)
      }
    })
    const copies = () => names.filter((name) => name === "Host.copy").length
    return Effect.map(Effect.withTracer(commit, tracer), (committed) => [committed, copies()] as const)
  })

/** Commits by the host, exactly: the snapshot is what the blob says and what the container shows. */
export const exactly = Effect.fnUntraced(function* (
  container: Container.Container,
  options: Partial<Commit.CommitOptions> = {}
) {
  const committed = yield* Commit.commit({ container: container.id, ...options })
  assert.strictEqual(committed.differ, "host")
  assert.deepStrictEqual(committed.notCarried, [])
  const tree = yield* consistent(committed)
  assertSame(belowRoot(tree), belowRoot(yield* container.tree(exact)))
  return committed
})
