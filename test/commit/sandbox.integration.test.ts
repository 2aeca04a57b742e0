import { globSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { Commit } from "effect-containerd"
import * as Commits from "../host/Commits.ts"
import * as Cache from "../support/Cache.ts"
import * as Container from "../support/Container.ts"
import { versions } from "../support/Containerd.ts"
import { describeDaemons } from "../support/Daemons.ts"
import * as Debris from "../support/Debris.ts"
import * as Host from "../support/Host.ts"
import * as Inventory from "../support/Inventory.ts"

/** gVisor in the place of runc, as `ctr run --runc-binary` has it. */
const runsc = Effect.map(Debris.directory, (directory) => {
  const path = join(directory, "runsc")
  const command = `exec ${Cache.program("runsc", "runsc")} --ignore-cgroups --network=none "$@"`
  writeFileSync(path, `#!/bin/sh\n${command}\n`, { mode: 0o755 })
  return path
})

for (const version of versions) {
  describeDaemons(`a container that runs in gVisor, on containerd ${version}`, () => {
    layer(Host.layer(version), { excludeTestServices: true })((it) => {
      it.effect(
        "is refused, for its files are not in the snapshot, and committed without them when that is allowed",
        () =>
          Effect.gen(function* () {
            const { base, containerd } = yield* Host.Host
            const flags = ["--runtime", "io.containerd.runc.v2", "--runc-binary", yield* runsc]
            const args = ["sh", "-c", "echo one > /one; exec sleep 2147483647"]
            const container = yield* Container.run(containerd, { image: base.ref, flags, args })
            const snapshots = join(containerd.root, "io.containerd.snapshotter.v1.overlayfs", "snapshots")
            assert.lengthOf(globSync(`${snapshots}/*/fs/.gvisor.filestore.${container.id}`), 1)
            const before = yield* Inventory.take(containerd)
            const error = yield* Effect.flip(Commit.commit({ container: container.id, name: "sandboxed:1" }))
            assert.strictEqual(error.reason._tag, "Uncommittable")
            assert.match(error.message, /the container runs in gVisor, .*: allow sandboxed containers/)
            assert.deepStrictEqual(yield* Inventory.take(containerd), before)
            const forced = yield* Commit.commit({ container: container.id, allowSandboxed: true })
            assert.deepStrictEqual(yield* Commits.names(forced), [])
          })
      )
    })
  })
}
