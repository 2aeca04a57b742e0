/**
 * The image that the container was made from, held by the lease and known to be whole *before* the
 * container is paused.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as ImageDocuments from "../core/ImageDocuments.ts"
import type { Image } from "../core/Images.ts"
import { hold } from "../core/Leases.ts"
import * as ChainId from "../oci/ChainId.ts"
import type * as Descriptor from "../oci/Descriptor.ts"
import * as ImageConfig from "../oci/ImageConfig.ts"
import type * as Manifest from "../oci/Manifest.ts"
import * as MediaType from "../oci/MediaType.ts"
import * as Platform from "../oci/Platform.ts"
import { ParentIncomplete, ParentMismatch, ParentNotFound } from "./CommitError.ts"
import { holdBlobs } from "./HoldBlobs.ts"
import type { Request } from "./Options.ts"
import { read, readConfig, readIndex, readManifest } from "./ParentDocuments.ts"
import type { Source } from "./Resolve.ts"

/** What the new image builds on. */
export interface Parent {
  /** None for a container without an image. */
  readonly image: Option.Option<Image>
  /** The form of the manifest. */
  readonly format: MediaType.Format
  readonly layers: ReadonlyArray<Descriptor.Descriptor>
  readonly config: ImageConfig.ImageConfig
  /** Of all layers; the snapshot of that name is the root file system of a container that was just made. */
  readonly chainId: Option.Option<ChainId.ChainId>
}

/** The parent's layers, bottom first. */
export const layersOf = ({ config, layers }: Parent) => ImageDocuments.layers(layers, config)

const scratch = (platform: Option.Option<Platform.Platform>): Parent => {
  const { architecture, os, variant } = Option.getOrElse(platform, Platform.host)
  return {
    image: Option.none(),
    format: "oci",
    layers: [],
    config: {
      architecture,
      os,
      ...(variant === undefined ? {} : { variant }),
      rootfs: { type: "layers", diff_ids: [] }
    },
    chainId: Option.none()
  }
}

const chainIdOf = (config: ImageConfig.ImageConfig) => ChainId.fromDiffIds(ImageConfig.diffIds(config))

const standsOn = (source: Source, config: ImageConfig.ImageConfig): boolean =>
  source.below.includes(Option.getOrElse(chainIdOf(config), () => ""))

/** Of an index, the manifest that was asked for, else the one whose layers the container's snapshot has below. */
const choose = Effect.fnUntraced(function* (image: Image, source: Source, request: Request) {
  const index = yield* readIndex(image.target)
  for (const descriptor of ImageDocuments.candidates(index.value, request.platform)) {
    const found = yield* read(descriptor).pipe(
      Effect.asSome,
      // Usually only one platform of an index has been pulled.
      Effect.catchReason("ContainerdError", "NotFound", () => Effect.succeedNone)
    )
    if (Option.isNone(found)) continue
    if (Option.isSome(request.platform) || standsOn(source, found.value.config.value)) return found.value
  }
  const wanted = Option.match(request.platform, {
    onNone: () => "whose layers are those of the container",
    onSome: (platform) => `for ${Platform.format(platform)}`
  })
  return yield* new ParentNotFound({ message: `the image ${image.name} has no manifest here ${wanted}` })
})

/** Reads the image's manifest and config, holds all of its blobs, and gives those that are missing. */
const readImage = Effect.fnUntraced(function* (image: Image, source: Source, request: Request) {
  const { mediaType } = image.target
  if (MediaType.isIndex(mediaType)) {
    const [documents] = yield* Effect.all([choose(image, source, request), hold(image.target)], together)
    const { config, manifest } = documents
    yield* hold(manifest.descriptor)
    return { config, manifest, missing: yield* holdBlobs(manifest.descriptor, blobsOf(manifest.value)) }
  }
  if (!MediaType.isManifest(mediaType)) {
    return yield* new ParentNotFound({
      message: `the image ${image.name} is a ${mediaType}, which is no image manifest`
    })
  }
  const [manifest] = yield* Effect.all([readManifest(image.target), hold(image.target)], together)
  const [config, missing] = yield* Effect.all(
    [readConfig(manifest), holdBlobs(manifest.descriptor, blobsOf(manifest.value))],
    together
  )
  return { config, manifest, missing }
})

const together = { concurrency: "unbounded" } as const

const blobsOf = ({ config, layers }: Manifest.Manifest) => [config, ...(layers ?? [])]

/** Fails when the image is not whole, or is not the one that the container stands on. */
export const readParent = Effect.fnUntraced(function* (source: Source, request: Request) {
  if (Option.isNone(source.image)) {
    const [below = ""] = source.below
    if (below === "") return scratch(request.platform)
    const message = `the record of the container names no image, yet it stands on ${below}: name its parent image`
    return yield* new ParentNotFound({ message })
  }
  const image = source.image.value
  const { config, manifest, missing } = yield* readImage(image, source, request)
  if (!standsOn(source, config.value)) {
    const message = `the image ${image.name} is not the one that the container was made from (the name was given to another image since): name the right one as the parent`
    return yield* new ParentMismatch({ message })
  }
  if (missing.length > 0 && request.allowMissingParents !== true) {
    const message = `${missing.length} of ${blobsOf(manifest.value).length} blobs of ${image.name} are not in the content store (${missing.join(", ")}): pull the image again with all of its content, or allow missing parents`
    return yield* new ParentIncomplete({ missing, message })
  }
  return {
    image: source.image,
    format: Option.getOrElse(MediaType.format(manifest.descriptor.mediaType), () => "oci" as const),
    layers: manifest.value.layers ?? [],
    config: config.value,
    chainId: chainIdOf(config.value)
  } satisfies Parent
})
