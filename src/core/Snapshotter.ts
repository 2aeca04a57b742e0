/**
 * Snapshots: the file systems that containers run on and images unpack to.
 *
 * A snapshot is *active* (writable, named by a key), a *view* (read only, named by a key) or *committed* (immutable,
 * named; by its chain ID when it holds the layers of an image). Keys and names share one space per snapshotter.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Ref from "effect/Ref"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { ContainerdError } from "./ContainerdError.ts"
import { quietly } from "./Finalizer.ts"
import type { Lease } from "./Leases.ts"
import type { Mount } from "./Mount.ts"

export interface Info {
  readonly name: string
  /** The committed snapshot below; `""` for none. */
  readonly parent: string
  readonly kind: "active" | "view" | "committed" | "unknown"
  readonly labels: Readonly<Record<string, string>>
}

export interface Usage {
  /** Bytes of this snapshot alone, without its parents. */
  readonly size: number
  readonly inodes: number
}

export interface PrepareOptions {
  /** Free text, unique in the snapshotter. */
  readonly key: string
  /** The committed snapshot below; `""` for none. */
  readonly parent: string
  readonly labels?: Readonly<Record<string, string>> | undefined
}

/** A read-only snapshot; gone with its scope. */
export interface View {
  readonly key: string
  readonly mounts: ReadonlyArray<Mount>
}

/** A writable snapshot; gone with its scope unless committed. */
export interface Active extends View {
  /**
   * Turns the snapshot into the committed snapshot `name`. Fails with `AlreadyExists` when that name is taken; the
   * active snapshot then stays until the scope closes.
   */
  readonly commit: (
    name: string,
    options?: { readonly labels?: Readonly<Record<string, string>> | undefined }
  ) => Effect.Effect<void, ContainerdError, Lease>
  /** Leaves the snapshot to somebody else, who refers to it now: it stays when the scope closes. */
  readonly handOver: Effect.Effect<void>
}

/** What a backend implements; {@link make} turns it into a {@link Snapshotter} that cannot leak. */
export interface Primitives {
  readonly stat: (key: string) => Effect.Effect<Info, ContainerdError>
  readonly mounts: (key: string) => Effect.Effect<ReadonlyArray<Mount>, ContainerdError>
  readonly usage: (key: string) => Effect.Effect<Usage, ContainerdError>
  readonly list: (filters?: ReadonlyArray<string>) => Stream.Stream<Info, ContainerdError>
  readonly prepare: (options: PrepareOptions) => Effect.Effect<ReadonlyArray<Mount>, ContainerdError, Lease>
  readonly view: (options: PrepareOptions) => Effect.Effect<ReadonlyArray<Mount>, ContainerdError, Lease>
  readonly commit: (
    name: string,
    key: string,
    labels: Readonly<Record<string, string>>
  ) => Effect.Effect<void, ContainerdError, Lease>
  /** `FailedPrecondition` when the snapshot has children. A key that is gone already is success. */
  readonly remove: (key: string) => Effect.Effect<void, ContainerdError>
}

export interface Snapshotter {
  /** `overlayfs`, `native`, … */
  readonly name: string
  /** Fails with `NotFound` when neither key nor name is known. */
  readonly stat: Primitives["stat"]
  /** Of an active snapshot or a view; a committed one has none. */
  readonly mounts: Primitives["mounts"]
  /** Of an active snapshot this walks its files, of a committed one it is remembered. */
  readonly usage: Primitives["usage"]
  readonly list: Primitives["list"]
  readonly remove: Primitives["remove"]
  /** Makes a writable snapshot. Removed with the scope unless committed. */
  readonly prepare: (options: PrepareOptions) => Effect.Effect<Active, ContainerdError, Lease | Scope.Scope>
  /** Makes a read-only snapshot. Removed with the scope; until then the parent cannot be removed. */
  readonly view: (options: PrepareOptions) => Effect.Effect<View, ContainerdError, Lease | Scope.Scope>
}

/** The snapshotters of a backend, by name. Names are not checked here: an unknown one fails with its first call. */
export class Snapshotters extends Context.Service<
  Snapshotters,
  {
    readonly get: (name: string) => Snapshotter
    /**
     * The one for containers that name none: what the backend's layer was told, else the namespace's label
     * `containerd.io/defaults/snapshotter`, else `overlayfs`.
     */
    readonly defaultName: Effect.Effect<string, ContainerdError>
    /** The names of those that work. */
    readonly available: Effect.Effect<ReadonlyArray<string>, ContainerdError>
  }
>()("effect-containerd/Snapshotters") {}

/** Adds the scoped acquire/release to a backend's primitive operations. */
export const make = (name: string, primitives: Primitives): Snapshotter => {
  const { commit, list, mounts, prepare, remove, stat, usage, view } = primitives
  return {
    name,
    stat,
    mounts,
    usage,
    list,
    remove,
    view: (options) =>
      Effect.acquireRelease(
        Effect.map(view(options), (mounts) => ({ key: options.key, mounts })),
        ({ key }) => quietly(`view ${key}`)(remove(key))
      ),
    prepare: Effect.fnUntraced(function* (options: PrepareOptions) {
      const settled = yield* Ref.make(false)
      const mounts = yield* Effect.acquireRelease(prepare(options), () =>
        Effect.flatMap(Ref.get(settled), (done) =>
          done ? Effect.void : quietly(`snapshot ${options.key}`)(remove(options.key))
        )
      )
      return {
        key: options.key,
        mounts,
        commit: (name, commitOptions) =>
          Effect.uninterruptible(
            Effect.tap(commit(name, options.key, commitOptions?.labels ?? {}), () => Ref.set(settled, true))
          ),
        handOver: Ref.set(settled, true)
      } satisfies Active
    })
  }
}
