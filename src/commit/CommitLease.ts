/**
 * Step `lease`: holds what the commit makes, and is the lock that lets one commit of a container run at a time, across
 * processes. Its labels say enough to undo a commit whose process died.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { quietly } from "../core/Finalizer.ts"
import * as Leases from "../core/Leases.ts"
import { Tasks } from "../core/Tasks.ts"
import { ContainerBusy } from "./CommitError.ts"
import type { Request } from "./Options.ts"
import * as Owner from "./Owner.ts"
import * as Pause from "./Pause.ts"
import { resolve, type Source } from "./Resolve.ts"
import { step } from "./Run.ts"
import { uniqueName } from "./UniqueName.ts"

const leaseId = (container: string) => `effect-containerd/commit/${container}`
const takeoverId = (container: string) => `effect-containerd/takeover/${container}`
const containerLabel = "effect-containerd/container"
/** Tells the leases of two commits of one process apart. */
const commitLabel = "effect-containerd/commit"
const ownerLabel = "effect-containerd/owner"
/** Set when the commit found the container running and was going to freeze it. */
const pausesLabel = "effect-containerd/pauses"

const findLease = Effect.fnUntraced(function* (id: string) {
  const leases = yield* Leases.Leases
  return (yield* leases.list([`id==${JSON.stringify(id)}`]))[0]
})

const isExpired = (lease: Leases.LeaseInfo, now: number) => Date.parse(lease.labels[Leases.expireLabel] ?? "") < now

const isStale = Effect.fnUntraced(function* (lease: Leases.LeaseInfo) {
  return isExpired(lease, yield* Clock.currentTimeMillis) || (yield* Owner.isDead(lease.labels[ownerLabel] ?? ""))
})

/** What {@link recover} did for one commit that had died. */
export interface Recovered {
  readonly container: string
  /** The commit had frozen the container, and it runs again. */
  readonly resumed: boolean
}

/** Undoes what a dead commit left: unfreezes the container, lets go of everything that the lease holds. */
const undo = Effect.fnUntraced(function* (lease: Leases.LeaseInfo) {
  const leases = yield* Leases.Leases
  const tasks = yield* Tasks
  const container = lease.labels[containerLabel] ?? ""
  const frozen = lease.labels[pausesLabel] === "true" && (yield* tasks.status(container)) === "paused"
  if (frozen) yield* tasks.resume(container)
  yield* leases.delete(lease.id, { sync: true })
  const recovered: Recovered = { container, resumed: frozen }
  return recovered
})

/**
 * Undoes a dead commit unless somebody else is at it. A second lease guards it: a lease cannot be deleted on the
 * condition that it still is the dead one, so two at once could delete the lease of the one that was faster.
 */
const takeOver = Effect.fnUntraced(function* (container: string, force: boolean) {
  const leases = yield* Leases.Leases
  const guard = takeoverId(container)
  const old = yield* findLease(guard)
  if (old !== undefined && isExpired(old, yield* Clock.currentTimeMillis)) yield* leases.delete(guard)
  yield* Leases.scoped({ id: guard, expiresIn: "1 minute" })
  const lease = yield* findLease(leaseId(container))
  return lease !== undefined && (force || (yield* isStale(lease))) ? [yield* undo(lease)] : []
}, Effect.scoped)

const busy = (container: string) =>
  new ContainerBusy({
    message: `another commit of ${container} is under way: wait for it; if its process is gone, Commit.recover({ force: true }) undoes it`
  })

/** After a lost answer the lease may be there: it is removed if it is the one of this very commit. */
const removeOwn = Effect.fnUntraced(function* (id: string, commitId: string) {
  const leases = yield* Leases.Leases
  const lease = yield* findLease(id)
  if (lease?.labels[commitLabel] === commitId) yield* leases.delete(id)
})

/** Creates the lease for the container as it is now. */
const create = Effect.fnUntraced(function* (source: Source, request: Request) {
  const id = leaseId(source.id)
  const commitId = uniqueName("commit")
  const labels = {
    [containerLabel]: source.id,
    [commitLabel]: commitId,
    [ownerLabel]: yield* Owner.current,
    [pausesLabel]: String(Pause.wanted(source, request))
  }
  const lease = yield* Leases.scoped({ id, labels }).pipe(
    Effect.tapError((error) => (error.isRetryable ? quietly(`lease ${id}`)(removeOwn(id, commitId)) : Effect.void))
  )
  return { lease, source }
})

/** A dead commit that held the lease is undone first; its container may run again then, so it is looked at again. */
const acquire = Effect.fnUntraced(function* (source: Source, request: Request) {
  return yield* create(source, request).pipe(
    Effect.catchReason("ContainerdError", "AlreadyExists", () =>
      takeOver(source.id, false).pipe(
        Effect.andThen(resolve(request)),
        Effect.flatMap((fresh) => create(fresh, request))
      )
    ),
    Effect.catchReason("ContainerdError", "AlreadyExists", () => busy(source.id))
  )
}, step("lease"))

/** Runs the rest of the commit under its lease, which is deleted at the end whatever happens. */
export const withCommitLease = <A, E, R>(
  source: Source,
  request: Request,
  rest: (source: Source) => Effect.Effect<A, E, R>
) =>
  acquire(source, request).pipe(
    Effect.flatMap((held) => Effect.provideService(rest(held.source), Leases.Lease, held.lease)),
    Effect.scoped
  )

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
  const found = yield* leases.list([`labels.${JSON.stringify(containerLabel)}${filter}`])
  const undone = yield* Effect.forEach(found, (lease) =>
    takeOver(lease.labels[containerLabel] ?? "", options?.force === true).pipe(
      // Somebody else is taking it over.
      Effect.catchReason("ContainerdError", "AlreadyExists", () => Effect.succeed([]))
    )
  )
  return undone.flat()
})
