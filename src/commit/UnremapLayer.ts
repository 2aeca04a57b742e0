/**
 * Step `unremap`: a layer with the host's ids becomes one with the container's, by a rewrite of its tar headers.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { ContentStore } from "../core/ContentStore.ts"
import { compress } from "../layer/Compression.ts"
import type { IdMap } from "../layer/IdMap.ts"
import { type Layer, uncompressedLabel } from "../layer/Layer.ts"
import { unremap } from "../layer/Unremap.ts"
import * as Digest from "../oci/Digest.ts"
import { type Compression, layer as layerMediaType } from "../oci/MediaType.ts"
import { step } from "./Run.ts"

/** Takes an *uncompressed* layer and writes the compressed one. One pass; memory does not grow with the layer. */
export const unremapLayer = Effect.fnUntraced(function* (layer: Layer, ids: IdMap, compression: Compression) {
  const store = yield* ContentStore
  const tar = Digest.hasher()
  const stream = store.read(layer.descriptor.digest).pipe(
    unremap(ids),
    Stream.tap((chunk) => Effect.sync(() => tar.update(chunk))),
    compress(compression)
  )
  const descriptor = yield* store.write(stream, { mediaType: layerMediaType("oci", compression) })
  const diffId = tar.digest()
  if (compression !== "uncompressed") yield* store.setLabels(descriptor.digest, { [uncompressedLabel]: diffId })
  return { descriptor, diffId } satisfies Layer
}, step("unremap"))
