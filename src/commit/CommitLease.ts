/**
 * Step `lease`: holds what the commit makes, and is the lock that lets one commit of a container run at a time, across
 * processes. Its labels say enough to undo a commit whose process died (`Recover.ts`).
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { quietly } from "../core/Finalizer.ts"
import * as Leases from "../core/Leases.ts"
import { uniqueName } from "../core/UniqueName.ts"
import * as ProcessOwner from "../internal/ProcessOwner.ts"
import { ContainerBusy } from "./CommitError.ts"
import type { Request } from "./Options.ts"
import * as Pause from "./Pause.ts"
import { findLease, label, leaseId, takeOver } from "./Recover.ts"
import { resolve, type Source } from "./Resolve.ts"
import { step } from "./Run.ts"

const busy = (container: string) =>
  new ContainerBusy({
    message: `another commit of ${container} is under way: wait for it; if its process is gone, Commit.recover({ force: true }) undoes it`
  })

/** After a lost answer the lease may be there: it is removed if it is the one of this very commit. */
const removeOwn = Effect.fnUntraced(function* (id: string, commitId: string) {
  const leases = yield* Leases.Leases
  const lease = yield* findLease(id)
  if (lease?.labels[label.commit] === commitId) yield* leases.delete(id)
})

/** Creates the lease for the container as it is now. */
const create = Effect.fnUntraced(function* (source: Source, request: Request) {
  const id = leaseId(source.id)
  const commitId = uniqueName("commit")
  const labels = {
    [label.container]: source.id,
    [label.commit]: commitId,
    [label.owner]: ProcessOwner.current(),
    [label.pauses]: String(Pause.wanted(source, request))
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
