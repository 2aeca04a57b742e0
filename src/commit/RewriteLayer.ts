/**
 * Step `unremap`: what the differ wrote becomes the layer that was asked for, by a rewrite of its tar headers.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { ContentStore } from "../core/ContentStore.ts"
import { compress } from "../layer/Compression.ts"
import * as TarRewrite from "../layer/TarRewrite.ts"
import { unremap } from "../layer/Unremap.ts"
import * as Whiteout from "../layer/Whiteout.ts"
import * as Digest from "../oci/Digest.ts"
import { type Layer, uncompressedLabel } from "../oci/Layer.ts"
import * as MediaType from "../oci/MediaType.ts"
import type { Request } from "./Options.ts"
import { step } from "./Run.ts"

/**
 * What has to be edited: ids for a container in a user namespace, and times that would differ between two runs for an
 * image with a given time. None for most commits.
 */
export const edits = (request: Request): ReadonlyArray<TarRewrite.Edit> => [
  ...(request.idMap === undefined ? [] : [unremap(request.idMap)]),
  ...(Option.isNone(request.created) ? [] : [Whiteout.timeless])
]

/** Takes an *uncompressed* layer and writes the compressed one. One pass; memory does not grow with the layer. */
export const rewriteLayer = Effect.fnUntraced(function* (layer: Layer, request: Request) {
  const store = yield* ContentStore
  const tar = Digest.hasher()
  const stream = store.read(layer.descriptor.digest).pipe(
    TarRewrite.rewrite(TarRewrite.all(edits(request))),
    Stream.tap((chunk) => Effect.sync(() => tar.update(chunk))),
    compress(request.compression)
  )
  const descriptor = yield* store.write(stream, { mediaType: MediaType.layer("oci", request.compression) })
  const diffId = tar.digest()
  if (request.compression !== "uncompressed") {
    yield* store.setLabels(descriptor.digest, { [uncompressedLabel]: diffId })
  }
  return { descriptor, diffId } satisfies Layer
}, step("unremap"))
