/**
 * Step `unremap`: what the differ wrote becomes the layer that was asked for, by a rewrite of its tar headers.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { ContentStore } from "../core/ContentStore.ts"
import * as TarRewrite from "../layer/TarRewrite.ts"
import { unremap } from "../layer/Unremap.ts"
import * as Whiteout from "../layer/Whiteout.ts"
import { writeLayer } from "../layer/WriteLayer.ts"
import type { Layer } from "../oci/Layer.ts"
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

/** Takes an *uncompressed* layer and writes the compressed one. */
export const rewriteLayer = Effect.fnUntraced(function* (layer: Layer, request: Request) {
  const store = yield* ContentStore
  const tar = store.read(layer.descriptor.digest).pipe(TarRewrite.rewrite(TarRewrite.all(edits(request))))
  return yield* writeLayer(tar, request.compression)
}, step("unremap"))
