/**
 * Leases keep objects that nothing refers to yet from being garbage collected.
 *
 * A collection may run at any moment and removes what neither an image, a container, a label nor a lease holds. So
 * every operation that creates content or snapshots has {@link Lease} in its requirements, and a `Lease` can only be
 * had from {@link scoped} or {@link withLease}.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import type * as Descriptor from "../oci/Descriptor.ts"
import type { ContainerdError } from "./ContainerdError.ts"
import { quietly } from "./Finalizer.ts"

const held: unique symbol = Symbol.for("effect-containerd/Leases/held")

/** A lease that is held now. Not constructible outside of this module: ask {@link scoped} or {@link withLease}. */
export interface HeldLease {
  readonly [held]: true
  readonly id: string
  readonly labels: Readonly<Record<string, string>>
}

/** The lease that new objects are put under. */
export class Lease extends Context.Service<Lease, HeldLease>()("effect-containerd/Lease") {}

export interface LeaseInfo {
  readonly id: string
  readonly labels: Readonly<Record<string, string>>
}

/** What a lease can hold: a blob, an ingest, or a snapshot (`snapshots/<snapshotter>`, by key or committed name). */
export interface Resource {
  readonly type: "content" | "ingests" | `snapshots/${string}`
  readonly id: string
}

export const snapshotResource = (snapshotter: string, key: string): Resource => ({
  type: `snapshots/${snapshotter}`,
  id: key
})

/** RFC 3339: from then on the lease is no root any more. A value that does not parse never expires. */
export const expireLabel = "containerd.io/gc.expire"

export class Leases extends Context.Service<
  Leases,
  {
    /** Fails with `AlreadyExists` when a lease of that id is there: an id is a lock across processes. */
    readonly create: (lease: LeaseInfo) => Effect.Effect<void, ContainerdError>
    /** Lets go of everything the lease holds. A lease that is gone already is success. */
    readonly delete: (id: string, options?: { readonly sync?: boolean }) => Effect.Effect<void, ContainerdError>
    /** The leases that match any of containerd's filters (`id==x`, `labels."k"==v`), all without one. */
    readonly list: (filters?: ReadonlyArray<string>) => Effect.Effect<ReadonlyArray<LeaseInfo>, ContainerdError>
    readonly resources: (id: string) => Effect.Effect<ReadonlyArray<Resource>, ContainerdError>
    /**
     * Puts an existing object under the current lease; idempotent. The existence is *not* checked: refer first, then
     * look whether it is there, and from then on it stays.
     */
    readonly addResource: (resource: Resource) => Effect.Effect<void, ContainerdError, Lease>
  }
>()("effect-containerd/Leases") {}

export interface LeaseOptions {
  readonly id: string
  readonly labels?: Readonly<Record<string, string>> | undefined
  /** How long the lease outlives a client that dies; it cannot be extended. 24 hours by default; it may be infinite. */
  readonly expiresIn?: Duration.Input | undefined
}

/** Creates a lease that is deleted with the scope; after a crash of the client it ends at its expiry. */
export const scoped = Effect.fnUntraced(function* (
  options: LeaseOptions
): Effect.fn.Return<HeldLease, ContainerdError, Leases | Scope.Scope> {
  const leases = yield* Leases
  const expiry = (yield* Clock.currentTimeMillis) + Duration.toMillis(options.expiresIn ?? "24 hours")
  const expires = Number.isFinite(expiry) ? { [expireLabel]: new Date(expiry).toISOString() } : {}
  const labels = { ...options.labels, ...expires }
  return yield* Effect.acquireRelease(
    Effect.as(leases.create({ id: options.id, labels }), { [held]: true, id: options.id, labels } as const),
    () => quietly(`lease ${options.id}`)(leases.delete(options.id))
  )
})

/** Puts a blob under the current lease, so that it stays from now on. Whether it is there, reading it tells. */
export const hold = Effect.fnUntraced(function* (descriptor: Descriptor.Descriptor) {
  const leases = yield* Leases
  yield* leases.addResource({ type: "content", id: descriptor.digest })
})

/** Runs an effect under a lease of its own; inside of a lease already, under that one. */
export const withLease =
  (options: LeaseOptions) =>
  <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | ContainerdError, Exclude<R, Lease> | Leases> =>
    Effect.flatMap(Effect.serviceOption(Lease), (current) =>
      current._tag === "Some"
        ? Effect.provideService(self, Lease, current.value)
        : Effect.scopedWith((scope) =>
            scoped(options).pipe(
              Effect.provideService(Scope.Scope, scope),
              Effect.flatMap((lease) => Effect.provideService(self, Lease, lease))
            )
          )
    )
