/**
 * Captures by the backend's differ: steps `diff`, `unremap` and `apply`.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { extract, prepareTarget } from "../core/ApplyLayer.ts"
import { ContainerdError, Unknown } from "../core/ContainerdError.ts"
import { ContentStore } from "../core/ContentStore.ts"
import { Differ } from "../core/Differ.ts"
import { Introspection } from "../core/Introspection.ts"
import type { Mount } from "../core/Mount.ts"
import type { Active } from "../core/Snapshotter.ts"
import { uniqueName } from "../core/UniqueName.ts"
import type * as Descriptor from "../oci/Descriptor.ts"
import * as Digest from "../oci/Digest.ts"
import * as Layer from "../oci/Layer.ts"
import * as MediaType from "../oci/MediaType.ts"
import type { Base } from "./Base.ts"
import type { Below, Captured, Ready } from "./Capture.ts"
import { UnsupportedCompression } from "./CommitError.ts"
import type { Request } from "./Options.ts"
import { whileFrozen } from "./Pause.ts"
import type { Source } from "./Resolve.ts"
import { isRewritten, rewriteLayer } from "./RewriteLayer.ts"
import { step } from "./Run.ts"

/** The form in which the differ writes the layer; one that will be rewritten is compressed only then. */
const diffMediaType = (source: Source, request: Request): string =>
  MediaType.layer("oci", isRewritten(source, request) ? "uncompressed" : request.compression)

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

/** What can be made ready while the container still runs. */
export interface Prepared {
  readonly lower: ReadonlyArray<Mount>
  readonly upper: ReadonlyArray<Mount>
  /** Where the layer will be extracted to. It keeps the parent's snapshot, whatever becomes of container and image. */
  readonly target: Active
}

const makeReady = Effect.fnUntraced(function* (source: Source, below: Below, request: Request) {
  const { snapshotter } = source
  const { target, upper, view } = yield* Effect.all(
    {
      view: snapshotter.view({ key: uniqueName("commit-parent"), parent: below.lower }),
      upper: mountsOf(source),
      target: prepareTarget(snapshotter, below.target),
      supported: checkSupport(diffMediaType(source, request), request)
    },
    { concurrency: "unbounded" }
  )
  return { lower: view.mounts, upper, target } satisfies Prepared
})

/** Writes the difference between the container and what it was made from. Only the reading happens under the pause. */
const diff = Effect.fnUntraced(function* (source: Source, { lower, upper }: Prepared, request: Request) {
  const differ = yield* Differ
  return yield* whileFrozen(source, request, differ.diff({ lower, upper, mediaType: diffMediaType(source, request) }))
}, step("diff"))

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

/** The layer in the form of the image: differs write OCI types only. */
const layerOf = Effect.fnUntraced(function* (
  blob: Descriptor.Descriptor,
  source: Source,
  { format }: Base,
  request: Request
) {
  const captured: Layer.Layer = { descriptor: blob, diffId: yield* diffIdOf(blob).pipe(step("diff")) }
  const mediaType = MediaType.layer(format, request.compression)
  return Option.map(yield* rewriteLayer(captured, source, request), (layer) => Layer.retyped(layer, mediaType))
})

/** Reads the container. What comes back is a blob in the content store, held by the lease. */
const capture = Effect.fnUntraced(function* (source: Source, prepared: Prepared, base: Base, request: Request) {
  const { name } = yield* Differ
  const { descriptor, notCarried } = yield* diff(source, prepared, request)
  return {
    differ: name,
    layer: yield* layerOf(descriptor, source, base, request),
    notCarried,
    snapshot: (layer: Layer.Layer) =>
      extract(source.snapshotter, prepared.target, base.chainId, layer).pipe(step("apply"))
  } satisfies Captured<unknown>
})

export const prepare = Effect.fnUntraced(function* (source: Source, below: Below, request: Request) {
  const prepared = yield* makeReady(source, below, request)
  return { capture: (base: Base) => capture(source, prepared, base, request) } satisfies Ready<unknown, unknown>
})
