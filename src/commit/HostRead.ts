/**
 * Reads a container on its own host into something that depends on it no longer: memory, where the change is small; else
 * a copy in the new snapshot, or a tar on the disk where the copy would have other ids.
 *
 * @since 0.1.0
 */
import * as Path from "node:path"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type * as Stream from "effect/Stream"
import * as ChownPass from "../host/ChownPass.ts"
import * as HostDiff from "../host/HostDiff.ts"
import * as Overlay from "../host/Overlay.ts"
import { prune } from "../host/Prune.ts"
import * as ReadAhead from "../host/ReadAhead.ts"
import type * as Reader from "../host/Reader.ts"
import * as Spool from "../host/Spool.ts"
import type { Lost } from "../layer/Concession.ts"
import * as DirectoryDiff from "../layer/DirectoryDiff.ts"
import type { LayerError } from "../layer/LayerError.ts"
import type * as RawPath from "../layer/RawPath.ts"
import { attempt } from "../layer/TarReader.ts"
import type { TreeChanges } from "../layer/TreeChanges.ts"
import type { Prepared } from "./HostReady.ts"
import { judgeOf } from "./Omissions.ts"
import type { Request } from "./Options.ts"
import { wanted, whileFrozen } from "./Pause.ts"
import type { Source } from "./Resolve.ts"
import { edits } from "./RewriteLayer.ts"
import { step } from "./Run.ts"

export interface Job {
  readonly source: Source
  readonly prepared: Prepared
  readonly request: Request
  readonly report: (lost: Lost) => void
}

/** What depends on the container no longer. */
export interface Stable {
  readonly reader: Reader.Reader
  readonly changes: DirectoryDiff.Changes
  readonly tar: Stream.Stream<Uint8Array, LayerError>
  readonly target: Holds
  /** Waits until nothing writes into the target any more. */
  readonly still?: Effect.Effect<void> | undefined
}

/** What the target holds: of `layer`, what the tar says, once `settle` is done. */
export type Holds =
  | { readonly _tag: "nothing" }
  | { readonly _tag: "other" }
  | { readonly _tag: "layer"; readonly settle: Effect.Effect<void, LayerError> }

const nothing: Holds = { _tag: "nothing" }
const other: Holds = { _tag: "other" }

type IsUntouched = HostDiff.Trees["isUntouched"]

const optionsOf = (
  { prepared, report, request, source }: Job,
  { inRoot, lower }: Reader.Reader,
  trees: Pick<HostDiff.Trees, "upper" | "isUntouched">
): HostDiff.Options => {
  const { container, gnuTar } = prepared
  const judge = Option.getOrUndefined(judgeOf(source, request))
  return { ...trees, lower, userxattr: container.userxattr, idMap: source.idMap, judge, report, gnuTar, inRoot }
}

/** What Docker put there and nobody has touched; in a user namespace only. Asked for before the container is frozen. */
const untouchedIn = ({ prepared, source }: Job) =>
  source.idMap === undefined
    ? Effect.undefined
    : attempt(() => ChownPass.isUntouched(source, prepared.container.upper), "files")

/** The copy is what the layer says once it holds nothing else. */
const settle = Effect.fnUntraced(function* (
  reader: Reader.Reader,
  upper: string,
  unlisted: ReadonlyArray<RawPath.RawPath>
) {
  if (unlisted.length === 0) return
  yield* Effect.forEach(yield* prune(upper, unlisted), reader.touch, { discard: true })
})

/** The container may go on. */
const fromCopy = Effect.fnUntraced(function* (
  job: Job,
  reader: Reader.Reader,
  gone: ReadonlyArray<Lost>,
  compared?: TreeChanges
) {
  gone.forEach(job.report)
  const { upper } = job.prepared
  const options = optionsOf(job, reader, { upper })
  const { changes, unlisted } = yield* HostDiff.diff(options, compared)
  const target: Holds =
    gone.length > 0 || unlisted === undefined ? other : { _tag: "layer", settle: settle(reader, upper, unlisted) }
  return { reader, changes, tar: HostDiff.write(changes, options, reader.later("copy")), target } satisfies Stable
})

const fromMemory = Effect.fnUntraced(function* (
  { prepared }: Job,
  reader: Reader.Reader,
  options: HostDiff.Options,
  compared: TreeChanges,
  ahead: ReadAhead.ReadAhead,
  put: Reader.Put | undefined
) {
  const { changes, unlisted } = yield* HostDiff.diff(options, compared)
  const tar = HostDiff.writeRead(changes, options, yield* ahead.tar)
  const settled = (put: Reader.Put, unlisted: ReadonlyArray<RawPath.RawPath>): Holds => ({
    _tag: "layer",
    settle: Effect.andThen(put.done, settle(reader, prepared.upper, unlisted))
  })
  const target = put === undefined ? nothing : unlisted === undefined ? other : settled(put, unlisted)
  return { reader, changes, tar, target, still: put && Effect.ignore(put.done) } satisfies Stable
})

/** Beside what the target holds, and gone with it. */
const fromDisk = Effect.fnUntraced(function* (
  { prepared }: Job,
  reader: Reader.Reader,
  options: HostDiff.Options,
  compared: TreeChanges
) {
  const spool = Path.join(Path.dirname(prepared.upper), "layer.tar")
  const { changes } = yield* HostDiff.diff(options, compared)
  yield* Spool.write(HostDiff.write(changes, options, reader.later("container")), spool)
  return { reader, changes, tar: Spool.read(spool), target: nothing } satisfies Stable
})

/** The layer is written from memory, so what the target holds is settled beside that. */
const settling = Effect.fnUntraced(function* (stable: Stable) {
  const { changes, target } = stable
  if (target._tag !== "layer" || changes.length === 0) return stable
  const settled = yield* Effect.forkScoped(target.settle, { startImmediately: true })
  return { ...stable, target: { _tag: "layer", settle: Fiber.join(settled) } } satisfies Stable
})

/** Reads a container that does not change meanwhile. Gives what is left to do when it may change again. */
const readStill = Effect.fnUntraced(function* (job: Job, reader: Reader.Reader, isUntouched: IsUntouched) {
  const { prepared, request, source } = job
  const isLarge = yield* Deferred.make<boolean>()
  const decide = (large: boolean) => Deferred.doneUnsafe(isLarge, Effect.succeed(large))
  // What is read goes into the target, too, where that is to hold the same.
  const put = edits(source, request).length === 0 ? yield* reader.put : undefined
  const ahead = yield* ReadAhead.make(reader.inUpper(), { copyTo: put?.tar, onTooMuch: () => decide(true) })
  const options = optionsOf(job, reader, { upper: reader.upper, isUntouched })
  const comparing = HostDiff.compare({ ...options, upper: prepared.container.upper, see: ahead.see })
  // What is large is copied while the rest of its names are compared.
  const copying = Effect.flatMap(Deferred.await(isLarge), (isLarge) =>
    isLarge && source.idMap === undefined ? reader.copy : Effect.undefined
  )
  const { compared, gone } = yield* Effect.all(
    { compared: Effect.tap(comparing, () => Effect.sync(() => decide(!ahead.end()))), gone: copying },
    { concurrency: 2 }
  )
  // One that does not run may have been started.
  if (gone !== undefined) return fromCopy(job, reader, gone, wanted(source, request) ? compared : undefined)
  if (yield* Deferred.await(isLarge)) return Effect.succeed(yield* fromDisk(job, reader, options, compared))
  return settling(yield* fromMemory(job, reader, options, compared, ahead, put))
}, Effect.withSpan("Host.read"))

const byStill = Effect.fnUntraced(function* (job: Job) {
  const { prepared, request, source } = job
  const isUntouched = yield* untouchedIn(job)
  const reading = Effect.flatMap(prepared.reader, (reader) => readStill(job, reader, isUntouched))
  return yield* yield* whileFrozen(source, request, reading, prepared.freeze)
}, step("diff"))

/** In whose upper directory Docker has put the whole image. All is copied where something went away. */
const copyTouched = Effect.fnUntraced(function* (
  { copy, copyOnly, lower, upper }: Reader.Reader,
  idMap: Source["idMap"],
  isUntouched: IsUntouched
) {
  const found = yield* HostDiff.compare({ lower, upper, idMap, isUntouched })
  const gone = yield* copyOnly(HostDiff.touchedIn(found))
  return gone.length === 0 ? found.lost : yield* copy
})

/** Of a container that goes on, only a copy stays as it is. */
const byCopy = Effect.fnUntraced(function* (job: Job) {
  const { prepared, request, source } = job
  const isUntouched = yield* untouchedIn(job)
  const copying = Effect.flatMap(prepared.reader, (reader) =>
    isUntouched === undefined ? reader.copy : copyTouched(reader, source.idMap, isUntouched)
  )
  const gone = yield* whileFrozen(source, request, copying, prepared.freeze)
  return yield* fromCopy(job, yield* prepared.reader, gone)
}, step("diff"))

/** Copies everything, and reads all that the layer is to hold as one directory. */
const byMerge = Effect.fnUntraced(function* ({ prepared, report, request, source }: Job) {
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
  return { reader, changes, tar: DirectoryDiff.write(changes, options), target: other } satisfies Stable
}, step("diff"))

/** Nobody writes to a container that does not run. */
const isStill = ({ request, source }: Job) => request.pause || source.status !== "running"

export const read = (job: Job) => (job.prepared.depth > 0 ? byMerge(job) : isStill(job) ? byStill(job) : byCopy(job))
