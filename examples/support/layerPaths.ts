/** What a layer says of paths, in the words of `docker diff`. */
import { lstatSync } from "node:fs"
import { Effect, Option, Stream } from "effect"
import { ContentStore, type Descriptor, Leases, Snapshotter } from "effect-containerd"
import { decompress } from "effect-containerd/layer/Compression"
import * as RawPath from "effect-containerd/layer/RawPath"
import * as TarReader from "effect-containerd/layer/TarReader"
import * as Whiteout from "effect-containerd/layer/Whiteout"

/** Added, changed or deleted. */
export interface PathChange {
  readonly kind: "A" | "C" | "D"
  readonly path: string
}

/** The names of a layer's entries, whiteouts among them. */
const entries = Effect.fnUntraced(function* ({ digest }: Descriptor.Descriptor) {
  const store = yield* ContentStore.ContentStore
  const reader = TarReader.make()
  return yield* store.read(digest).pipe(
    decompress,
    Stream.mapEffect((chunk) => TarReader.attempt(() => reader.push(chunk))),
    Stream.flattenIterable,
    Stream.filter((event) => event._tag === "Entry"),
    Stream.map(({ header }) => RawPath.split(RawPath.fromBytes(header.path)).join("/")),
    Stream.runCollect
  )
})

/** The directory that shows what a container of an image began with; gone with the scope. */
const imageFiles = Effect.fnUntraced(function* (container: string) {
  const snapshotter = (yield* Snapshotter.Snapshotters).get("directory")
  const { parent } = yield* snapshotter.stat(container)
  if (parent === "") return Option.none<string>()
  const { mounts } = yield* snapshotter.view({ key: `${container}-before`, parent })
  return Option.fromNullishOr(mounts[0]?.source)
})

const toChange = (path: RawPath.RawPath, before: Option.Option<string>): PathChange => {
  const name = path.slice(path.lastIndexOf("/") + 1)
  const shown = (of: RawPath.RawPath) => `/${RawPath.show(of)}`
  if (name.startsWith(Whiteout.prefix)) {
    const gone = RawPath.join(RawPath.parent(path) ?? "", name.slice(Whiteout.prefix.length))
    return { kind: "D", path: shown(gone) }
  }
  const old = Option.map(before, (root) => lstatSync(RawPath.below(Buffer.from(root), path), { throwIfNoEntry: false }))
  return { kind: Option.isSome(old) && old.value !== undefined ? "C" : "A", path: shown(path) }
}

/** Reads the layer that a commit of the container made. The root itself is left out, as in `docker diff`. */
export const layerPaths = (layer: Descriptor.Descriptor, container: string) =>
  Effect.gen(function* () {
    const before = yield* imageFiles(container)
    const paths = yield* entries(layer)
    return paths.filter((path) => path !== "").map((path) => toChange(path, before))
  }).pipe(Effect.scoped, Leases.withLease({ id: `quickstart/${container}` }))
