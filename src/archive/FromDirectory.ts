/**
 * A root file system becomes an image of one layer.
 *
 * @since 0.1.0
 */
import { statSync } from "node:fs"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import type * as Result from "effect/Result"
import * as ImageDocuments from "../core/ImageDocuments.ts"
import * as Images from "../core/Images.ts"
import * as Leases from "../core/Leases.ts"
import { uniqueName } from "../core/UniqueName.ts"
import type { Lost } from "../layer/Concession.ts"
import * as DirectoryDiff from "../layer/DirectoryDiff.ts"
import * as Metadata from "../layer/Metadata.ts"
import * as Rights from "../layer/Rights.ts"
import { writeLayer } from "../layer/WriteLayer.ts"
import * as ImageConfig from "../oci/ImageConfig.ts"
import type { Layer } from "../oci/Layer.ts"
import * as Manifest from "../oci/Manifest.ts"
import * as MediaType from "../oci/MediaType.ts"
import * as Platform from "../oci/Platform.ts"
import * as Reference from "../oci/Reference.ts"
import * as Timestamp from "../oci/Timestamp.ts"
import { ArchiveError, failure } from "./ArchiveError.ts"

export interface DirectoryOptions {
  /** The image's name, normalised as Docker does. An image of that name is replaced. */
  readonly name: string
  /** What containers of the image run. Nothing by default. */
  readonly config?: ImageConfig.ContainerConfig | undefined
  /** `linux/arm64`; this host's by default. */
  readonly platform?: string | undefined
  /** RFC 3339. Now by default; with it, the same directory gives the same digests. */
  readonly created?: string | undefined
  /** Of the layer. `gzip` by default. */
  readonly compression?: MediaType.Compression | undefined
  /** The comment in the image's history; by default that it came from a directory. */
  readonly message?: string | undefined
}

export interface FromDirectory {
  readonly image: Images.Image
  readonly layer: Layer
  /** What the directory held and the layer does not (sockets, names that stand for whiteouts). */
  readonly notCarried: ReadonlyArray<Lost>
}

const parsed = <A>(result: Result.Result<A, { readonly message: string }>) =>
  Effect.mapError(Effect.fromResult(result), ({ message }) => new ArchiveError({ message }))

const check = Effect.fnUntraced(function* (directory: string, options: DirectoryOptions) {
  const isDirectory = yield* Effect.try({
    try: () => statSync(directory).isDirectory(),
    catch: failure(directory)
  })
  if (!isDirectory) return yield* new ArchiveError({ message: `${directory} is no directory` })
  const { created, name, platform } = options
  return {
    name: Reference.format(Reference.withDefaultTag(yield* parsed(Reference.parse(name)))),
    platform: platform === undefined ? Platform.host() : yield* parsed(Platform.parse(platform)),
    created:
      created === undefined ? Timestamp.fromDate(yield* DateTime.nowAsDate) : yield* parsed(Timestamp.parse(created))
  }
})

/** Who may not give files away stands for root, as in umoci's rootless mode and as `ADD` makes it. */
const owners = Effect.map(
  Rights.current,
  ({ owners, self }): Metadata.Metadata => (owners === undefined ? { ...Metadata.empty, self } : Metadata.empty)
)

const documentsOf = (
  { created, platform }: Effect.Success<ReturnType<typeof check>>,
  options: DirectoryOptions,
  layer: Layer
): ImageDocuments.ImageDocuments => {
  const config = ImageConfig.encode({
    created,
    ...platform,
    ...(options.config === undefined ? {} : { config: options.config }),
    rootfs: { type: "layers", diff_ids: [layer.diffId] },
    history: [{ created, comment: options.message ?? "imported from a directory" }]
  })
  const mediaType = MediaType.manifest("oci")
  const manifest = { schemaVersion: 2, mediaType, config: config.descriptor, layers: [layer.descriptor] } as const
  return { config, manifest: Manifest.encode(manifest, mediaType) }
}

/**
 * Makes an image of a root file system, into any backend. Nothing is held in memory.
 *
 * Owners are the directory's, and 0:0 for the files of a user who may not give files away. Everything else of the file
 * system goes along (see `DirectoryDiff.write`). Fails with `ArchiveError` for a directory that is none and for options
 * that are not well formed, before anything is written; with `LayerError` for what cannot be read.
 */
export const fromDirectory = Effect.fn("Archive.fromDirectory")(
  function* (directory: string, options: DirectoryOptions) {
    const checked = yield* check(directory, options)
    const notCarried: Array<Lost> = []
    const tar = DirectoryDiff.diff({
      lower: undefined,
      upper: directory,
      metadata: yield* owners,
      report: (lost) => notCarried.push(lost)
    })
    const layer = yield* writeLayer(tar, { compression: options.compression ?? "gzip" })
    const documents = documentsOf(checked, options, layer)
    yield* ImageDocuments.write(documents, {})
    const image: Images.Image = { name: checked.name, target: documents.manifest.descriptor, labels: {} }
    yield* Images.put(image)
    return { image, layer, notCarried } satisfies FromDirectory
  },
  (effect) => Effect.suspend(() => Leases.withLease({ id: uniqueName("effect-containerd/directory") })(effect))
)
