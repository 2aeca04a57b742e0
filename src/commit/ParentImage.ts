/**
 * Step `readParent`: the image that the container was made from, held by the lease and known to be whole *before* the
 * container is paused.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as ContentStore from "../core/ContentStore.ts"
import { type Image, Images } from "../core/Images.ts"
import { Leases } from "../core/Leases.ts"
import type { Layer } from "../layer/Layer.ts"
import * as ChainId from "../oci/ChainId.ts"
import type * as Descriptor from "../oci/Descriptor.ts"
import type * as Digest from "../oci/Digest.ts"
import * as ImageConfig from "../oci/ImageConfig.ts"
import * as Index from "../oci/Index.ts"
import * as Manifest from "../oci/Manifest.ts"
import * as MediaType from "../oci/MediaType.ts"
import * as Platform from "../oci/Platform.ts"
import { ParentIncomplete, ParentMismatch, ParentNotFound } from "./CommitError.ts"
import type { Request } from "./Options.ts"
import type { Source } from "./Resolve.ts"
import { step } from "./Run.ts"

/** What the new image builds on. */
export interface Parent {
  /** None for a container without an image. */
  readonly image: Option.Option<Image>
  /** The form of the parent's manifest, which the new one keeps. */
  readonly format: MediaType.Format
  readonly layers: ReadonlyArray<Descriptor.Descriptor>
  readonly config: ImageConfig.ImageConfig
  /** Of all layers; the snapshot of that name is the root file system of a container that was just made. */
  readonly chainId: Option.Option<ChainId.ChainId>
}

/** The parent's layers, bottom first. */
export const layersOf = (parent: Parent): ReadonlyArray<Layer> =>
  ImageConfig.diffIds(parent.config).flatMap((diffId, i) => {
    const descriptor = parent.layers[i]
    return descriptor === undefined ? [] : [{ descriptor, diffId }]
  })

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

/** Puts a blob under the lease, so that it stays from now on. Whether it is there, reading it tells. */
const hold = Effect.fnUntraced(function* (digest: Digest.Digest) {
  const leases = yield* Leases
  yield* leases.addResource({ type: "content", id: digest })
})

interface Candidate {
  readonly manifest: Manifest.Manifest
  readonly config: ImageConfig.ImageConfig
  readonly chainId: Option.Option<ChainId.ChainId>
  readonly descriptor: Descriptor.Descriptor
}

const readCandidate = Effect.fnUntraced(function* (descriptor: Descriptor.Descriptor) {
  const manifest = yield* Effect.fromResult(
    Manifest.decode(yield* ContentStore.readBytes(descriptor), descriptor.mediaType)
  )
  const config = yield* Effect.fromResult(
    ImageConfig.decode(yield* ContentStore.readBytes(manifest.value.config), manifest.value.config.mediaType)
  )
  const chainId = ChainId.fromDiffIds(ImageConfig.diffIds(config.value))
  return { manifest: manifest.value, config: config.value, chainId, descriptor } satisfies Candidate
})

/** The manifests of an index, the likeliest first: this host's platform, then the others in their order. */
const candidates = (index: Index.Index, wanted: Option.Option<Platform.Platform>) => {
  const platformOf = (descriptor: Descriptor.Descriptor) => descriptor.platform
  const manifests = (index.manifests ?? []).filter(
    (descriptor) => MediaType.isManifest(descriptor.mediaType) && descriptor.platform?.os !== "unknown"
  )
  const best = Platform.select(Option.getOrElse(wanted, Platform.host), manifests, platformOf)
  const first = Option.toArray(best)
  return Option.isSome(wanted) ? first : [...first, ...manifests.filter((manifest) => !first.includes(manifest))]
}

/** The manifest that the container stands on: of an index, the one whose layers the container's snapshot has below. */
const findManifest = Effect.fnUntraced(function* (image: Image, source: Source, request: Request) {
  if (!MediaType.isIndex(image.target.mediaType)) {
    if (MediaType.isManifest(image.target.mediaType)) return yield* readCandidate(image.target)
    const message = `the image ${image.name} is a ${image.target.mediaType}, which is no image manifest`
    return yield* new ParentNotFound({ message })
  }
  const index = yield* Effect.fromResult(
    Index.decode(yield* ContentStore.readBytes(image.target), image.target.mediaType)
  )
  for (const descriptor of candidates(index.value, request.platform)) {
    const candidate = yield* readCandidate(descriptor).pipe(
      Effect.asSome,
      // Usually only one platform of an index has been pulled.
      Effect.catchReason("ContainerdError", "NotFound", () => Effect.succeedNone)
    )
    if (Option.isNone(candidate)) continue
    if (Option.isSome(request.platform) || standsOn(source, candidate.value)) return candidate.value
  }
  const wanted = Option.match(request.platform, {
    onNone: () => "whose layers are those of the container",
    onSome: (platform) => `for ${Platform.format(platform)}`
  })
  return yield* new ParentNotFound({ message: `the image ${image.name} has no manifest here ${wanted}` })
})

const standsOn = (source: Source, { chainId }: Pick<Candidate, "chainId">): boolean =>
  source.snapshot.parent === Option.getOrElse(chainId, () => "")

/**
 * Holds every blob of the image. Those that the labels of a held blob refer to are held with it, so for an image that
 * was pulled or built this is one lease entry, not one for each layer.
 */
const holdAll = Effect.fnUntraced(function* (
  image: Image,
  manifest: Descriptor.Descriptor,
  blobs: ReadonlyArray<Descriptor.Descriptor>
) {
  const store = yield* ContentStore.ContentStore
  const { labels } = yield* store.info(manifest.digest)
  const referred = new Set(
    Object.entries(labels)
      .filter(([key]) => key.startsWith("containerd.io/gc.ref.content"))
      .map(([, digest]) => digest)
  )
  const own = manifest.digest === image.target.digest ? [] : [manifest]
  const unheld = [...own, ...blobs.filter(({ digest }) => !referred.has(digest))]
  yield* Effect.forEach(unheld, ({ digest }) => hold(digest), { concurrency: "unbounded", discard: true })
})

const missingBlobs = Effect.fnUntraced(function* (blobs: ReadonlyArray<Descriptor.Descriptor>) {
  const store = yield* ContentStore.ContentStore
  const found = yield* Effect.forEach(
    blobs,
    ({ digest }) =>
      Effect.as(store.info(digest), true).pipe(
        Effect.catchReason("ContainerdError", "NotFound", () => Effect.succeed(false))
      ),
    { concurrency: "unbounded" }
  )
  return blobs.filter((_, i) => found[i] === false).map(({ digest }) => digest)
})

const findImage = Effect.fnUntraced(function* (name: string) {
  const images = yield* Images
  return yield* images.get(name).pipe(
    Effect.catchReason(
      "ContainerdError",
      "NotFound",
      () =>
        new ParentNotFound({
          message: `the container's image ${name} is not here any more: pull it again, or name another record of it as the parent`
        })
    )
  )
})

/** Fails when the image is not there, is not whole, or is not the one that the container stands on. */
export const readParent = Effect.fnUntraced(function* (source: Source, request: Request) {
  const name = request.parent ?? source.image
  if (name === "") {
    if (source.snapshot.parent === "") return scratch(request.platform)
    const message = `the record of the container names no image, yet it stands on ${source.snapshot.parent}: name its parent image`
    return yield* new ParentNotFound({ message })
  }
  const image = yield* findImage(name)
  // Read and held at once: whether everything is there is looked at after that.
  const [found] = yield* Effect.all([findManifest(image, source, request), hold(image.target.digest)], {
    concurrency: "unbounded"
  })
  if (!standsOn(source, found)) {
    const message = `the image ${name} is not the one that the container was made from (the name was given to another image since): name the right one as the parent`
    return yield* new ParentMismatch({ message })
  }
  const layers = found.manifest.layers ?? []
  const blobs = [found.manifest.config, ...layers]
  const [, missing] = yield* Effect.all([holdAll(image, found.descriptor, blobs), missingBlobs(blobs)], {
    concurrency: "unbounded"
  })
  if (missing.length > 0 && request.allowMissingParents !== true) {
    const message = `${missing.length} of ${blobs.length} blobs of ${name} are not in the content store (${missing.join(", ")}): pull the image again with all of its content, or allow missing parents`
    return yield* new ParentIncomplete({ missing, message })
  }
  return {
    image: Option.some(image),
    format: Option.getOrElse(MediaType.format(found.descriptor.mediaType), () => "oci" as const),
    layers,
    config: found.config,
    chainId: found.chainId
  } satisfies Parent
}, step("readParent"))
