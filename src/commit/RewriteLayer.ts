/**
 * Step `unremap`: what the differ wrote becomes the layer that was asked for, by a rewrite of its tar.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { ContentStore } from "../core/ContentStore.ts"
import { clampTimes } from "../layer/ClampTimes.ts"
import { decompress } from "../layer/Compression.ts"
import { type Omissions, omit, scan } from "../layer/Omit.ts"
import * as TarRewrite from "../layer/TarRewrite.ts"
import { unremap } from "../layer/Unremap.ts"
import * as Whiteout from "../layer/Whiteout.ts"
import { writeLayer } from "../layer/WriteLayer.ts"
import { emptyDiffId, type Layer } from "../oci/Layer.ts"
import * as Timestamp from "../oci/Timestamp.ts"
import { judgeOf } from "./Omissions.ts"
import type { Request } from "./Options.ts"
import type { Source } from "./Resolve.ts"
import { step } from "./Run.ts"

/**
 * What has to be edited: ids for a container in a user namespace, and times that would differ between two runs for an
 * image with a given time. None for most commits.
 */
export const edits = ({ idMap }: Source, { created, rewriteTimestamp }: Request): ReadonlyArray<TarRewrite.Edit> => [
  ...(idMap === undefined ? [] : [unremap(idMap)]),
  ...(Option.isNone(created) ? [] : [Whiteout.timeless]),
  ...(Option.isSome(created) && rewriteTimestamp === true ? [clampTimes(Timestamp.toUnix(created.value).seconds)] : [])
]

/** It is known before the differ runs that its layer will be rewritten, so it need not compress. */
export const isRewritten = (source: Source, request: Request): boolean =>
  edits(source, request).length > 0 ||
  request.compressionLevel !== undefined ||
  request.compressor !== "auto" ||
  request.exclude.length > 0 ||
  request.include.length > 0

const tarOf = ({ descriptor }: Layer) => ContentStore.useSync((store) => store.read(descriptor.digest).pipe(decompress))

const nothing: Omissions = { omitted: new Set(), moved: new Map(), kept: 1 }

/** Usually there is nothing to leave out; only a reading of the layer tells. */
const omissionsOf = Effect.fnUntraced(function* (layer: Layer, source: Source, request: Request) {
  const judge = judgeOf(source, request)
  return Option.isNone(judge) ? nothing : yield* scan(yield* tarOf(layer), judge.value)
})

/** One more pass where something is to be changed; memory does not grow with the layer. None when nothing is left of it. */
export const rewriteLayer = Effect.fnUntraced(function* (layer: Layer, source: Source, request: Request) {
  if (layer.diffId === emptyDiffId) return Option.none<Layer>()
  const omissions = yield* omissionsOf(layer, source, request)
  if (omissions.kept === 0) return Option.none<Layer>()
  const isWhole = omissions.omitted.size === 0
  if (isWhole && !isRewritten(source, request)) return Option.some(layer)
  const all = TarRewrite.all([...(isWhole ? [] : [omit(omissions)]), ...edits(source, request)])
  const tar = (yield* tarOf(layer)).pipe(TarRewrite.rewrite(all))
  return Option.some(yield* writeLayer(tar, request))
}, step("unremap"))
