/** What needs root or other people's tools. */
import { execFileSync } from "node:child_process"
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { ContentStore, Images, Leases, MediaType, Snapshotter } from "effect-containerd"
import * as Embedded from "../../src/embedded/Embedded.ts"
import { leased, randomBytes, reason, write } from "../suite/Cases.ts"
import * as Layout from "../suite/Layout.ts"
import * as Cache from "../support/Cache.ts"
import { describeDaemons } from "../support/Daemons.ts"
import { run } from "../support/Process.ts"
import * as Root from "./Root.ts"

/** A file system of 8 MiB. */
const smallDisk = Effect.gen(function* () {
  const directory = yield* Root.directory
  yield* Effect.acquireRelease(run("mount", ["-t", "tmpfs", "-o", "size=8m", "tmpfs", directory]), () =>
    Effect.ignore(run("umount", [directory]))
  )
  return join(directory, "root")
})

describeDaemons("a full disk", () => {
  it.live("is ResourceExhausted for a blob and for a snapshot, and leaves nothing", () =>
    Effect.gen(function* () {
      const root = yield* smallDisk
      yield* Effect.gen(function* () {
        const store = yield* ContentStore.ContentStore
        const snapshots = (yield* Snapshotter.Snapshotters).get("directory")
        const kept = yield* write(randomBytes(1000))
        const endless = Stream.forever(Stream.fromEffect(Effect.sync(() => randomBytes(300_000))))
        assert.strictEqual(yield* reason(store.write(endless, { mediaType: "" })), "ResourceExhausted")
        assert.deepStrictEqual(yield* store.ingests, [])

        const active = yield* snapshots.prepare({ key: "a", parent: "" })
        writeFileSync(join(active.mounts[0]?.source ?? "", "f"), randomBytes(4_500_000))
        yield* active.commit("base")
        assert.strictEqual(
          yield* reason(Effect.scoped(snapshots.prepare({ key: "b", parent: "base" }))),
          "ResourceExhausted"
        )
        assert.strictEqual(yield* reason(snapshots.stat("b")), "NotFound")
        assert.strictEqual(Layout.files(root).filter((path) => path.includes("/snapshots/")).length, 1)
        // There is room again.
        yield* write(randomBytes(1_000_000))
        yield* store.info(kept.digest)
      }).pipe(leased, Effect.provide(Embedded.layer({ root })))
      assert.deepStrictEqual(Layout.problems(root), [])
      assert.deepStrictEqual(Layout.files(root), [])
    }).pipe(Effect.scoped)
  )
})

describeDaemons("a disk that somebody else filled", () => {
  it.live("lets go of leases, blobs and snapshots all the same", () =>
    Effect.gen(function* () {
      const root = yield* smallDisk
      yield* Effect.gen(function* () {
        const snapshots = (yield* Snapshotter.Snapshotters).get("directory")
        const filler = join(root, "../filler")
        yield* Effect.gen(function* () {
          for (let i = 0; i < 2; i++) {
            yield* write(randomBytes(1000))
            yield* Effect.flatMap(snapshots.prepare({ key: `k${i}`, parent: "" }), (active) => active.commit(`c${i}`))
          }
          yield* Effect.ignore(run("dd", ["if=/dev/zero", `of=${filler}`, "bs=4k"]))
          assert.strictEqual(yield* reason(write(randomBytes(10_000))), "ResourceExhausted")
        }).pipe(Effect.scoped, leased)
        assert.deepStrictEqual(yield* (yield* Leases.Leases).list(), [])
      }).pipe(Effect.provide(Embedded.layer({ root })))
      assert.deepStrictEqual(Layout.files(root), [])
    }).pipe(Effect.scoped)
  )
})

const skopeo = (...args: ReadonlyArray<string>) => run(Cache.program("skopeo", "skopeo"), args)

/** A small image in a layout. */
const makeImage = (name: string) =>
  Effect.gen(function* () {
    const store = yield* ContentStore.ContentStore
    const tree = yield* Root.directory
    mkdirSync(join(tree, "etc"))
    writeFileSync(join(tree, "etc/name"), name)
    const tar = execFileSync("tar", ["-c", "-C", tree, "etc"])
    const layer = yield* store.writeBytes(tar, { mediaType: MediaType.ociLayer })
    const config = yield* store.writeBytes(
      Buffer.from(
        JSON.stringify({ architecture: "amd64", os: "linux", rootfs: { type: "layers", diff_ids: [layer.digest] } })
      ),
      { mediaType: MediaType.ociConfig }
    )
    const document = { schemaVersion: 2, mediaType: MediaType.ociManifest, config, layers: [layer] }
    const target = yield* store.writeBytes(Buffer.from(JSON.stringify(document)), { mediaType: MediaType.ociManifest })
    yield* Images.put({ name, target, labels: { "suite/l": "1" } })
    return target
  }).pipe(leased)

describeDaemons("skopeo", () => {
  it.live("reads the root in place, by tag and by full name, and copies images into it beside ours", () =>
    Effect.gen(function* () {
      const [root, other] = [yield* Root.directory, yield* Root.directory]
      const layer = Embedded.layer({ root })
      const [one, two] = yield* Effect.all([
        makeImage("docker.io/library/app:1"),
        makeImage("docker.io/other/app:1")
      ]).pipe(Effect.provide(layer))
      const digestOf = (ref: string) =>
        Effect.map(skopeo("inspect", "--format", "{{.Digest}}", `oci:${ref}`), (output) => output.trim())
      assert.strictEqual(yield* digestOf(`${root}:1`), one.digest)
      assert.strictEqual(yield* digestOf(`${root}:docker.io/other/app:1`), two.digest)

      yield* skopeo("copy", "--preserve-digests", `oci:${root}:1`, `oci:${other}:copied`)
      assert.deepStrictEqual(Layout.problems(other), [])
      yield* skopeo("copy", "--preserve-digests", `oci:${other}:copied`, `oci:${root}:foreign`)
      assert.deepStrictEqual(Layout.problems(root), [])
      yield* Effect.gen(function* () {
        const images = yield* Images.Images
        const before = yield* images.list()
        assert.deepStrictEqual(
          before.map(({ labels, name }) => [name, labels]),
          [
            ["docker.io/library/app:1", { "suite/l": "1" }],
            ["docker.io/other/app:1", { "suite/l": "1" }],
            ["foreign", {}]
          ]
        )
        yield* images.delete("docker.io/library/app:1")
        yield* images.delete("docker.io/other/app:1")
        yield* Embedded.gc()
        assert.deepStrictEqual(yield* (yield* Leases.Leases).list(), [])
      }).pipe(Effect.provide(layer))
      assert.deepStrictEqual(Layout.problems(root), [])
      assert.strictEqual(Layout.files(root).length, 3)
      assert.strictEqual(yield* digestOf(`${root}:foreign`), one.digest)
    }).pipe(Effect.scoped)
  )
})
