/**
 * The documents of an image for one platform: manifest and config.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as ChainId from "../oci/ChainId.ts"
import type * as Descriptor from "../oci/Descriptor.ts"
import type { Document } from "../oci/Document.ts"
import * as ImageConfig from "../oci/ImageConfig.ts"
import type * as Index from "../oci/Index.ts"
import type { Layer } from "../oci/Layer.ts"
import * as Manifest from "../oci/Manifest.ts"
import * as MediaType from "../oci/MediaType.ts"
import * as Platform from "../oci/Platform.ts"
import * as ContentStore from "./ContentStore.ts"

export interface ImageDocuments {
  readonly manifest: Document<Manifest.Manifest>
  readonly config: Document<ImageConfig.ImageConfig>
}

/** Fails with `NotFound`, `DigestMismatch`, or an `OciError` for what is no manifest. */
export const readManifest = Effect.fnUntraced(function* (descriptor: Descriptor.Descriptor) {
  const bytes = yield* ContentStore.readBytes(descriptor)
  return yield* Effect.fromResult(Manifest.decode(bytes, descriptor.mediaType))
})

export const readConfig = Effect.fnUntraced(function* ({ value: { config } }: Document<Manifest.Manifest>) {
  const bytes = yield* ContentStore.readBytes(config)
  return yield* Effect.fromResult(ImageConfig.decode(bytes, config.mediaType))
})

/** Both, one after the other. */
export const read = Effect.fnUntraced(function* (descriptor: Descriptor.Descriptor) {
  const manifest = yield* readManifest(descriptor)
  return { manifest, config: yield* readConfig(manifest) } satisfies ImageDocuments
})

/** The manifests of an index, the likeliest first: the wanted platform's only, or this host's and then the others. */
export const candidates = (
  index: Index.Index,
  wanted: Option.Option<Platform.Platform>
): ReadonlyArray<Descriptor.Descriptor> => {
  const manifests = (index.manifests ?? []).filter(
    ({ mediaType, platform }) => MediaType.isManifest(mediaType) && platform?.os !== "unknown"
  )
  const best = Platform.select(Option.getOrElse(wanted, Platform.host), manifests, ({ platform }) => platform)
  const first = Option.toArray(best)
  return Option.isSome(wanted) ? first : [...first, ...manifests.filter((manifest) => !first.includes(manifest))]
}

/** Bottom first. */
export const layers = (
  descriptors: ReadonlyArray<Descriptor.Descriptor>,
  config: ImageConfig.ImageConfig
): ReadonlyArray<Layer> =>
  ImageConfig.diffIds(config).flatMap((diffId, i) => {
    const descriptor = descriptors[i]
    return descriptor === undefined ? [] : [{ descriptor, diffId }]
  })

/** containerd reads no manifests: what a blob refers to, its labels say (containerd docs, "Garbage Collection"). */
const manifestLabels = ({ value }: Document<Manifest.Manifest>) => ({
  "containerd.io/gc.ref.content.config": value.config.digest,
  ...Object.fromEntries((value.layers ?? []).map(({ digest }, i) => [`containerd.io/gc.ref.content.l.${i}`, digest]))
})

/** The label of a config that keeps the snapshot of its image. */
export const snapshotLabel = (snapshotter: string, chainId: ChainId.ChainId) => ({
  [`containerd.io/gc.ref.snapshot.${snapshotter}`]: chainId
})

/** Writes both at once: under the lease the order does not matter, and no image refers to them yet. */
export const write = Effect.fnUntraced(function* (
  { config, manifest }: ImageDocuments,
  configLabels: Readonly<Record<string, string>>
) {
  const store = yield* ContentStore.ContentStore
  const writeOne = ({ bytes, descriptor }: Document<unknown>, labels: Readonly<Record<string, string>>) =>
    store.writeBytes(bytes, { mediaType: descriptor.mediaType, labels })
  yield* Effect.all([writeOne(config, configLabels), writeOne(manifest, manifestLabels(manifest))], {
    concurrency: "unbounded",
    discard: true
  })
})
