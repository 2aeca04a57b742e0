/**
 * What of the parent goes into the new image: all of its layers, but for `squash` and `replaceTop`, in the form that was
 * asked for.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Image } from "../core/Images.ts"
import * as ChainId from "../oci/ChainId.ts"
import * as ImageConfig from "../oci/ImageConfig.ts"
import { type Layer, retyped } from "../oci/Layer.ts"
import * as MediaType from "../oci/MediaType.ts"
import { checkIndex } from "./AddToIndex.ts"
import { InvalidOption, TooManyLayers } from "./CommitError.ts"
import { newContainerConfig } from "./MergeConfig.ts"
import type { Request } from "./Options.ts"
import { layersOf, type Parent, readParent } from "./ParentImage.ts"
import type { Source } from "./Resolve.ts"
import { step } from "./Run.ts"

export interface Base {
  /** The parent; none for a container without an image. */
  readonly image: Option.Option<Image>
  /** Of the new image. */
  readonly format: MediaType.Format
  /** The parent's, as it is. */
  readonly config: ImageConfig.ImageConfig
  /** What the new image runs. */
  readonly containerConfig: ImageConfig.ContainerConfig | null | undefined
  /** Those that stay, bottom first. */
  readonly layers: ReadonlyArray<Layer>
  readonly history: ReadonlyArray<ImageConfig.History>
  /** Of these layers; the new one is what the container has over that snapshot. */
  readonly chainId: Option.Option<ChainId.ChainId>
}

/** The annotation of a layer that `replaceTop` may replace: the container that it came from. */
export const containerAnnotation = "effect-containerd/container"

type Container = Pick<Source, "config" | "id" | "spec">

const keptLayers = (
  layers: ReadonlyArray<Layer>,
  { id }: Container,
  { replaceTop, squash = false }: Request
): number => {
  if (squash === true) return 0
  if (squash !== false) return Math.max(layers.length - squash, 0)
  const top = layers.at(-1)?.descriptor.annotations?.[containerAnnotation]
  return replaceTop === true && top === id ? layers.length - 1 : layers.length
}

/** What was squashed stays told, as steps without a layer (as `docker build --squash` does it). */
const squashed = (history: ReadonlyArray<ImageConfig.History>, kept: number): ReadonlyArray<ImageConfig.History> => {
  let seen = 0
  return history.map((step) => {
    if (step.empty_layer === true) return step
    seen += 1
    return seen > kept ? { ...step, empty_layer: true } : step
  })
}

/** Up to the step of the first layer that goes. */
const replaced = (history: ReadonlyArray<ImageConfig.History>, kept: number): ReadonlyArray<ImageConfig.History> => {
  let seen = 0
  const end = history.findIndex((step) => step.empty_layer !== true && ++seen > kept)
  return end < 0 ? history : history.slice(0, end)
}

const historyOf = (parent: Parent, kept: number, { history, replaceTop }: Request) => {
  if (history === "omit") return []
  const steps = ImageConfig.history(parent.config)
  return replaceTop === true ? replaced(steps, kept) : squashed(steps, kept)
}

/** Fails for annotations and for zstd where there is no place for them. */
const formatOf = (parent: Parent, request: Request): Effect.Effect<MediaType.Format, InvalidOption> => {
  const format = request.format === "auto" ? parent.format : request.format
  const refuse = (option: "annotations" | "compression", what: string) => {
    const message = `the parent's manifest is of Docker's form, which has no ${what}, or give the format oci`
    return Effect.fail(new InvalidOption({ option, message }))
  }
  if (format !== "docker") return Effect.succeed(format)
  if (request.annotations !== undefined) return refuse("annotations", "annotations: leave them out")
  return request.compression === "zstd"
    ? refuse("compression", "layers of zstd (podman and skopeo refuse them): give the compression gzip")
    : Effect.succeed(format)
}

/** Docker's plain type is taken for what it says: uncompressed. */
const compressionOf = (mediaType: string): Option.Option<MediaType.Compression> =>
  mediaType === MediaType.dockerLayer ? Option.some("uncompressed") : MediaType.compression(mediaType)

/** A manifest has types of one side only, for strict consumers refuse a mixture (containers/image #2972). */
const retype = (layer: Layer, format: MediaType.Format): Effect.Effect<Layer, InvalidOption> => {
  const { digest, mediaType } = layer.descriptor
  if (Option.contains(MediaType.format(mediaType), format)) return Effect.succeed(layer)
  // There is a type for zstd in Docker's form, which only containerd and Docker know.
  const readable = Option.filter(compressionOf(mediaType), (one) => format === "oci" || one !== "zstd")
  return Option.match(readable, {
    onSome: (compression) => Effect.succeed(retyped(layer, MediaType.layer(format, compression))),
    onNone: () => {
      const advice = Option.match(MediaType.format(mediaType), {
        onNone: () => "squash it",
        onSome: (other) => `give the format ${other}, or squash it`
      })
      const message = `the layer ${digest} is of the type ${mediaType}, which an image of the format ${format} cannot have: ${advice}`
      return Effect.fail(new InvalidOption({ option: "format", message }))
    }
  })
}

const checkCount = (kept: number, { maxLayers }: Request) => {
  if (kept < maxLayers) return Effect.void
  const message = `the image would have ${kept + 1} layers, and at most ${maxLayers} are allowed: squash them, replace the top layer from the first commit on, or allow more`
  return Effect.fail(new TooManyLayers({ message }))
}

const containerConfigOf = ({ config }: Parent, source: Container, request: Request) =>
  Effect.mapError(
    Effect.fromResult(newContainerConfig(config.config, source, request)),
    (cause) => new InvalidOption({ option: "changes", message: cause.message, cause })
  )

/** Without a call. */
export const baseOf = Effect.fnUntraced(function* (parent: Parent, source: Container, request: Request) {
  const all = layersOf(parent)
  const kept = keptLayers(all, source, request)
  yield* checkCount(kept, request)
  const format = yield* formatOf(parent, request)
  const layers = yield* Effect.forEach(all.slice(0, kept), (layer) => retype(layer, format))
  return {
    image: parent.image,
    format,
    config: parent.config,
    containerConfig: yield* containerConfigOf(parent, source, request),
    layers,
    history: historyOf(parent, kept, request),
    chainId: ChainId.fromDiffIds(layers.map(({ diffId }) => diffId))
  } satisfies Base
})

/** Fails when the image is not whole, is not the one that the container stands on, or cannot be built on as asked. */
export const readBase = Effect.fnUntraced(function* (source: Source, request: Request) {
  if (request.manifest !== undefined) yield* checkIndex(request.manifest)
  return yield* baseOf(yield* readParent(source, request), source, request)
}, step("readParent"))
