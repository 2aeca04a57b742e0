import { randomUUID } from "node:crypto"
import { Effect } from "effect"
import * as Connection from "effect-containerd/containerd/Connection"
import { services } from "effect-containerd/containerd/Wire"
import type { RunningContainerd } from "./Containerd.ts"

/**
 * A container made from no image, on an empty snapshot, and the directory of its files: `ctr` cannot make one. It has no
 * task. Removed with the scope.
 */
export const create = Effect.fnUntraced(function* (containerd: RunningContainerd, snapshotter: string) {
  const id = `scratch-${randomUUID()}`
  const snapshots = (...args: ReadonlyArray<string>) =>
    containerd.ctr(["snapshots", "--snapshotter", snapshotter, ...args])
  yield* snapshots("prepare", id)
  yield* Effect.acquireRelease(register(id, snapshotter), () =>
    Effect.ignoreCause(containerd.ctr(["c", "rm", id]))
  ).pipe(Effect.provide(Connection.layer({ address: containerd.address, namespace: "default", timeout: "10 seconds" })))
  // `mount -t bind SOURCE TARGET -o rw,rbind`
  const [, , , source = ""] = (yield* snapshots("mounts", "/target", id)).split(" ")
  return { id, root: source }
})

const register = Effect.fnUntraced(function* (id: string, snapshotter: string) {
  const { unary } = yield* Connection.Connection
  yield* unary(services().containers.Create, {
    container: {
      id,
      snapshotter,
      snapshotKey: id,
      runtime: { name: "io.containerd.runc.v2", options: { type_url: "", value: Buffer.alloc(0) } },
      spec: {
        type_url: "types.containerd.io/opencontainers/runtime-spec/1/Spec",
        value: Buffer.from(JSON.stringify({ ociVersion: "1.0.2", process: { args: ["sh"] } }))
      }
    }
  })
})
