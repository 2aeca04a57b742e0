import { assert, layer } from "@effect/vitest"
import { Effect, Option } from "effect"
import { Commit } from "effect-containerd"
import * as Container from "../support/Container.ts"
import { versions } from "../support/Containerd.ts"
import { describeDaemons } from "../support/Daemons.ts"
import * as Host from "../support/Host.ts"
import * as Inventory from "../support/Inventory.ts"
import * as Tree from "../support/Tree.ts"

const change = `
echo root > /by-root && mkdir /home/user/dir && echo user > /home/user/dir/file
chown 1000:1000 /home/user/dir /home/user/dir/file && ln /home/user/dir/file /home/user/dir/linked
rm /data/delete.txt && chmod 600 /data/change.txt
`

for (const version of versions) {
  describeDaemons(`a container in a user namespace on containerd ${version}`, () => {
    layer(Host.layer(version), { excludeTestServices: true })((it) => {
      it.effect(
        "gets layers with its own ids, and only what it has changed; moby UsernsCommit, umoci pack_mapping.bats, buildah namespaces.bats",
        () =>
          Effect.gen(function* () {
            const { base, containerd } = yield* Host.Host
            const flags = ["--uidmap", "0:100000:65536", "--gidmap", "0:100000:65536"]
            const container = yield* Container.run(containerd, { image: base.ref, flags })
            yield* container.exec(change)
            const before = yield* Inventory.take(containerd)
            const committed = yield* Commit.commit({ container: container.id, name: "userns:1" })
            const key = Option.getOrThrow(committed.chainId)
            const tree = yield* Tree.ofSnapshot(containerd, { snapshotter: "overlayfs", key })
            const entry = (path: string) => tree.find((found) => found.path === path)
            assert.deepInclude(entry("/by-root"), { uid: 0, gid: 0 })
            assert.deepInclude(entry("/home/user/dir/file"), { uid: 1000, gid: 1000 })
            assert.strictEqual(entry("/home/user/dir/linked")?.sameAs, "/home/user/dir/file")
            assert.deepInclude(entry("/data/change.txt"), { uid: 0, gid: 0, mode: 0o600 })
            assert.isUndefined(entry("/data/delete.txt"))
            // Not the whole file system, although all of it has other owners on the disk.
            assert.isBelow(Option.getOrThrow(committed.layer).descriptor.size, 4096)
            const said = yield* Container.runOnce(
              containerd,
              { image: committed.image.name, snapshotter: "native" },
              "stat -c %u /by-root /home/user/dir/file"
            )
            assert.strictEqual(said, "0\n1000\n")
            yield* containerd.ctr(["images", "rm", "--sync", committed.image.name])
            assert.deepStrictEqual(yield* Inventory.take(containerd), before)
          })
      )
    })
  })
}
