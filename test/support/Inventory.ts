import { Effect } from "effect"
import type { RunningContainerd } from "./Containerd.ts"
import { snapshotters } from "./Host.ts"

/** Everything that a daemon keeps in a namespace, as `ctr` lists it: an eye that is not ours. */
export interface Inventory {
  readonly leases: ReadonlyArray<string>
  readonly images: ReadonlyArray<string>
  readonly content: ReadonlyArray<string>
  readonly ingests: ReadonlyArray<string>
  readonly snapshots: ReadonlyArray<string>
}

const rows = (table: string): ReadonlyArray<string> =>
  table
    .trim()
    .split("\n")
    .slice(1)
    .map((line) => line.trim())

const firstColumn = (table: string) => rows(table).map((line) => line.split(/\s+/)[0] ?? "")

/** A collection of everything that nothing refers to: the removal of a lease waits for it when it is synchronous. */
export const collectGarbage = Effect.fnUntraced(function* ({ ctr }: RunningContainerd, namespace = "default") {
  yield* ctr(["leases", "create", "--id", "collect", "--expires", "1m"], { namespace })
  yield* ctr(["leases", "rm", "--sync", "collect"], { namespace })
})

/** What is there after a collection. */
export const take = Effect.fnUntraced(function* (containerd: RunningContainerd, namespace = "default") {
  const { ctr } = containerd
  yield* collectGarbage(containerd, namespace)
  const list = (...args: ReadonlyArray<string>) => Effect.map(ctr(args, { namespace }), firstColumn)
  const snapshots = yield* Effect.forEach(snapshotters, (name) =>
    Effect.map(ctr(["snapshots", "--snapshotter", name, "ls"], { namespace }), (table) =>
      // A key may hold spaces; kind and parent follow it.
      rows(table).map((line) => `${name} ${line.replace(/\s+/g, " ")}`)
    )
  )
  const inventory: Inventory = {
    leases: yield* list("leases", "ls"),
    images: yield* Effect.map(ctr(["images", "ls"], { namespace }), (table) =>
      rows(table).map((line) => line.split(/\s+/).slice(0, 3).join(" "))
    ),
    content: yield* list("content", "ls"),
    ingests: yield* list("content", "active"),
    snapshots: snapshots.flat()
  }
  return inventory
})
