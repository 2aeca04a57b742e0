/** @since 0.1.0 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as Snapshotter from "../core/Snapshotter.ts"
import { Connection } from "./Connection.ts"
import { fromMount, orGone, present } from "./Convert.ts"
import type { Info__Output as WireInfo } from "./generated/containerd/services/snapshots/v1/Info.ts"
import { services } from "./Wire.ts"

const kinds: Readonly<Record<string, Snapshotter.Info["kind"]>> = {
  VIEW: "view",
  ACTIVE: "active",
  COMMITTED: "committed"
}

const fromInfo = ({ kind, labels, name, parent }: WireInfo): Snapshotter.Info => ({
  name,
  parent,
  kind: kinds[kind] ?? "unknown",
  labels
})

const snapshotterPlugin = "io.containerd.snapshotter.v1"

/** Set on a namespace, it chooses the snapshotter there. */
const defaultLabel = "containerd.io/defaults/snapshotter"

const make = Effect.fnUntraced(function* (defaultName: string | undefined) {
  const { namespace, serverStream, unary } = yield* Connection
  const { introspection, namespaces, snapshots } = services()

  const primitives = (snapshotter: string): Snapshotter.Primitives => ({
    stat: (key) =>
      unary(snapshots.Stat, { snapshotter, key }).pipe(
        Effect.flatMap(({ info }) => present("Snapshots.Stat", info)),
        Effect.map(fromInfo)
      ),
    mounts: (key) => Effect.map(unary(snapshots.Mounts, { snapshotter, key }), ({ mounts }) => mounts.map(fromMount)),
    // Walks the files of an active snapshot, so it takes as long as there are files.
    usage: (key) =>
      Effect.map(unary(snapshots.Usage, { snapshotter, key }, "data"), ({ inodes, size }) => ({ inodes, size })),
    list: (filters = []) =>
      serverStream(snapshots.List, { snapshotter, filters: [...filters] }).pipe(
        Stream.map(({ info }) => info.map(fromInfo)),
        Stream.flattenIterable
      ),
    prepare: ({ key, labels = {}, parent }) =>
      Effect.map(unary(snapshots.Prepare, { snapshotter, key, parent, labels }), ({ mounts }) => mounts.map(fromMount)),
    view: ({ key, labels = {}, parent }) =>
      Effect.map(unary(snapshots.View, { snapshotter, key, parent, labels }), ({ mounts }) => mounts.map(fromMount)),
    commit: (name, key, labels) => Effect.asVoid(unary(snapshots.Commit, { snapshotter, name, key, labels })),
    remove: (key) => orGone(unary(snapshots.Remove, { snapshotter, key }))
  })

  return Snapshotter.Snapshotters.of({
    defaultName:
      defaultName === undefined
        ? Effect.flatMap(namespace, (name) =>
            unary(namespaces.Get, { name }).pipe(
              Effect.map((response) => response.namespace?.labels[defaultLabel] ?? "overlayfs"),
              // A namespace begins to exist with the first thing in it.
              Effect.catchReason("ContainerdError", "NotFound", () => Effect.succeed("overlayfs"))
            )
          )
        : Effect.succeed(defaultName),
    get: (name) => Snapshotter.make(name, primitives(name)),
    available: Effect.map(unary(introspection.Plugins, { filters: [`type==${snapshotterPlugin}`] }), ({ plugins }) =>
      plugins.filter(({ initErr }) => initErr === null).map(({ id }) => id)
    )
  })
})

export const layer = (defaultName: string | undefined): Layer.Layer<Snapshotter.Snapshotters, never, Connection> =>
  Layer.effect(Snapshotter.Snapshotters, make(defaultName))
