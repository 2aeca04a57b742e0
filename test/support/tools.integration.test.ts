/** Other people's tools read our layouts. */
import { execFileSync } from "node:child_process"
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { ContentStore, Images, MediaType } from "effect-containerd"
import * as Embedded from "../../src/embedded/Embedded.ts"
import { leased } from "../suite/Cases.ts"
import { describeDaemons } from "./Daemons.ts"
import * as Debris from "./Debris.ts"
import * as Podman from "./Podman.ts"
import * as Umoci from "./Umoci.ts"

/** A layer with one file of somebody else's. */
const makeLayer = (directory: string): Buffer => {
  const etc = join(directory, "tree/etc")
  mkdirSync(etc, { recursive: true })
  writeFileSync(join(etc, "name"), "hello\n")
  return execFileSync("tar", ["-c", "--owner=1000", "--group=1001", "-C", join(etc, ".."), "etc"])
}

/** A layout that holds one small image, by its short tag and by its whole name. */
const makeLayout = (directory: string) =>
  Effect.gen(function* () {
    const root = join(directory, "Layout")
    yield* Effect.gen(function* () {
      const store = yield* ContentStore.ContentStore
      const layer = yield* store.writeBytes(makeLayer(directory), { mediaType: MediaType.ociLayer })
      const rootfs = { type: "layers", diff_ids: [layer.digest] }
      const write = (document: object, mediaType: string) =>
        store.writeBytes(Buffer.from(JSON.stringify(document)), { mediaType })
      const config = yield* write({ architecture: "amd64", os: "linux", rootfs }, MediaType.ociConfig)
      const manifest = { schemaVersion: 2, mediaType: MediaType.ociManifest, config, layers: [layer] }
      const target = yield* write(manifest, MediaType.ociManifest)
      for (const name of names) yield* Images.put({ name, target, labels: {} })
    }).pipe(leased, Effect.provide(Embedded.layer({ root })))
    return root
  })

const names = ["docker.io/library/app:1", "docker.io/other/app:1"]
const tags = ["1", "docker.io/other/app:1"]

const assertShown = (root: string, owner: readonly [number, number]) => {
  const path = join(root, "etc/name")
  assert.strictEqual(readFileSync(path, "utf8"), "hello\n")
  const { gid, uid } = statSync(path)
  assert.deepStrictEqual([uid, gid], owner)
}

describeDaemons("umoci", () => {
  it.effect("unpacks an image of a layout", () =>
    Effect.gen(function* () {
      const directory = yield* Debris.directory
      const layout = yield* makeLayout(directory)
      for (const [index, tag] of tags.entries()) {
        assertShown(yield* Umoci.unpack(layout, tag, join(directory, `bundle${index}`)), [1000, 1001])
      }
      assertShown(yield* Umoci.unpack(layout, "1", join(directory, "rootless"), { rootless: true }), [0, 0])
      const error = yield* Effect.flip(Umoci.unpack(layout, "2", join(directory, "missing")))
      assert.match(error.message, /^umoci unpack .*tag/s)
    })
  )
})

describeDaemons("podman", () => {
  it.effect("pulls an image of a layout into a store that goes with the scope", () =>
    Effect.gen(function* () {
      const layout = yield* makeLayout(yield* Debris.directory)
      const mount = yield* Effect.scoped(
        Effect.gen(function* () {
          const podman = yield* Podman.store
          const ids = yield* Effect.forEach(tags, (tag) => podman.pull(layout, tag))
          assert.match(ids[0] ?? "", /^[0-9a-f]{64}$/)
          assert.strictEqual(ids[0], ids[1])
          const root = yield* podman.mounted(ids[0] ?? "")
          assertShown(root, [1000, 1001])
          const error = yield* Effect.flip(podman.pull(layout, "2"))
          assert.match(error.message, /no descriptor found for reference "2"/)
          return root
        })
      )
      assert.isFalse(existsSync(mount))
    })
  )
})
