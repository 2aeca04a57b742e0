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
import * as ImageConfig from "../oci/ImageConfig.ts"
import type { Layer } from "../oci/Layer.ts"
import * as Manifest from "../oci/Manifest.ts"
import * as MediaType from "../oci/MediaType.ts"
import type { Timestamp } from "../oci/Timestamp.ts"
import type { Request } from "./Options.ts"
import type { Parent } from "./ParentImage.ts"
import type { Source } from "./Resolve.ts"

const historyEntry = (
  source: Source,
  request: Request,
  created: Timestamp,
  author: string | undefined,
  isEmpty: boolean
): ImageConfig.History => ({
  created,
  created_by: request.createdBy ?? source.command,
  ...(author === undefined ? {} : { author }),
  ...(request.message === undefined ? {} : { comment: request.message }),
  ...(isEmpty ? { empty_layer: true } : {})
})

const newConfig = (
  source: Source,
  parent: Parent,
  layer: Option.Option<Layer>,
  request: Request,
  created: Timestamp
): ImageConfig.ImageConfig => {
  const author = request.author ?? parent.config.author
  const diffIds = [...ImageConfig.diffIds(parent.config), ...Option.toArray(layer).map(({ diffId }) => diffId)]
  return {
    ...parent.config,
    created,
    ...(author === undefined ? {} : { author }),
    ...(request.config === undefined ? {} : { config: request.config }),
    rootfs: { ...parent.config.rootfs, diff_ids: diffIds },
    history: [
      ...ImageConfig.history(parent.config),
      historyEntry(source, request, created, author, Option.isNone(layer))
    ]
  }
}

/**
 * Annotations, subject and artifact type of the parent's manifest are about the parent, so they do not go over to the
 * new manifest; those of its layers do.
 */
export const newImage = (
  source: Source,
  parent: Parent,
  layer: Option.Option<Layer>,
  request: Request,
  created: Timestamp
): ImageDocuments => {
  const config = ImageConfig.encode(newConfig(source, parent, layer, request, created), MediaType.config(parent.format))
  const mediaType = MediaType.manifest(parent.format)
  const layers = [...parent.layers, ...Option.toArray(layer).map(({ descriptor }) => descriptor)]
  const manifest = Manifest.encode({ schemaVersion: 2, mediaType, config: config.descriptor, layers }, mediaType)
  return { config, manifest }
}
