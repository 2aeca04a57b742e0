/**
 * Captures by the backend's differ: steps `diff`, `unremap` and `apply`.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { ContainerdError, Unknown } from "../core/ContainerdError.ts"
import { ContentStore } from "../core/ContentStore.ts"
import { Differ } from "../core/Differ.ts"
import { Introspection } from "../core/Introspection.ts"
import * as Layer from "../layer/Layer.ts"
import type * as Descriptor from "../oci/Descriptor.ts"
import * as Digest from "../oci/Digest.ts"
import * as MediaType from "../oci/MediaType.ts"
import { applyLayer } from "./ApplyLayer.ts"
import type { Captured } from "./Capture.ts"
import { UnsupportedCompression } from "./CommitError.ts"
import type { Request } from "./Options.ts"
import { layersOf, type Parent } from "./ParentImage.ts"
import { whilePaused } from "./Pause.ts"
import type { Source } from "./Resolve.ts"
import { step } from "./Run.ts"
import { uniqueName } from "./UniqueName.ts"
import { unpackLayers } from "./Unpack.ts"
import { unremapLayer } from "./UnremapLayer.ts"

/** What containerd's walking differ cannot put into a layer, in every version up to 2.3. */
export const notCarried: ReadonlyArray<string> = [
  "extended attributes other than security.capability, ACLs among them",
  "fractions of a second in modification times",
  "holes of sparse files",
  "sockets"
]

/** The form in which the differ writes the layer; one that will be rewritten is compressed only then. */
const diffMediaType = (request: Request): string =>
  MediaType.layer("oci", request.idMap === undefined ? request.compression : "uncompressed")

const checkSupport = Effect.fnUntraced(function* (mediaType: string, request: Request) {
  const differ = yield* Differ
  if (yield* differ.supports(mediaType)) return
  const introspection = yield* Introspection
  const version = yield* Effect.orElseSucceed(introspection.version, () => "this backend")
  return yield* new UnsupportedCompression({
    message: `the differ of ${version} cannot write ${request.compression} layers: use gzip or uncompressed`
  })
})

const mountsOf = Effect.fnUntraced(function* ({ snapshot, snapshotter }: Source) {
  if (snapshot.kind !== "committed") return yield* snapshotter.mounts(snapshot.name)
  return (yield* snapshotter.view({ key: uniqueName("commit-view"), parent: snapshot.name })).mounts
})

/** Writes the difference between the container and what it was made from. Only the reading happens under the pause. */
const diff = Effect.fnUntraced(
  function* (source: Source, request: Request) {
    const differ = yield* Differ
    const mediaType = diffMediaType(request)
    const [view, upper] = yield* Effect.all(
      [
        source.snapshotter.view({ key: uniqueName("commit-parent"), parent: source.snapshot.parent }),
        mountsOf(source),
        checkSupport(mediaType, request)
      ],
      { concurrency: "unbounded" }
    )
    return yield* whilePaused(source, request)(differ.diff({ lower: view.mounts, upper, mediaType }))
  },
  Effect.scoped,
  step("diff")
)

const diffIdOf = Effect.fnUntraced(function* (blob: Descriptor.Descriptor) {
  const compression = MediaType.compression(blob.mediaType)
  if (Option.isSome(compression) && compression.value === "uncompressed") return blob.digest
  const store = yield* ContentStore
  const { labels } = yield* store.info(blob.digest)
  return yield* Effect.fromResult(Digest.parse(labels[Layer.uncompressedLabel] ?? "")).pipe(
    Effect.mapError(() => {
      const message = `the differ gave no diffID for ${blob.digest} (label ${Layer.uncompressedLabel})`
      return new ContainerdError({ method: "Differ.diff", reason: new Unknown({ message }) })
    })
  )
})

/**
 * The layer in the parent's form: containerd's differ writes OCI types only, and consumers refuse manifests whose types
 * are mixed (containers/image).
 */
const layerOf = Effect.fnUntraced(function* (blob: Descriptor.Descriptor, parent: Parent, request: Request) {
  const diffId = yield* diffIdOf(blob).pipe(step("diff"))
  if (diffId === Layer.emptyDiffId) return Option.none<Layer.Layer>()
  const captured: Layer.Layer = { descriptor: blob, diffId }
  const layer =
    request.idMap === undefined ? captured : yield* unremapLayer(captured, request.idMap, request.compression)
  return Option.some(Layer.retyped(layer, MediaType.layer(parent.format, request.compression)))
})

const apply = Effect.fnUntraced(function* (source: Source, parent: Parent, layer: Layer.Layer) {
  return yield* applyLayer(source.snapshotter, parent.chainId, layer).pipe(
    // The parent's snapshot goes with the container, when somebody removes both meanwhile.
    Effect.catchReason("ContainerdError", "NotFound", () =>
      Effect.andThen(
        unpackLayers(source.snapshotter, layersOf(parent)),
        applyLayer(source.snapshotter, parent.chainId, layer)
      )
    )
  )
}, step("apply"))

/** Reads the container. What comes back is a blob in the content store, held by the lease. */
export const capture = Effect.fnUntraced(function* (source: Source, parent: Parent, request: Request) {
  const blob = yield* diff(source, request)
  return {
    layer: layerOf(blob, parent, request),
    snapshot: (layer: Layer.Layer) => apply(source, parent, layer)
  } satisfies Captured<unknown>
})
