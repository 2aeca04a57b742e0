/**
 * Step `resolve`: from the container's id to what a commit has to know of it.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type { Attachment, Container } from "../core/Containers.ts"
import * as Images from "../core/Images.ts"
import { type Info, type Snapshotter, Snapshotters } from "../core/Snapshotter.ts"
import { type Status, Tasks } from "../core/Tasks.ts"
import * as IdMap from "../layer/IdMap.ts"
import type { Digest } from "../oci/Digest.ts"
import type { ContainerConfig } from "../oci/ImageConfig.ts"
import * as RuntimeSpec from "../oci/RuntimeSpec.ts"
import { ParentNotFound, SnapshotNotFound } from "./CommitError.ts"
import { checkCommittable, findContainer } from "./FindContainer.ts"
import type { Request } from "./Options.ts"
import { step } from "./Run.ts"

/** A container that can be committed. */
export interface Source {
  readonly id: string
  /** The record of the image that it was made from; none for a container without an image. */
  readonly image: Option.Option<Images.Image>
  readonly status: Status
  /** Of its first process, as the daemon sees it; 0 when it has none. */
  readonly pid: number
  readonly snapshotter: Snapshotter
  /** The container's own snapshot; its `name` is the key. */
  readonly snapshot: Info
  /** Where the snapshot of its image may be: the parent of its own, and that one's parent where there is one in between. */
  readonly below: ReadonlyArray<string>
  /** The container's user namespace; `undefined` when its ids are the host's. */
  readonly idMap: IdMap.IdMap | undefined
  /** When the container was made, in milliseconds since 1970, where that is known. */
  readonly createdAt?: number | undefined
  /** Made by the container's owner right after the snapshot, before anything else could write to that. */
  readonly directory?: string | undefined
  /** What the container runs, and what is mounted into it. */
  readonly spec: RuntimeSpec.RuntimeSpec
  /** What it runs, where its owner says so. */
  readonly config: ContainerConfig | undefined
  /** Labels that its owner wants on images made of it. */
  readonly imageLabels: Readonly<Record<string, string>>
  /** What its owner keeps with images made of it. */
  readonly attachment?: Attachment | undefined
}

const findSnapshot = Effect.fnUntraced(function* (snapshotter: Snapshotter, key: string) {
  const { available } = yield* Snapshotters
  return yield* snapshotter.stat(key).pipe(
    Effect.catchReasons("ContainerdError", {
      NotFound: () =>
        new SnapshotNotFound({
          message: `the snapshotter "${snapshotter.name}" has no snapshot "${key}": name the one that the container was made with`
        }),
      InvalidArgument: (reason) =>
        Effect.flatMap(available, (names) =>
          names.includes(snapshotter.name)
            ? new SnapshotNotFound({ message: reason.message })
            : new SnapshotNotFound({
                message: `there is no snapshotter "${snapshotter.name}" here; there are: ${names.join(", ")}`
              })
        )
    })
  )
})

/** Of several records that point to it any will do. */
const imageByDigest = (digest: Digest) =>
  Effect.map(Images.pointingTo(digest), ([first]) => Option.fromUndefinedOr(first))

const findImage = Effect.fnUntraced(function* ({ image: recorded, imageDigest }: Container, parent?: string) {
  const name = parent ?? imageDigest ?? recorded
  if (name === "") return Option.none<Images.Image>()
  const byDigest = parent === undefined && imageDigest !== undefined
  const image = yield* byDigest ? imageByDigest(imageDigest) : Images.find(name)
  if (Option.isSome(image)) return image
  const message = `the container's image ${name} is not here any more: pull it again, or name another record of it as the parent`
  return yield* new ParentNotFound({ message })
})

/** moby puts the mount points that it makes into a snapshot between the image's and the container's. */
const isOfMoby = ({ name, parent }: Info) => parent.startsWith(`${name}-init`)

/** containerd's client may put one there, too, whose files it has given to the ids of a user namespace. */
const findBelow = (snapshotter: Snapshotter, snapshot: Info, idMap: IdMap.IdMap | undefined) =>
  snapshot.parent !== "" && (isOfMoby(snapshot) || idMap !== undefined)
    ? Effect.map(snapshotter.stat(snapshot.parent), (between) => [snapshot.parent, between.parent])
    : Effect.succeed([snapshot.parent])

/** The snapshot of the container's image, if nothing has to be read to tell which one it is. */
export const imageSnapshot = ({ below, snapshot }: Source): string | undefined =>
  below.length === 1 || isOfMoby(snapshot) ? below.at(-1) : undefined

const fromSpec = (mappings: ReadonlyArray<RuntimeSpec.IdMapping> | null | undefined): ReadonlyArray<IdMap.IdMapping> =>
  (mappings ?? []).map(({ containerID, hostID, size }) => ({ containerId: containerID, hostId: hostID, size }))

/** What a snapshotter was told to map; one that cannot be read is none, and then the spec counts. */
const fromLabel = (label: string | undefined): ReadonlyArray<IdMap.IdMapping> =>
  (label ?? "")
    .split(",")
    .filter((text) => text !== "")
    .map((text) => Result.getOrElse(IdMap.parse(text), () => undefined))
    .filter((mapping) => mapping !== undefined)

const isIdentity = (mappings: ReadonlyArray<IdMap.IdMapping>) =>
  mappings.every(({ containerId, hostId }) => containerId === hostId)

/** From the snapshot's labels, else from the container's spec. */
const idMapOf = ({ labels }: Info, { linux }: RuntimeSpec.RuntimeSpec): IdMap.IdMap | undefined => {
  const labelled = {
    uids: fromLabel(labels["containerd.io/snapshot/uidmapping"]),
    gids: fromLabel(labels["containerd.io/snapshot/gidmapping"])
  }
  const told = { uids: fromSpec(linux?.uidMappings), gids: fromSpec(linux?.gidMappings) }
  const found = labelled.uids.length > 0 && labelled.gids.length > 0 ? labelled : told
  return isIdentity(found.uids) && isIdentity(found.gids) ? undefined : found
}

/** Without one, or with one that cannot be read, nothing is known of what the container runs. */
const specOf = (spec: Uint8Array): RuntimeSpec.RuntimeSpec =>
  spec.length === 0 ? {} : Result.getOrElse(RuntimeSpec.decode(spec), () => ({}))

/** Fails when the container, its snapshot or its image is not there. Nothing is changed. */
export const resolve = Effect.fnUntraced(function* (request: Request) {
  const tasks = yield* Tasks
  const snapshotters = yield* Snapshotters
  const container = yield* findContainer(request)
  yield* checkCommittable(container, request)
  const recorded = container.snapshotter === "" ? undefined : container.snapshotter
  const snapshotter = snapshotters.get(request.snapshotter ?? recorded ?? (yield* snapshotters.defaultName))
  const key = container.snapshotKey === "" ? container.id : container.snapshotKey
  const { image, snapshot, task } = yield* Effect.all(
    {
      snapshot: findSnapshot(snapshotter, key),
      task: container.task === undefined ? tasks.get(container.id) : Effect.succeed(container.task),
      image: findImage(container, request.parent)
    },
    { concurrency: "unbounded" }
  )
  const spec = specOf(container.spec)
  const idMap = request.idMap ?? idMapOf(snapshot, spec)
  return {
    id: container.id,
    image,
    ...task,
    snapshotter,
    snapshot,
    below: yield* findBelow(snapshotter, snapshot, idMap),
    idMap,
    createdAt: container.createdAt,
    directory: container.directory,
    spec,
    config: container.config,
    imageLabels: container.imageLabels ?? {},
    attachment: container.attachment
  } satisfies Source
}, step("resolve"))
