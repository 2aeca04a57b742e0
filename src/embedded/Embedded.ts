/**
 * The services of `core` on one local directory: no daemon, no root.
 *
 * The directory is an OCI image layout, valid at every moment, so tools that know layouts (skopeo in the tests) read it in
 * place. Any number of processes may use it at once.
 *
 * @since 0.1.0
 */
import { homedir } from "node:os"
import { join } from "node:path"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { ContainerdError } from "../core/ContainerdError.ts"
import type { Containers } from "../core/Containers.ts"
import type { ContentStore } from "../core/ContentStore.ts"
import type { Differ } from "../core/Differ.ts"
import type { Images } from "../core/Images.ts"
import type { Introspection } from "../core/Introspection.ts"
import type { Leases } from "../core/Leases.ts"
import type { Namespaces } from "../core/Namespaces.ts"
import type { Snapshotters } from "../core/Snapshotter.ts"
import type { Tasks } from "../core/Tasks.ts"
import * as Database from "./Database.ts"
import * as EmbeddedContainers from "./EmbeddedContainers.ts"
import * as EmbeddedContentStore from "./EmbeddedContentStore.ts"
import * as EmbeddedDiffer from "./EmbeddedDiffer.ts"
import * as EmbeddedImages from "./EmbeddedImages.ts"
import * as EmbeddedIntrospection from "./EmbeddedIntrospection.ts"
import * as EmbeddedLeases from "./EmbeddedLeases.ts"
import * as EmbeddedNamespaces from "./EmbeddedNamespaces.ts"
import * as EmbeddedSnapshotters from "./EmbeddedSnapshotters.ts"
import * as EmbeddedTasks from "./EmbeddedTasks.ts"

export { exportArchive, fromDirectory, importArchive } from "../archive/Archive.ts"
export {
  type Created,
  type CreateOptions,
  createContainer,
  removeContainer,
  rootfs
} from "./CreateContainer.ts"
export { type Collected, gc, type Item, type Options as GcOptions } from "./Gc.ts"

export interface EmbeddedOptions {
  /** A layout, or a new or empty directory that becomes one. */
  readonly root: string
}

/** What the layer provides. `Database` is the opened root: {@link gc} needs it. */
export type Services =
  | Containers
  | ContentStore
  | Database.Database
  | Differ
  | Images
  | Introspection
  | Leases
  | Namespaces
  | Snapshotters
  | Tasks

/** Fresh: a program may open two roots, and layers are otherwise built once for a program, whatever they stand on. */
const services = Layer.mergeAll(
  EmbeddedContainers.layer,
  Layer.provideMerge(EmbeddedDiffer.layer, EmbeddedContentStore.layer),
  EmbeddedImages.layer,
  EmbeddedIntrospection.layer,
  EmbeddedLeases.layer,
  EmbeddedNamespaces.layer,
  EmbeddedSnapshotters.layer,
  EmbeddedTasks.layer
)

/**
 * Opens the directory, or makes it. Fails with `FailedPrecondition` for a directory that holds something else, a damaged
 * state, or one that a newer version wrote; with `PermissionDenied` where the user may not write.
 */
export const layer = ({ root }: EmbeddedOptions): Layer.Layer<Services, ContainerdError> =>
  Layer.provideMerge(Layer.fresh(services), Database.layer(root))

/** `$XDG_DATA_HOME/effect-containerd`, else `~/.local/share/effect-containerd`. */
const defaultRoot: Config.Config<string> = Config.String("XDG_DATA_HOME").pipe(
  Config.withDefault(join(homedir(), ".local", "share")),
  Config.map((data) => join(data, "effect-containerd"))
)

export const config: Config.Config<EmbeddedOptions> = Config.all({
  root: Config.String("EFFECT_CONTAINERD_ROOT").pipe(Config.orElse(() => defaultRoot))
})

/** `layer` from the environment: `EFFECT_CONTAINERD_ROOT`, else a directory below the user's data directory. */
export const layerConfig: Layer.Layer<Services, ContainerdError | Config.ConfigError> = Layer.unwrap(
  Effect.map(config, layer)
)
