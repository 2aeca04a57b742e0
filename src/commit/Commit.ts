/**
 * Commits a container into a new image.
 *
 * moby's `CommitImage` (daemon/containerd/image_commit.go) as a program of scoped steps, with the order changed so
 * that all or nothing is visible: the image record is written last, when everything it refers to is there.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import type { Image } from "../core/Images.ts"
import * as ChainId from "../oci/ChainId.ts"
import type * as Descriptor from "../oci/Descriptor.ts"
import type * as ImageConfig from "../oci/ImageConfig.ts"
import type { Layer } from "../oci/Layer.ts"
import * as Timestamp from "../oci/Timestamp.ts"
import { lockIndex } from "./AddToIndex.ts"
import { type Base, readBase } from "./Base.ts"
import { prepare } from "./ChooseCapture.ts"
import { withCommitLease } from "./CommitLease.ts"
import { createImages } from "./CreateImage.ts"
import { newImage } from "./NewImage.ts"
import { type CommitOptions, check, type Request } from "./Options.ts"
import { imageSnapshot, resolve, type Source } from "./Resolve.ts"
import { Run, step, type Timings } from "./Run.ts"
import { meet, together } from "./Together.ts"
import { unpack } from "./Unpack.ts"
import { writeContent } from "./WriteContent.ts"

export { type CommitOptions, DefaultDiffer, type DifferChoice } from "./Options.ts"
export { VisiblePause } from "./Pause.ts"
export { type Recovered, recover } from "./Recover.ts"
export { type Event, Progress, type Timings } from "./Run.ts"

/** The image that a commit made. */
export interface Committed {
  /** The record of the first name; its target is the manifest. */
  readonly image: Image
  /** The records of all names. */
  readonly images: ReadonlyArray<Image>
  readonly config: Descriptor.Descriptor
  /** The new layer, typed as in the manifest; none when the container had not changed. */
  readonly layer: Option.Option<Layer>
  /** Of all layers: the name of the image's snapshot. None for an image without layers. */
  readonly chainId: Option.Option<ChainId.ChainId>
  /** The image that the container was made from. */
  readonly parent: Option.Option<Image>
  /** The index that the image was added to. */
  readonly index: Option.Option<Image>
  /** Other images that had these names before. */
  readonly replaced: ReadonlyArray<Image>
  readonly snapshotter: string
  /** Which way the container was read: `containerd` by the daemon's differ, `directory` by the embedded one, `host` on this host's file system. */
  readonly differ: string
  /** What the container held and the layer does not, a line each: for people. */
  readonly notCarried: ReadonlyArray<string>
  /** How long the container was frozen, in milliseconds; 0 when it was not. */
  readonly pausedMs: number
  readonly durationMs: number
  readonly steps: Timings
}

const createdOf = (request: Request) =>
  Option.match(request.created, {
    onSome: Effect.succeed,
    onNone: () => Effect.map(DateTime.nowAsDate, Timestamp.fromDate)
  })

/** What the container is compared with, and what the new layer will stand on. Usually nothing has to be read to know it. */
const belowOf = <E, R>(source: Source, base: Effect.Effect<Base, E, R>, request: Request) => {
  const { parent } = source.snapshot
  const isWhole = request.replaceTop !== true && (request.squash ?? false) === false
  const known = isWhole ? imageSnapshot(source) : undefined
  if (known !== undefined) return Effect.succeed({ lower: parent, target: known })
  return Effect.map(base, ({ chainId }) => {
    const target = Option.getOrElse(chainId, () => "")
    return { lower: isWhole ? parent : target, target }
  })
}

const commitSource = Effect.fnUntraced(function* (source: Source, request: Request) {
  const reading = yield* Effect.cached(readBase(source, request))
  const prepared = Effect.flatMap(belowOf(source, reading, request), (below) => prepare(source, below, request))
  const [base, ready] = yield* Effect.all([reading, prepared], { concurrency: "unbounded" })
  const { differ, layer, notCarried, snapshot } = yield* ready.capture(base)
  const image = newImage(source, base, layer, request, yield* createdOf(request))
  const chainId = Option.match(layer, {
    onNone: () => base.chainId,
    onSome: ({ diffId }) => Option.some(ChainId.append(base.chainId, diffId))
  })
  yield* Effect.all(
    [
      Option.isSome(layer) ? snapshot(layer.value) : unpack(source.snapshotter, base.layers),
      writeContent(image, source, chainId)
    ],
    { concurrency: "unbounded", discard: true }
  )
  yield* meet("written")
  if (request.manifest !== undefined) yield* lockIndex(request.manifest)
  const records = yield* createImages(image.manifest.descriptor, source, base, request)
  return { ...records, config: image.config.descriptor, layer, chainId, parent: base.image, differ, notCarried }
})

/**
 * Commits a container, running or stopped, into a new image of the same namespace that is unpacked and ready to run.
 *
 * Whatever ends it early (a failure, a defect, an interruption), the container runs again and nothing that was made
 * remains. Fails with `CommitError`.
 */
export const commit = Effect.fn("Commit.commit")(function* (options: CommitOptions) {
  const started = yield* Clock.currentTimeMillis
  const timings = yield* Ref.make<Timings>({})
  const pausedMs = yield* Ref.make(0)
  const { source, ...made } = yield* Effect.gen(function* () {
    const request = yield* check(options).pipe(step("options"))
    const source = yield* resolve(request)
    const made = yield* withCommitLease(source, request, (source) => commitSource(source, request))
    return { source, ...made }
  }).pipe(Effect.provideService(Run, { container: options.container, timings, pausedMs }))
  const committed: Committed = {
    ...made,
    snapshotter: source.snapshotter.name,
    pausedMs: yield* Ref.get(pausedMs),
    durationMs: (yield* Clock.currentTimeMillis) - started,
    steps: yield* Ref.get(timings)
  }
  return committed
})

/**
 * Commits several containers as of one moment: all are paused before the first is read, and all are read before the
 * first runs on. All images or none: when one commit fails, the names stand for what they stood for before.
 *
 * Fails with the `CommitError` of the first that fails.
 */
export const commitAll = Effect.fn("Commit.commitAll")((options: ReadonlyArray<CommitOptions>) =>
  together(options.map(commit))
)

/** What a builder commits after each of its steps. */
export interface BuildStepOptions
  extends Pick<
    CommitOptions,
    "container" | "parent" | "author" | "message" | "created" | "compression" | "platform" | "snapshotter" | "idMap"
  > {
  /** The config of the image so far. */
  readonly config: ImageConfig.ContainerConfig
  /** The instruction, for the history. */
  readonly createdBy: string
}

/**
 * Commits a builder's container (moby's `CommitBuildStep`): never paused, without a name, with the builder's config.
 * The result is what the next step builds on.
 */
export const commitBuildStep = (options: BuildStepOptions) => commit({ ...options, pause: false, mergeConfig: false })
