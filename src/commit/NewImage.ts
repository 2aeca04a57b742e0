/**
 * The documents of the new image: pure, from the parent's documents and the new layer.
 *
 * Follows moby's `CommitImage` (daemon/containerd/image_commit.go) in what goes where, and keeps what that drops: the
 * variant and the os features of the platform, and every key it does not know.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import type { ImageDocuments } from "../core/ImageDocuments.ts"
import type * as Descriptor from "../oci/Descriptor.ts"
import * as ImageConfig from "../oci/ImageConfig.ts"
import type { Layer } from "../oci/Layer.ts"
import * as Manifest from "../oci/Manifest.ts"
import * as MediaType from "../oci/MediaType.ts"
import type { Timestamp } from "../oci/Timestamp.ts"
import { type Base, containerAnnotation } from "./Base.ts"
import type { Request } from "./Options.ts"
import type { Source } from "./Resolve.ts"

const commandOf = ({ spec }: Source): string => spec.process?.args?.join(" ") ?? ""

const historyEntry = (
  source: Source,
  request: Request,
  created: Timestamp,
  author: string | undefined,
  isEmpty: boolean
): ImageConfig.History => ({
  created,
  created_by: request.createdBy ?? commandOf(source),
  ...(author === undefined ? {} : { author }),
  ...(request.message === undefined ? {} : { comment: request.message }),
  ...(isEmpty ? { empty_layer: true } : {})
})

const newConfig = (
  source: Source,
  base: Base,
  layer: Option.Option<Layer>,
  request: Request,
  created: Timestamp
): ImageConfig.ImageConfig => {
  const { history: _, ...parent } = base.config
  const author = request.author ?? parent.author
  const diffIds = [...base.layers, ...Option.toArray(layer)].map(({ diffId }) => diffId)
  const entry = historyEntry(source, request, created, author, Option.isNone(layer))
  return {
    ...parent,
    created,
    ...(author === undefined ? {} : { author }),
    ...(base.containerConfig === undefined ? {} : { config: base.containerConfig }),
    rootfs: { ...parent.rootfs, diff_ids: diffIds },
    ...(request.history === "omit" ? {} : { history: [...base.history, entry] })
  }
}

/** Says whose layer it is, for the next commit that may replace it. */
const marked = ({ descriptor }: Layer, { id }: Source, { replaceTop }: Request): Descriptor.Descriptor =>
  replaceTop === true
    ? { ...descriptor, annotations: { ...descriptor.annotations, [containerAnnotation]: id } }
    : descriptor

/**
 * Annotations, subject and artifact type of the parent's manifest are about the parent, so they do not go over to the
 * new manifest; those of its layers do.
 */
export const newImage = (
  source: Source,
  base: Base,
  layer: Option.Option<Layer>,
  request: Request,
  created: Timestamp
): ImageDocuments => {
  const config = ImageConfig.encode(newConfig(source, base, layer, request, created), MediaType.config(base.format))
  const mediaType = MediaType.manifest(base.format)
  const layers = [
    ...base.layers.map(({ descriptor }) => descriptor),
    ...Option.toArray(layer).map((one) => marked(one, source, request))
  ]
  const annotations = request.annotations === undefined ? {} : { annotations: request.annotations }
  const manifest = { schemaVersion: 2, mediaType, config: config.descriptor, layers, ...annotations } as const
  return { config, manifest: Manifest.encode(manifest, mediaType) }
}
