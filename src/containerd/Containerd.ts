/**
 * Every service of `core` by a containerd (1.6 or newer) over its socket.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as BackendScope from "../core/BackendScope.ts"
import type { Containers } from "../core/Containers.ts"
import type { ContentStore } from "../core/ContentStore.ts"
import type { Differ } from "../core/Differ.ts"
import type { Images } from "../core/Images.ts"
import type { Introspection } from "../core/Introspection.ts"
import type { Leases } from "../core/Leases.ts"
import type { Namespaces } from "../core/Namespaces.ts"
import type { Snapshotters } from "../core/Snapshotter.ts"
import type { Tasks } from "../core/Tasks.ts"
import * as Connection from "./Connection.ts"
import * as ContainerdContainers from "./ContainerdContainers.ts"
import * as ContainerdContentStore from "./ContainerdContentStore.ts"
import * as ContainerdDiffer from "./ContainerdDiffer.ts"
import * as ContainerdImages from "./ContainerdImages.ts"
import * as ContainerdIntrospection from "./ContainerdIntrospection.ts"
import * as ContainerdLeases from "./ContainerdLeases.ts"
import * as ContainerdNamespaces from "./ContainerdNamespaces.ts"
import * as ContainerdSnapshotters from "./ContainerdSnapshotters.ts"
import * as ContainerdTasks from "./ContainerdTasks.ts"

export interface ContainerdOptions {
  /** The socket's path. `/run/containerd/containerd.sock` by default. */
  readonly address?: string | undefined
  /** Where the program sets no `CurrentNamespace`. `default` by default, as `ctr` and `nerdctl` have it. */
  readonly namespace?: string | undefined
  /** For containers whose record names none (Docker's). By default what the namespace's label says, else `overlayfs`. */
  readonly snapshotter?: string | undefined
  /** How long a call about metadata may take. 10 seconds by default; calls that move data have no limit. */
  readonly timeout?: Duration.Input | undefined
}

/** What the layer provides: everything that a commit needs. */
export type Services =
  | Containers
  | ContentStore
  | Differ
  | Images
  | Introspection
  | Leases
  | Namespaces
  | Snapshotters
  | Tasks

/**
 * The services over a connection of one's own making. Fresh, because a program may talk to two daemons, and a layer is
 * otherwise built once for a program, whatever it stands on.
 */
export const layerOver = (
  connection: Layer.Layer<Connection.Connection>,
  options: Pick<ContainerdOptions, "snapshotter"> = {}
): Layer.Layer<Services> =>
  Layer.mergeAll(
    ContainerdContainers.layer,
    ContainerdContentStore.layer,
    ContainerdDiffer.layer,
    ContainerdImages.layer,
    ContainerdIntrospection.layer,
    ContainerdNamespaces.layer,
    ContainerdSnapshotters.layer(options.snapshotter),
    ContainerdTasks.layer,
    BackendScope.layer
  ).pipe(Layer.provideMerge(ContainerdLeases.layer), Layer.fresh, Layer.provide(connection))

/**
 * Connects with the first call and closes with the layer. The layer itself cannot fail: a socket that is missing fails
 * the first call, with the reason `Unavailable`.
 */
export const layer = (options: ContainerdOptions = {}): Layer.Layer<Services> =>
  layerOver(
    Connection.layer({
      address: options.address ?? "/run/containerd/containerd.sock",
      namespace: options.namespace ?? "default",
      timeout: options.timeout ?? "10 seconds"
    }),
    options
  )

/** The environment variables that `ctr` and `nerdctl` read, too. */
export const config: Config.Config<ContainerdOptions> = Config.all({
  address: Config.String("CONTAINERD_ADDRESS").pipe(Config.withDefault(undefined)),
  namespace: Config.String("CONTAINERD_NAMESPACE").pipe(Config.withDefault(undefined)),
  snapshotter: Config.String("CONTAINERD_SNAPSHOTTER").pipe(Config.withDefault(undefined))
})

/** `layer` from the environment: `CONTAINERD_ADDRESS`, `CONTAINERD_NAMESPACE`, `CONTAINERD_SNAPSHOTTER`. */
export const layerConfig: Layer.Layer<Services, Config.ConfigError> = Layer.unwrap(Effect.map(config, layer))
