/**
 * The media types of images: OCI image-spec (media-types.md), Docker's image manifest version 2 schema 2, and containerd's EROFS layers.
 * As in containerd they are compared as they stand: another case or a parameter makes another, unknown type.
 * Unknown types are data, not errors. Docker's schema 1 counts as unknown.
 */
import * as Option from "effect/Option"

export type Format = "oci" | "docker"
export type Compression = "gzip" | "zstd" | "uncompressed"

export const ociIndex = "application/vnd.oci.image.index.v1+json"
export const ociManifest = "application/vnd.oci.image.manifest.v1+json"
export const ociConfig = "application/vnd.oci.image.config.v1+json"
export const ociLayer = "application/vnd.oci.image.layer.v1.tar"
export const ociLayerGzip = "application/vnd.oci.image.layer.v1.tar+gzip"
export const ociLayerZstd = "application/vnd.oci.image.layer.v1.tar+zstd"
export const ociNondistributableLayer = "application/vnd.oci.image.layer.nondistributable.v1.tar"
export const ociNondistributableLayerGzip = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
export const ociNondistributableLayerZstd = "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"

export const dockerManifestList = "application/vnd.docker.distribution.manifest.list.v2+json"
export const dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
export const dockerConfig = "application/vnd.docker.container.image.v1+json"
export const dockerLayer = "application/vnd.docker.image.rootfs.diff.tar"
export const dockerLayerGzip = "application/vnd.docker.image.rootfs.diff.tar.gzip"
export const dockerLayerZstd = "application/vnd.docker.image.rootfs.diff.tar.zstd"
export const dockerForeignLayer = "application/vnd.docker.image.rootfs.foreign.diff.tar"
export const dockerForeignLayerGzip = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"

export const erofsLayer = "application/vnd.erofs.layer.v1"

export const isIndex = (mediaType: string): boolean => mediaType === ociIndex || mediaType === dockerManifestList

export const isManifest = (mediaType: string): boolean => mediaType === ociManifest || mediaType === dockerManifest

export const isConfig = (mediaType: string): boolean => mediaType === ociConfig || mediaType === dockerConfig

const namedLayers = new Set([
  dockerLayer,
  dockerLayerGzip,
  dockerLayerZstd,
  dockerForeignLayer,
  dockerForeignLayerGzip,
  erofsLayer
])

const withoutSuffix = (mediaType: string) => mediaType.replace(/\+.*$/s, "")

/** Any `application/vnd.oci.image.layer.*`, and Docker's and EROFS layers with or without a suffix such as `+encrypted`. */
export const isLayer = (mediaType: string): boolean =>
  mediaType.startsWith("application/vnd.oci.image.layer.") || namedLayers.has(withoutSuffix(mediaType))

/** Whose type it is. None for anything else, EROFS layers and artifacts included. */
export const format = (mediaType: string): Option.Option<Format> => {
  if (mediaType.startsWith("application/vnd.oci.")) return Option.some("oci")
  if (mediaType.startsWith("application/vnd.docker.")) return Option.some("docker")
  return Option.none()
}

const compressions = new Map<string, Compression>([
  [ociLayer, "uncompressed"],
  [ociLayerGzip, "gzip"],
  [ociLayerZstd, "zstd"],
  [ociNondistributableLayer, "uncompressed"],
  [ociNondistributableLayerGzip, "gzip"],
  [ociNondistributableLayerZstd, "zstd"],
  [dockerLayerGzip, "gzip"],
  [dockerLayerZstd, "zstd"],
  [dockerForeignLayerGzip, "gzip"]
])

/**
 * How a layer's tar is compressed, as far as the type tells. None when it does not: EROFS, encrypted and unknown layers, and Docker's
 * plain `diff.tar`, which old pushes used for compressed layers too (containerd looks at the bytes, so must the caller).
 */
export const compression = (mediaType: string): Option.Option<Compression> =>
  Option.fromUndefinedOr(compressions.get(mediaType))

const layers = {
  oci: { uncompressed: ociLayer, gzip: ociLayerGzip, zstd: ociLayerZstd },
  docker: { uncompressed: dockerLayer, gzip: dockerLayerGzip, zstd: dockerLayerZstd }
} as const

export const layer = (format: Format, compression: Compression): string => layers[format][compression]

export const manifest = (format: Format): string => (format === "oci" ? ociManifest : dockerManifest)

export const config = (format: Format): string => (format === "oci" ? ociConfig : dockerConfig)
