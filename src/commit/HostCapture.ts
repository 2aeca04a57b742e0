/**
 * Captures on the container's own host: what has changed is read there, and with it the new snapshot is filled. Cost
 * follows the change, not the image.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import { commitTarget, extract, prepareTarget } from "../core/ApplyLayer.ts"
import type { Lost } from "../layer/Concession.ts"
import * as TarRewrite from "../layer/TarRewrite.ts"
import { writeLayer } from "../layer/WriteLayer.ts"
import * as ChainId from "../oci/ChainId.ts"
import * as Layer from "../oci/Layer.ts"
import * as MediaType from "../oci/MediaType.ts"
import type { Base } from "./Base.ts"
import type { Below, Captured, Ready } from "./Capture.ts"
import { read, type Stable } from "./HostRead.ts"
import { makeReady, type Prepared } from "./HostReady.ts"
import type { Request } from "./Options.ts"
import type { Source } from "./Resolve.ts"
import { edits } from "./RewriteLayer.ts"
import { step } from "./Run.ts"

const toLine = ({ path, what }: Lost) => (path === "" ? what : `${path}: ${what}`)

/** None when nothing changed. */
const layerOf = Effect.fnUntraced(function* (
  { changes, tar }: Stable,
  source: Source,
  { format }: Base,
  request: Request
) {
  if (changes.length === 0) return Option.none<Layer.Layer>()
  const edit = edits(source, request)
  const layer = yield* writeLayer(edit.length === 0 ? tar : TarRewrite.rewrite(TarRewrite.all(edit))(tar), request)
  return Option.some(Layer.retyped(layer, MediaType.layer(format, request.compression)))
}, step("unremap"))

/** The target is of no use where it holds something else: what is left out, other ids. */
const emptyTarget = ({ target: { _tag } }: Stable, { target }: Prepared, { snapshotter }: Source, { chainId }: Base) =>
  _tag === "nothing"
    ? Effect.succeed(target)
    : prepareTarget(
        snapshotter,
        Option.getOrElse(chainId, () => "")
      )

const capture = Effect.fnUntraced(function* (source: Source, prepared: Prepared, base: Base, request: Request) {
  const lost: Array<Lost> = []
  const stable: Stable = yield* read({ source, prepared, request, report: (one) => lost.push(one) })
  const { reader, target: holds } = stable
  const found = lost.length
  const layer = yield* layerOf(stable, source, base, request)
  if (Option.isNone(layer)) {
    const dropping = Effect.andThen(stable.still ?? Effect.void, prepared.dropTarget)
    yield* Effect.forkScoped(dropping, { startImmediately: true })
  }
  // What could not be written, or was edited on its way, is other in the target.
  const isOther = Option.isNone(layer) || lost.length > found || edits(source, request).length > 0
  const settle = isOther || holds._tag !== "layer" ? undefined : holds.settle
  // The reader goes while the rest is written.
  const settling = Effect.andThen(settle ?? Effect.void, reader.close)
  const settled = yield* Effect.forkScoped(settling, { startImmediately: true })
  const { snapshotter } = source
  const commitCopy = ({ diffId }: Layer.Layer) =>
    Effect.andThen(
      Fiber.join(settled),
      commitTarget(snapshotter, prepared.target, ChainId.append(base.chainId, diffId))
    )
  const extractAnew = (layer: Layer.Layer) =>
    Effect.flatMap(emptyTarget(stable, prepared, source, base), (target) =>
      extract(snapshotter, target, base.chainId, layer)
    )
  return {
    differ: "host",
    layer,
    notCarried: lost.map(toLine),
    snapshot: (layer: Layer.Layer) =>
      (settle === undefined ? extractAnew(layer) : commitCopy(layer)).pipe(step("apply"))
  } satisfies Captured<unknown>
})

/** Fails with `HostUnavailable` where the container's files cannot be read here. */
export const prepare = Effect.fnUntraced(function* (source: Source, below: Below, request: Request) {
  const prepared = yield* makeReady(source, below, request)
  return { capture: (base: Base) => capture(source, prepared, base, request) } satisfies Ready<unknown, unknown>
})
