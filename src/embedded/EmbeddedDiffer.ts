/**
 * Layers from directories and into directories.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { ContainerdError, FailedPrecondition, InvalidArgument, Unimplemented } from "../core/ContainerdError.ts"
import { ContentStore } from "../core/ContentStore.ts"
import { Differ } from "../core/Differ.ts"
import type { Mount } from "../core/Mount.ts"
import { decompress } from "../layer/Compression.ts"
import type { Lost } from "../layer/Concession.ts"
import * as DirectoryDiff from "../layer/DirectoryDiff.ts"
import { extract } from "../layer/Extract.ts"
import * as TarEntry from "../layer/TarEntry.ts"
import { writeLayer } from "../layer/WriteLayer.ts"
import type * as Descriptor from "../oci/Descriptor.ts"
import * as MediaType from "../oci/MediaType.ts"
import { Database } from "./Database.ts"
import { toContainerdError } from "./EmbeddedError.ts"
import type { Paths } from "./Layout.ts"
import * as SnapshotFiles from "./SnapshotFiles.ts"

const diffMethod = "Diff.Diff"
const applyMethod = "Diff.Apply"

const compressions = ["uncompressed", "gzip", "zstd"] as const
const compressionOf = (mediaType: string) => compressions.find((one) => MediaType.layer("oci", one) === mediaType)

const unsupported = (mediaType: string) => {
  const message = `layers are not written as ${JSON.stringify(mediaType)}: ${MediaType.layer("oci", "gzip")} is one way`
  return new ContainerdError({ method: diffMethod, reason: new Unimplemented({ message }) })
}

/** This backend's mounts name one directory, and nothing has to be mounted. None is the empty file system. */
const directoryOf = (
  method: string,
  mounts: ReadonlyArray<Mount>
): Effect.Effect<string | undefined, ContainerdError> => {
  const [first, ...others] = mounts
  if (first === undefined || (first.type === "bind" && others.length === 0)) return Effect.succeed(first?.source)
  const message = `this backend reads one directory (a bind mount), not ${mounts.map(({ type }) => type).join(" on ")}`
  return Effect.fail(new ContainerdError({ method, reason: new InvalidArgument({ message }) }))
}

const beside = (method: string, paths: Paths, directory: string) =>
  Effect.try({ try: () => SnapshotFiles.read(paths, directory), catch: toContainerdError(method) })

type Diff = Parameters<Differ["Service"]["diff"]>[0]

const tarOf = Effect.fnUntraced(function* (paths: Paths, diff: Diff, report: (lost: Lost) => void) {
  const [lower, upper] = yield* Effect.all([directoryOf(diffMethod, diff.lower), directoryOf(diffMethod, diff.upper)])
  if (lower === undefined && upper === undefined) return Stream.succeed(TarEntry.end)
  if (upper === undefined) {
    const reason = new InvalidArgument({ message: "there is no file system to make a layer of" })
    return yield* new ContainerdError({ method: diffMethod, reason })
  }
  const { copied, metadata } = yield* beside(diffMethod, paths, upper)
  return DirectoryDiff.diff({ lower, upper, since: copied, metadata, report })
})

const writable = Effect.fnUntraced(function* (mounts: ReadonlyArray<Mount>) {
  const directory = yield* directoryOf(applyMethod, mounts)
  if (directory !== undefined && mounts[0]?.options.includes("ro") === false) return directory
  const reason = new FailedPrecondition({ message: "a layer can only be extracted into a writable snapshot" })
  return yield* new ContainerdError({ method: applyMethod, reason })
})

/** One line for a layer: as an ordinary user it may be every file. What can be kept is kept beside the snapshot. */
const logLost = ({ digest }: Descriptor.Descriptor, [first, ...others]: ReadonlyArray<Lost>) => {
  if (first === undefined) return Effect.void
  const rest = others.length === 0 ? "" : ` (and ${others.length} more like this)`
  return Effect.logDebug(`layer ${digest} is not applied whole: ${first.path}: ${first.what}${rest}`)
}

const make = Effect.gen(function* () {
  const { paths } = yield* Database
  const store = yield* ContentStore

  const diff = Effect.fnUntraced(
    function* (options: Diff) {
      const compression = compressionOf(options.mediaType)
      if (compression === undefined) return yield* unsupported(options.mediaType)
      const notCarried: Array<string> = []
      const tar = yield* tarOf(paths, options, ({ path, what }) =>
        notCarried.push(path === "" ? what : `${path}: ${what}`)
      )
      const { descriptor } = yield* writeLayer(tar, { compression }).pipe(
        Effect.mapError(toContainerdError(diffMethod))
      )
      return { descriptor, notCarried }
    },
    Effect.provideService(ContentStore, store)
  )

  const apply = Effect.fnUntraced(function* (layer: Descriptor.Descriptor, mounts: ReadonlyArray<Mount>) {
    const directory = yield* writable(mounts)
    const before = yield* beside(applyMethod, paths, directory)
    const tar = store.read(layer.digest).pipe(decompress)
    const { diffId, metadata, notApplied, size } = yield* extract(tar, directory, { metadata: before.metadata }).pipe(
      Effect.mapError(toContainerdError(applyMethod))
    )
    yield* Effect.try({
      try: () => SnapshotFiles.writeMetadata(paths, directory, metadata),
      catch: toContainerdError(applyMethod)
    })
    yield* logLost(layer, notApplied)
    return { mediaType: MediaType.layer("oci", "uncompressed"), digest: diffId, size }
  })

  return Differ.of({
    name: "directory",
    supports: (mediaType) => Effect.succeed(compressionOf(mediaType) !== undefined),
    diff,
    apply
  })
})

export const layer: Layer.Layer<Differ, never, ContentStore | Database> = Layer.effect(Differ, make)
