import { copyFileSync } from "node:fs"
import { join } from "node:path"
import { gunzipSync } from "node:zlib"
import { assert, layer } from "@effect/vitest"
import { Effect, Layer, Option, Stream } from "effect"
import { Commit, ContentStore } from "effect-containerd"
import * as Tars from "../layer/Tars.ts"
import * as Cache from "../support/Cache.ts"
import * as Container from "../support/Container.ts"
import { versions } from "../support/Containerd.ts"
import { describeDaemons } from "../support/Daemons.ts"
import * as Debris from "../support/Debris.ts"
import * as Host from "../support/Host.ts"
import * as Inventory from "../support/Inventory.ts"
import { run } from "../support/Process.ts"
import * as Tree from "../support/Tree.ts"
import * as Umoci from "../support/Umoci.ts"

const change = `
echo root > /by-root && su user -c 'echo user > /home/user/by-user'
mkdir /home/user/dir && echo user > /home/user/dir/file
chown 1000:1000 /home/user/dir /home/user/dir/file && ln /home/user/dir/file /home/user/dir/linked
rm /data/delete.txt && chmod 600 /data/change.txt
`

const capability = `0x010000020020${"00".repeat(14)}`

/** As the container's root does it: the kernel notes whose root that is. That root may not reach the cache. */
const setCapability = Effect.fnUntraced(function* (container: Container.Container, path: string) {
  const setfattr = join(yield* Debris.directory, "setfattr")
  copyFileSync(Cache.program("attr", "setfattr"), setfattr)
  const file = `${yield* container.root}${path}`
  const flags = ["--target", `${yield* container.pid}`, "--user"]
  yield* run("nsenter", [...flags, setfattr, "-n", "security.capability", "-v", capability, file])
}, Effect.scoped)

const assertUnmapped = (tree: ReadonlyArray<Tree.TreeEntry>) => {
  const entry = (path: string) => tree.find((found) => found.path === path)
  assert.deepInclude(entry("/by-root"), { uid: 0, gid: 0 })
  assert.deepStrictEqual(entry("/by-root")?.xattrs, { "security.capability": capability })
  assert.deepInclude(entry("/home/user/by-user"), { uid: 1000, gid: 1000 })
  assert.deepInclude(entry("/home/user/dir/file"), { uid: 1000, gid: 1000 })
  assert.strictEqual(entry("/home/user/dir/linked")?.sameAs, "/home/user/dir/file")
  assert.deepInclude(entry("/data/change.txt"), { uid: 0, gid: 0, mode: 0o600 })
  assert.isUndefined(entry("/data/delete.txt"))
}

/** The owner of every path in the layer. */
const ownersOf = Effect.fnUntraced(function* ({ layer }: Commit.Committed) {
  const store = yield* ContentStore.ContentStore
  const blob = yield* Stream.mkUint8Array(store.read(Option.getOrThrow(layer).descriptor.digest))
  return new Map(Tars.decode(gunzipSync(blob)).map(({ gid, path, uid }) => [path, `${uid}:${gid}`]))
})

const mapped = ["--uidmap", "0:100000:65536", "--gidmap", "0:100000:65536"]

const hasOwnIds = Effect.fnUntraced(function* (container: Container.Container) {
  const { containerd } = yield* Host.Host
  yield* container.exec(change)
  yield* setCapability(container, "/by-root")
  const onDisk = (yield* container.tree()).find(({ path }) => path === "/by-root")
  assert.deepInclude(onDisk, { uid: 100000, gid: 100000 })
  assert.match(onDisk?.xattrs?.["security.capability"] ?? "", /^0x01000003/)
  const before = yield* Inventory.take(containerd)
  const committed = yield* Commit.commit({ container: container.id, name: "userns:1" })
  const owners = yield* ownersOf(committed)
  assert.deepStrictEqual(
    ["by-root", "home/user/by-user", "home/user/dir/"].map((path) => owners.get(path)),
    ["0:0", "1000:1000", "1000:1000"]
  )
  // Not the whole file system, although all of it may have other owners on the disk.
  assert.isBelow(Option.getOrThrow(committed.layer).descriptor.size, 4096)
  const key = Option.getOrThrow(committed.chainId)
  assertUnmapped(yield* Tree.ofSnapshot(containerd, { snapshotter: "overlayfs", key }))
  assertUnmapped(yield* Effect.scoped(Umoci.ofImage(containerd, committed.image.name)))
  const script = "stat -c %u /by-root /home/user/by-user"
  for (const options of [{ snapshotter: "native" }, { flags: mapped }]) {
    const said = yield* Container.runOnce(containerd, { image: committed.image.name, ...options }, script)
    assert.strictEqual(said, "0\n1000\n")
  }
  yield* containerd.ctr(["images", "rm", "--sync", committed.image.name])
  assert.deepStrictEqual(yield* Inventory.take(containerd), before)
})

/** Over mounts with mapped ids, the differ of 2.x cannot read capabilities of the namespace (EOVERFLOW). */
const isRefused = Effect.fnUntraced(function* (container: Container.Container) {
  const { containerd } = yield* Host.Host
  yield* container.exec(change)
  yield* setCapability(container, "/by-root")
  const before = yield* Inventory.take(containerd)
  const error = yield* Effect.flip(Commit.commit({ container: container.id }))
  assert.include(error.message, "value too large for defined data type")
  assert.deepStrictEqual(yield* Inventory.take(containerd), before)
})

const ways = versions.flatMap((version) => (["auto", "containerd"] as const).map((differ) => ({ differ, version })))

for (const { differ, version } of ways) {
  describeDaemons(`a container in a user namespace on containerd ${version}, differ ${differ}`, () => {
    const services = Layer.merge(Host.layer(version), Layer.succeed(Commit.DefaultDiffer, differ))
    layer(services, { excludeTestServices: true })((it) => {
      it.effect(
        "gets layers with its own ids, and only what it has changed; moby UsernsCommit, umoci pack_mapping.bats, buildah namespaces.bats",
        () =>
          Effect.gen(function* () {
            const { base, containerd } = yield* Host.Host
            yield* hasOwnIds(yield* Container.run(containerd, { image: base.ref, flags: mapped }))
          })
      )

      // The overlayfs of 1.6 takes the labels and maps nothing, so that such a container cannot write.
      if (version === "1.6") return
      it.effect("gets them where the snapshot's labels say what is mapped, too; ctr run --remap-labels", () =>
        Effect.gen(function* () {
          const { base, containerd } = yield* Host.Host
          const flags = ["--remap-labels", ...mapped]
          const container = yield* Container.run(containerd, { image: base.ref, flags })
          const info: unknown = JSON.parse(yield* containerd.ctr(["snapshots", "info", container.id]))
          const labels = { uidmapping: "0:100000:65536", gidmapping: "0:100000:65536" }
          for (const [key, value] of Object.entries(labels)) {
            assert.nestedPropertyVal(info, `Labels.containerd\\.io/snapshot/${key}`, value)
          }
          // 2.x has the kernel map the ids of the image's own layers, the others copy them.
          const mounts = yield* containerd.ctr(["snapshots", "mounts", "/mnt", container.id])
          assert.strictEqual(mounts.includes("uidmap=0:100000:65536"), version === "2.x")
          if (version === "2.x" && differ === "containerd") yield* isRefused(container)
          else yield* hasOwnIds(container)
        })
      )
    })
  })
}
