/**
 * Containers of this backend: a record, and a writable directory that holds what the image holds.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import { ContainerdError, FailedPrecondition, InvalidArgument, NotFound } from "../core/ContainerdError.ts"
import { type Container, Containers } from "../core/Containers.ts"
import * as ContentStore from "../core/ContentStore.ts"
import * as ImageDocuments from "../core/ImageDocuments.ts"
import { find, type Image, Images } from "../core/Images.ts"
import * as Leases from "../core/Leases.ts"
import { Snapshotters } from "../core/Snapshotter.ts"
import { uniqueName } from "../core/UniqueName.ts"
import { unpackLayers } from "../core/Unpack.ts"
import type { Lost } from "../layer/Concession.ts"
import * as Metadata from "../layer/Metadata.ts"
import type * as ImageConfig from "../oci/ImageConfig.ts"
import * as Index from "../oci/Index.ts"
import * as MediaType from "../oci/MediaType.ts"
import * as Platform from "../oci/Platform.ts"
import * as Reference from "../oci/Reference.ts"
import { Database } from "./Database.ts"
import * as EmbeddedContainers from "./EmbeddedContainers.ts"
import { toContainerdError } from "./EmbeddedError.ts"
import { snapshotter } from "./Layout.ts"
import * as SnapshotFiles from "./SnapshotFiles.ts"

export interface CreateOptions {
  /** Random by default. Fails with `AlreadyExists` when it is taken. */
  readonly id?: string | undefined
  /** Of a multi-platform image (`linux/arm64`); by default this host's, else the first whose content is here. */
  readonly platform?: string | undefined
  readonly labels?: Readonly<Record<string, string>> | undefined
}

export interface Created {
  readonly id: string
  readonly image: Image
  /** The root file system, to be changed by anybody who may write there. */
  readonly rootfs: string
  /**
   * What the image says of files and an ordinary user could not make so (owners, devices, modes, attributes). It is
   * kept beside the container, and goes into the layers of its commits.
   */
  readonly notApplied: ReadonlyArray<Lost>
}

const method = "Embedded.createContainer"
const refused = (reason: ContainerdError["reason"]) => new ContainerdError({ method, reason })

/** As it is, and normalised as Docker does (`app` is `docker.io/library/app:latest`). */
const findImage = Effect.fnUntraced(function* (name: string) {
  const images = yield* Images
  const whole = Result.map(Reference.parse(name), (reference) => Reference.format(Reference.withDefaultTag(reference)))
  const names = new Set([name, ...Option.toArray(Result.getSuccess(whole))])
  for (const candidate of names) {
    const found = yield* find(candidate)
    if (Option.isSome(found)) return found.value
  }
  const known = (yield* images.list()).map((image) => image.name).join(", ")
  const message = `there is no image ${JSON.stringify(name)} here; ${known === "" ? "there is none at all: import one" : `there are: ${known}`}`
  return yield* refused(new NotFound({ message }))
})

const documentsOf = Effect.fnUntraced(function* ({ name, target }: Image, platform: Option.Option<Platform.Platform>) {
  if (!MediaType.isIndex(target.mediaType)) return yield* ImageDocuments.read(target)
  const index = yield* Effect.fromResult(Index.decode(yield* ContentStore.readBytes(target), target.mediaType))
  for (const descriptor of ImageDocuments.candidates(index.value, platform)) {
    const found = yield* ImageDocuments.read(descriptor).pipe(
      Effect.asSome,
      Effect.catchReason("ContainerdError", "NotFound", () => Effect.succeedNone)
    )
    if (Option.isSome(found)) return found.value
  }
  const wanted = Option.match(platform, { onNone: () => "", onSome: (one) => ` for ${Platform.format(one)}` })
  return yield* refused(new NotFound({ message: `the image ${name} has no manifest here${wanted}` }))
})

/** What a container would run, for the history of what is committed (OCI runtime-spec, config.md). */
const specOf = ({ config }: ImageConfig.ImageConfig): Uint8Array => {
  const args = [...(config?.Entrypoint ?? []), ...(config?.Cmd ?? [])]
  const cwd = config?.WorkingDir || "/"
  return Buffer.from(
    JSON.stringify({
      ociVersion: "1.0.2",
      process: { user: { uid: 0, gid: 0 }, args, env: config?.Env ?? [], cwd },
      root: { path: "rootfs" }
    })
  )
}

/** The image's snapshot, made when it is not there, and kept for as long as the image. */
const unpack = Effect.fnUntraced(function* ({ config, manifest }: ImageDocuments.ImageDocuments) {
  const directory = (yield* Snapshotters).get(snapshotter)
  const layers = ImageDocuments.layers(manifest.value.layers ?? [], config.value)
  const chainId = yield* unpackLayers(directory, layers)
  if (Option.isNone(chainId)) return ""
  const store = yield* ContentStore.ContentStore
  yield* store.setLabels(config.descriptor.digest, ImageDocuments.snapshotLabel(snapshotter, chainId.value))
  return chainId.value
})

const parsePlatform = (text: string | undefined) =>
  text === undefined
    ? Effect.succeedNone
    : Effect.fromResult(Platform.parse(text)).pipe(
        Effect.asSome,
        Effect.mapError(({ message }) => refused(new InvalidArgument({ message })))
      )

/** `AlreadyExists` before the image is unpacked for it. */
const checkId = Effect.fnUntraced(function* (id: string) {
  const containers = yield* Containers
  const taken = yield* containers.get(id).pipe(
    Effect.as(true),
    Effect.catchReason("ContainerdError", "NotFound", () => Effect.succeed(false))
  )
  if (taken) yield* refused(EmbeddedContainers.alreadyExists(id))
})

/**
 * Makes a container of an image: unpacks the image if need be, and gives a writable copy of what it holds.
 *
 * Fails with `ContainerdError`: `NotFound` for an image or a platform that is not here, `AlreadyExists` for an id that is
 * taken. Then nothing is left but the unpacked layers.
 */
export const createContainer = Effect.fn("Embedded.createContainer")(
  function* (imageName: string, options: CreateOptions = {}) {
    const platform = yield* parsePlatform(options.platform)
    const id = options.id ?? crypto.randomUUID()
    yield* checkId(id)
    const image = yield* findImage(imageName)
    const documents = yield* documentsOf(image, platform)
    const active = yield* (yield* Snapshotters).get(snapshotter).prepare({ key: id, parent: yield* unpack(documents) })
    const record = EmbeddedContainers.create({
      ...{ id, labels: options.labels ?? {}, image: image.name, runtime: "", snapshotter, snapshotKey: id },
      spec: specOf(documents.config.value)
    })
    // Once the record is there the snapshot is its own, whatever comes between.
    yield* Effect.uninterruptible(Effect.andThen(record, active.handOver))
    const rootfs = active.mounts[0]?.source ?? ""
    const { paths } = yield* Database
    const beside = yield* Effect.try({
      try: () => SnapshotFiles.read(paths, rootfs),
      catch: toContainerdError(method)
    })
    return { id, image, rootfs, notApplied: Metadata.describe(beside.metadata) } satisfies Created
  },
  Effect.scoped,
  (effect) => Effect.suspend(() => Leases.withLease({ id: uniqueName("effect-containerd/create") })(effect))
)

const findContainer = Effect.fnUntraced(function* (id: string) {
  const containers = yield* Containers
  return yield* containers.get(id)
})

/** The path of a container's root file system. Fails with `NotFound`. */
export const rootfs = Effect.fn("Embedded.rootfs")(function* (id: string) {
  const container: Container = yield* findContainer(id)
  const mounts = yield* (yield* Snapshotters).get(container.snapshotter).mounts(container.snapshotKey)
  const source = mounts[0]?.source
  if (source !== undefined) return source
  return yield* refused(new FailedPrecondition({ message: `container ${JSON.stringify(id)} has no file system` }))
})

/** Removes the container and its file system; images that were committed of it stay. One that is gone is success. */
export const removeContainer = Effect.fn("Embedded.removeContainer")(function* (id: string) {
  const container = yield* findContainer(id).pipe(
    Effect.asSome,
    Effect.catchReason("ContainerdError", "NotFound", () => Effect.succeedNone)
  )
  if (Option.isNone(container)) return
  yield* EmbeddedContainers.remove(id)
  yield* (yield* Snapshotters).get(container.value.snapshotter).remove(container.value.snapshotKey)
})
