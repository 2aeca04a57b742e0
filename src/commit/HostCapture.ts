/**
 * Captures on the container's own host: its upper directory is copied into the new snapshot while it is frozen, and all
 * that follows reads the copy. Cost follows the change, not the image.
 *
 * @since 0.1.0
 */
import * as Path from "node:path"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as Stream from "effect/Stream"
import { commitTarget, extract, prepareTarget } from "../core/ApplyLayer.ts"
import type { Active } from "../core/Snapshotter.ts"
import * as ChownPass from "../host/ChownPass.ts"
import * as Freezer from "../host/Freezer.ts"
import * as HostDiff from "../host/HostDiff.ts"
import { HostUnavailable } from "../host/HostUnavailable.ts"
import * as Overlay from "../host/Overlay.ts"
import { prune } from "../host/Prune.ts"
import * as Reader from "../host/Reader.ts"
import * as Shell from "../host/Shell.ts"
import * as Spool from "../host/Spool.ts"
import type { Lost } from "../layer/Concession.ts"
import * as DirectoryDiff from "../layer/DirectoryDiff.ts"
import * as GnuTar from "../layer/GnuTar.ts"
import type { LayerError } from "../layer/LayerError.ts"
import type * as RawPath from "../layer/RawPath.ts"
import { attempt } from "../layer/TarReader.ts"
import * as TarRewrite from "../layer/TarRewrite.ts"
import { writeLayer } from "../layer/WriteLayer.ts"
import * as ChainId from "../oci/ChainId.ts"
import * as Layer from "../oci/Layer.ts"
import * as MediaType from "../oci/MediaType.ts"
import type { Base } from "./Base.ts"
import type { Below, Captured, Ready } from "./Capture.ts"
import { judgeOf } from "./Omissions.ts"
import type { Request } from "./Options.ts"
import { type Freeze, VisiblePause, wanted, whileFrozen } from "./Pause.ts"
import type { Source } from "./Resolve.ts"
import { edits } from "./RewriteLayer.ts"
import { step } from "./Run.ts"

interface Prepared {
  readonly reader: Effect.Effect<Reader.Reader, HostUnavailable>
  /** None where the daemon is to do it. */
  readonly freeze: Freeze | undefined
  /** Where the container's files are copied to. */
  readonly target: Active
  readonly upper: string
  readonly container: Overlay.Overlay
  /** How many of its lower directories go into the layer, too. */
  readonly depth: number
  readonly gnuTar: GnuTar.GnuTar
}

const check = (message: string | undefined) =>
  message === undefined ? Effect.void : Effect.fail(new HostUnavailable({ message }))

/** Known without a call. */
const objection = ({ idMap, snapshot, snapshotter }: Source, below: Below): string | undefined => {
  if (snapshotter.name !== "overlayfs") return `the snapshotter is ${snapshotter.name}, not overlayfs`
  if (snapshot.kind !== "active") return "the container's snapshot cannot be written to"
  // Some of its directories may have the ids of the host, and others those of the container.
  return idMap !== undefined && below.lower !== snapshot.parent
    ? "the layer of a container in a user namespace is to hold more than its own change"
    : undefined
}

/** How many snapshots lie between the container's own and what its layer stands on. */
const depthOf = Effect.fnUntraced(function* ({ snapshot, snapshotter }: Source, { lower }: Below) {
  let depth = 0
  for (let name = snapshot.parent; name !== lower; depth++) {
    yield* check(name === "" ? "the container does not stand on what its layer is to stand on" : undefined)
    name = (yield* snapshotter.stat(name)).parent
  }
  return depth
})

/** Nobody writes to a container that does not run. */
const isStill = ({ status }: Source, { pause }: Request) => pause || status !== "running"

/**
 * A copy has the ids of the host and cannot be the snapshot. But what is not copied is read in two steps, between which it
 * must not change.
 */
const isCopied = (source: Source, request: Request) => source.idMap === undefined || !isStill(source, request)

const findTar = Effect.flatMap(
  GnuTar.find,
  Option.match({
    onSome: Effect.succeed,
    onNone: () => Effect.fail(new HostUnavailable({ message: "there is no GNU tar" }))
  })
)

/** Which the container is to be frozen by, if this host is to do it. */
const cgroupOf = Effect.fnUntraced(function* (source: Source, request: Request, { upper }: Overlay.Overlay) {
  const { id, pid } = source
  if (!wanted(source, request) || (yield* VisiblePause) || !Freezer.isIn(pid, upper)) return undefined
  return Option.getOrUndefined(Freezer.find(pid, id))
})

const makeReady = Effect.fnUntraced(function* (source: Source, below: Below, request: Request) {
  yield* check(objection(source, below))
  const { snapshot, snapshotter } = source
  const since = Date.now()
  const gnuTar = yield* findTar
  const { depth, mounts, shell, target } = yield* Effect.all(
    {
      depth: depthOf(source, below),
      mounts: snapshotter.mounts(snapshot.name),
      target: prepareTarget(snapshotter, below.target),
      shell: Shell.take
    },
    { concurrency: "unbounded" }
  )
  const [container, copy] = yield* Effect.fromResult(
    Result.all([Overlay.fromMounts(mounts), Overlay.fromMounts(target.mounts)])
  )
  yield* Effect.fromResult(Overlay.checkSeen(container, copy, since))
  yield* check(depth > container.lowers.length ? "the overlay does not show each snapshot as a directory" : undefined)
  const from = isCopied(source, request) ? "copy" : "container"
  const cgroup = yield* cgroupOf(source, request, container)
  const open = Reader.open(shell, { container, target: copy, from, depth, gnuTar, cgroup })
  const opening = yield* Effect.forkScoped(open, { startImmediately: true })
  const reader = Fiber.join(opening)
  // Where that has not been seen to work yet, no container is frozen for it.
  if (!shell.isKept) yield* reader
  return {
    reader,
    freeze: cgroup && (yield* reader).freeze(cgroup),
    target,
    upper: copy.upper,
    container,
    depth,
    gnuTar
  } satisfies Prepared
})

const toLine = ({ path, what }: Lost) => (path === "" ? what : `${path}: ${what}`)

/** What depends on the container no longer. */
interface Stable {
  readonly reader: Reader.Reader
  readonly changes: DirectoryDiff.Changes
  readonly tar: Stream.Stream<Uint8Array, LayerError>
  /** What the target holds and the tar does not say; `undefined` when it does not hold what the tar says. */
  readonly unlisted: ReadonlyArray<RawPath.RawPath> | undefined
  /** The target holds nothing. Default: a copy. */
  readonly isFree?: boolean
}

type Report = (lost: Lost) => void

const optionsOf = (
  { container: { userxattr }, gnuTar }: Prepared,
  { forLayer: inUpper, inRoot, lower }: Reader.Reader,
  source: Source,
  request: Request,
  report: Report
) => {
  const judge = Option.getOrUndefined(judgeOf(source, request))
  return { lower, userxattr, idMap: source.idMap, judge, report, gnuTar, inRoot, inUpper }
}

/** Names of a frozen container are compared meanwhile; one that does not run may be started. */
const copyAll = Effect.fnUntraced(function* (
  reader: Reader.Reader,
  prepared: Prepared,
  source: Source,
  request: Request
) {
  const compare = HostDiff.compare({ lower: reader.lower, upper: prepared.container.upper, idMap: undefined })
  const compared = wanted(source, request) ? compare : Effect.undefined
  return yield* Effect.all({ gone: reader.copy, compared }, { concurrency: 2 })
})

/** Of a container that goes on, in whose upper directory Docker has put the whole image. All where something went away. */
const copyTouched = Effect.fnUntraced(function* (
  { copy, copyOnly, lower, upper }: Reader.Reader,
  idMap: Source["idMap"],
  isUntouched: HostDiff.Trees["isUntouched"]
) {
  const found = yield* HostDiff.compare({ lower, upper, idMap, isUntouched })
  const gone = yield* copyOnly(HostDiff.touchedIn(found))
  return { gone: gone.length === 0 ? found.lost : yield* copy, compared: undefined }
})

const untouchedIn = (source: Source, { container }: Prepared) =>
  attempt(() => ChownPass.isUntouched(source, container.upper), "files")

/** Copies what the container may have touched, and reads the copy when it runs again. */
const byCopy = Effect.fnUntraced(function* (prepared: Prepared, source: Source, request: Request, report: Report) {
  const { freeze, reader: opening, upper } = prepared
  const isUntouched = source.idMap === undefined ? undefined : yield* untouchedIn(source, prepared)
  const copying = Effect.flatMap(opening, (reader) =>
    isUntouched === undefined
      ? copyAll(reader, prepared, source, request)
      : copyTouched(reader, source.idMap, isUntouched)
  )
  const { compared, gone } = yield* whileFrozen(source, request, copying, freeze)
  gone.forEach(report)
  const reader = yield* opening
  const options = { ...optionsOf(prepared, reader, source, request, report), upper }
  const { changes, tar, unlisted } = yield* HostDiff.diff(options, compared)
  return { reader, changes, tar, unlisted: gone.length === 0 ? unlisted : undefined } satisfies Stable
}, step("diff"))

/** Copies everything, too, and reads all that the layer is to hold as one directory. */
const byMerge = Effect.fnUntraced(function* (prepared: Prepared, source: Source, request: Request, report: Report) {
  const reader = yield* prepared.reader
  const gone = yield* whileFrozen(source, request, reader.copy, prepared.freeze)
  gone.forEach(report)
  const options: DirectoryDiff.Options = {
    lower: reader.lower,
    upper: yield* reader.merge,
    // All that is older than the lowest directory that goes into the layer is in what it stands on.
    since: yield* attempt(() => Overlay.madeAt(prepared.container.lowers[prepared.depth - 1]), "files"),
    judge: Option.getOrUndefined(judgeOf(source, request)),
    gnuTar: Option.some(prepared.gnuTar),
    report
  }
  const changes = yield* DirectoryDiff.find(options)
  return { reader, changes, tar: DirectoryDiff.write(changes, options), unlisted: undefined } satisfies Stable
}, step("diff"))

/** Looks for what has changed, and reads that alone. */
const bySpool = Effect.fnUntraced(function* (prepared: Prepared, source: Source, request: Request, report: Report) {
  const reader = yield* prepared.reader
  const isUntouched = yield* untouchedIn(source, prepared)
  const options = { ...optionsOf(prepared, reader, source, request, report), upper: reader.upper, isUntouched }
  // Beside what the target holds, and gone with it.
  const spool = Path.join(Path.dirname(prepared.upper), "layer.tar")
  const read = HostDiff.compare({ ...options, upper: prepared.container.upper }).pipe(
    Effect.flatMap((compared) => HostDiff.diff(options, compared)),
    Effect.tap(({ tar }) => Spool.write(tar, spool))
  )
  const { changes } = yield* whileFrozen(source, request, read, prepared.freeze)
  return { reader, changes, tar: Spool.read(spool), unlisted: undefined, isFree: true } satisfies Stable
}, step("diff"))

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

/** The copy is the snapshot, once it holds nothing else. The reader goes while the rest is written. */
const settle = Effect.fnUntraced(function* (
  { reader }: Stable,
  upper: string,
  unlisted: ReadonlyArray<RawPath.RawPath> | undefined
) {
  if (unlisted !== undefined && unlisted.length > 0) yield* reader.touch(yield* prune(upper, unlisted))
  yield* reader.close
})

/** The target is of no use where the copy in it holds something else: what is left out, other ids. */
const emptyTarget = ({ isFree }: Stable, { target }: Prepared, { snapshotter }: Source, { chainId }: Base) =>
  isFree
    ? Effect.succeed(target)
    : prepareTarget(
        snapshotter,
        Option.getOrElse(chainId, () => "")
      )

const capture = Effect.fnUntraced(function* (source: Source, prepared: Prepared, base: Base, request: Request) {
  const lost: Array<Lost> = []
  const read = prepared.depth > 0 ? byMerge : isCopied(source, request) ? byCopy : bySpool
  const stable = yield* read(prepared, source, request, (one) => lost.push(one))
  const found = lost.length
  const layer = yield* layerOf(stable, source, base, request)
  // What could not be written, or was edited on its way, is other in the copy.
  const isOther = lost.length > found || edits(source, request).length > 0
  const unlisted = isOther || Option.isNone(layer) ? undefined : stable.unlisted
  const settled = yield* Effect.forkScoped(settle(stable, prepared.upper, unlisted), { startImmediately: true })
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
      (unlisted === undefined ? extractAnew(layer) : commitCopy(layer)).pipe(step("apply"))
  } satisfies Captured<unknown>
})

/** Fails with `HostUnavailable` where the container's files cannot be read here. */
export const prepare = Effect.fnUntraced(function* (source: Source, below: Below, request: Request) {
  const prepared = yield* makeReady(source, below, request)
  return { capture: (base: Base) => capture(source, prepared, base, request) } satisfies Ready<unknown, unknown>
})
