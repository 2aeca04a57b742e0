/**
 * One container, committed by Docker and by us: the documents of both images.
 *
 * Docker makes the container, and its containerd holds all blobs. We read the parent and Docker's image from there, and
 * make ours of what a commit itself would: the container's config, the parent's documents and the new layer.
 */
import { Effect, Option, Result, Schema } from "effect"
import { ImageConfig, Images, Layer, Leases, MediaType, Snapshotter, Timestamp } from "effect-containerd"
import { baseOf } from "../../src/commit/Base.ts"
import { newImage } from "../../src/commit/NewImage.ts"
import * as Options from "../../src/commit/Options.ts"
import { type Parent, readParent } from "../../src/commit/ParentImage.ts"
import type { Source } from "../../src/commit/Resolve.ts"
import * as ImageDocuments from "../../src/core/ImageDocuments.ts"
import { uniqueName } from "../../src/core/UniqueName.ts"
import * as Json from "../../src/oci/Json.ts"
import type * as Dockerd from "../support/Dockerd.ts"
import type { Case } from "./GoldenCases.ts"

/** `docker inspect`: what is run, and the config that Docker made of the image's and of the flags. */
const Inspect = Schema.Tuple([
  Schema.Struct({
    Id: Schema.String,
    Path: Schema.String,
    Args: Schema.Array(Schema.String),
    Config: ImageConfig.ContainerConfig
  })
])

const isNothing = (value: unknown) =>
  value === null || value === "" || value === false || (typeof value === "object" && Object.keys(value).length === 0)

/** What of a container's config is an image's, too; Docker writes nothing as `null`, `""`, `[]` or `{}`. */
const reduced = (config: ImageConfig.ContainerConfig): ImageConfig.ContainerConfig => {
  const { User, ExposedPorts, Env, Entrypoint, Cmd, Volumes, WorkingDir, Labels, StopSignal } = config
  const { Healthcheck, OnBuild, Shell } = config
  const known = { User, ExposedPorts, Env, Entrypoint, Cmd, Volumes, WorkingDir, Labels, StopSignal }
  return Object.fromEntries(
    Object.entries({ ...known, Healthcheck, OnBuild, Shell }).filter(
      ([, value]) => value !== undefined && !isNothing(value)
    )
  )
}

export const refOf = (parent: string): string => `localhost/golden-${parent.toLowerCase()}:1`

const createContainer = Effect.fnUntraced(function* ({ docker }: Dockerd.RunningDockerd, one: Case, file: string) {
  const platform = one.parent === "variant" ? ["--platform", "linux/arm/v7"] : []
  const flags = ["create", "--network", "none", ...platform, ...one.flags]
  const id = (yield* docker([...flags, refOf(one.parent), ...one.args])).trim()
  if (one.isTouched) yield* docker(["cp", file, `${id}:/added`])
  const [inspected] = yield* Effect.fromResult(Json.parse(yield* docker(["inspect", id]))).pipe(
    Effect.flatMap(Schema.decodeUnknownEffect(Inspect))
  )
  return inspected
})

const dockerCommit = Effect.fnUntraced(function* ({ docker }: Dockerd.RunningDockerd, one: Case, id: string) {
  const tag = `golden:${id.slice(0, 12)}`
  const flag = (name: string, value: string | undefined) => (value === undefined ? [] : [name, value])
  const changes = one.changes.flatMap((change) => ["--change", change])
  yield* docker(["commit", ...changes, ...flag("--author", one.author), ...flag("--message", one.message), id, tag])
  const { target } = yield* (yield* Images.Images).get(`docker.io/library/${tag}`)
  return yield* ImageDocuments.read(target)
})

type Inspected = (typeof Inspect.Type)[0]

/** A container of Docker's stands on a snapshot of its own with what Docker mounts over; below it is the image. */
const sourceOf = Effect.fnUntraced(function* ({ Args, Id, Path }: Inspected, one: Case) {
  const snapshotter = (yield* Snapshotter.Snapshotters).get("overlayfs")
  const snapshot = yield* snapshotter.stat(Id)
  const { parent } = yield* snapshotter.stat(snapshot.parent)
  const source: Source = {
    id: Id,
    image: Option.some(yield* (yield* Images.Images).get(refOf(one.parent))),
    status: "none",
    pid: 0,
    snapshotter,
    snapshot,
    below: [parent],
    spec: { process: { args: [Path, ...Args] } },
    config: undefined,
    imageLabels: {},
    idMap: undefined
  }
  return source
})

/** Ours, with the layer and the time of Docker's. */
const ourCommit = Effect.fnUntraced(function* (inspected: Inspected, one: Case, theirs: ImageDocuments.ImageDocuments) {
  const { author, changes, message } = one
  const request = yield* Options.check({
    container: inspected.Id,
    changes,
    author,
    message,
    containerConfig: reduced(inspected.Config)
  })
  const source = yield* sourceOf(inspected, one)
  const parent = yield* Leases.withLease({ id: uniqueName("golden") })(readParent(source, request))
  const base = yield* baseOf(parent, source, request)
  const layers = ImageDocuments.layers(theirs.manifest.value.layers ?? [], theirs.config.value)
  const layer = Option.map(Option.fromUndefinedOr(layers[base.layers.length]), (one) =>
    Layer.retyped(one, MediaType.layer(base.format, "gzip"))
  )
  const created = Result.getOrThrow(Timestamp.parse(theirs.config.value.created ?? ""))
  return { ours: newImage(source, base, layer, request, created), parent, hasLayer: Option.isSome(layer) }
})

/** Both images of a case, and what they were made of. */
export interface Commits {
  readonly one: Case
  readonly parent: Parent
  /** Something was changed in the container; `docker create --workdir` makes the directory, too. */
  readonly hasLayer: boolean
  /** What Docker says that the container runs. */
  readonly container: ImageConfig.ContainerConfig
  readonly ours: ImageDocuments.ImageDocuments
  readonly theirs: ImageDocuments.ImageDocuments
}

/** `file` is what is put into the container. */
export const commits = Effect.fnUntraced(function* (dockerd: Dockerd.RunningDockerd, one: Case, file: string) {
  const inspected = yield* createContainer(dockerd, one, file)
  const theirs = yield* dockerCommit(dockerd, one, inspected.Id)
  const ours = yield* ourCommit(inspected, one, theirs)
  return { one, container: reduced(inspected.Config), theirs, ...ours } satisfies Commits
})
