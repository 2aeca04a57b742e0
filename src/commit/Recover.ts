/**
 * Undoes commits whose process died. What such a commit left hangs on its lease, whose labels say the rest.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Leases from "../core/Leases.ts"
import { Tasks } from "../core/Tasks.ts"
import * as Freezer from "../host/Freezer.ts"
import * as ProcessOwner from "../internal/ProcessOwner.ts"

export const leaseId = (container: string) => `effect-containerd/commit/${container}`
const takeoverId = (container: string) => `effect-containerd/takeover/${container}`

/** The labels of a commit's lease. */
export const label = {
  container: "effect-containerd/container",
  /** Tells the leases of two commits of one process apart. */
  commit: "effect-containerd/commit",
  owner: "effect-containerd/owner",
  /** Set when the commit found the container running and was going to freeze it. */
  pauses: "effect-containerd/pauses"
} as const

export const findLease = Effect.fnUntraced(function* (id: string) {
  const leases = yield* Leases.Leases
  return (yield* leases.list([`id==${JSON.stringify(id)}`]))[0]
})

const isExpired = (lease: Leases.LeaseInfo, now: number) => Date.parse(lease.labels[Leases.expireLabel] ?? "") < now

const isStale = Effect.fnUntraced(function* (lease: Leases.LeaseInfo) {
  return isExpired(lease, yield* Clock.currentTimeMillis) || ProcessOwner.isDead(lease.labels[label.owner] ?? "")
})

/** What {@link recover} did for one commit that had died. */
export interface Recovered {
  readonly container: string
  /** The commit had frozen the container, and it runs again. */
  readonly resumed: boolean
}

/** Whoever a dead commit had frozen it by. Where it was this host, and nobody was left to thaw it, the daemon does not know. */
const letRunOn = Effect.fnUntraced(function* (container: string) {
  const tasks = yield* Tasks
  const { pid, status } = yield* tasks.get(container)
  if (status === "paused") return yield* Effect.as(tasks.resume(container), true)
  const cgroup = Option.filter(Freezer.find(pid, container), Freezer.isFrozen)
  if (Option.isSome(cgroup)) yield* Freezer.thaw(cgroup.value)
  return Option.isSome(cgroup)
})

/** Undoes what a dead commit left: unfreezes the container, lets go of everything that the lease holds. */
const undo = Effect.fnUntraced(function* (lease: Leases.LeaseInfo) {
  const leases = yield* Leases.Leases
  const container = lease.labels[label.container] ?? ""
  const resumed = lease.labels[label.pauses] === "true" && (yield* letRunOn(container))
  yield* leases.delete(lease.id, { sync: true })
  const recovered: Recovered = { container, resumed }
  return recovered
})

/**
 * Undoes a dead commit unless somebody else is at it. A second lease guards it: a lease cannot be deleted on the
 * condition that it still is the dead one, so two at once could delete the lease of the one that was faster.
 */
export const takeOver = Effect.fnUntraced(function* (container: string, force: boolean) {
  const leases = yield* Leases.Leases
  const guard = takeoverId(container)
  const old = yield* findLease(guard)
  if (old !== undefined && (yield* isStale(old))) yield* leases.delete(guard)
  yield* Leases.scoped({ id: guard, labels: { [label.owner]: ProcessOwner.current() }, expiresIn: "1 minute" })
  const lease = yield* findLease(leaseId(container))
  return lease !== undefined && (force || (yield* isStale(lease))) ? [yield* undo(lease)] : []
}, Effect.scoped)

/**
 * Undoes the commits whose process died (killed, or its machine rebooted): containers that they had frozen run again,
 * and everything that they had written is collected. Commits that are under way are left alone, unless `force` says
 * that nobody else is committing `container` (all containers without one).
 *
 * Committing a container does this by itself for that container.
 */
export const recover = Effect.fn("Commit.recover")(function* (options?: {
  readonly container?: string | undefined
  readonly force?: boolean | undefined
}) {
  const leases = yield* Leases.Leases
  const filter = options?.container === undefined ? "" : `==${JSON.stringify(options.container)}`
  const found = yield* leases.list([`labels.${JSON.stringify(label.container)}${filter}`])
  const undone = yield* Effect.forEach(found, (lease) =>
    takeOver(lease.labels[label.container] ?? "", options?.force === true).pipe(
      // Somebody else is taking it over.
      Effect.catchReason("ContainerdError", "AlreadyExists", () => Effect.succeed([]))
    )
  )
  return undone.flat()
})
