/**
 * Containers of a Docker Engine. containerd knows those that run, without image and snapshot; the engine knows all.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { ContainerdError, FailedPrecondition, Unimplemented } from "../core/ContainerdError.ts"
import { type Container, Containers } from "../core/Containers.ts"
import { Images } from "../core/Images.ts"
import * as ImageConfig from "../oci/ImageConfig.ts"
import * as EngineApi from "./EngineApi.ts"

const configOf = ({ Config }: EngineApi.Container) =>
  Effect.mapError(
    Schema.decodeUnknownEffect(ImageConfig.ContainerConfig)(ImageConfig.ofContainer(Config)),
    (cause) =>
      new ContainerdError({
        method: "Docker.ContainerInspect",
        reason: new FailedPrecondition({ message: `the container's config cannot be read: ${cause.message}` }),
        cause
      })
  )

/** The name that the engine has for the image in containerd now; it keeps one under any circumstances. */
const imageNameOf = Effect.fnUntraced(function* ({ Image }: EngineApi.Container) {
  if (Image === "") return ""
  const images = yield* Images
  const [first] = yield* images.list([`target.digest==${JSON.stringify(Image)}`])
  return first?.name ?? `moby-dangling@${Image}`
})

/** Nothing of a container that is going away may be read (moby's `containerCommit` refuses the same). */
const checkState = ({ Name, State }: EngineApi.Container) => {
  if (!State.Dead && State.Status !== "removing") return Effect.void
  const message = `the container ${Name.slice(1)} is ${State.Status}: it cannot be committed`
  const reason = new FailedPrecondition({ message })
  return Effect.fail(new ContainerdError({ method: "Docker.ContainerInspect", reason }))
}

/** Where the engine mounts something into every container. */
const always = ["/proc", "/dev", "/sys", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf"]

/** The part of an OCI spec that a commit reads. Docker's history names the command without the entrypoint. */
const specOf = ({ Mounts }: EngineApi.Container, config: ImageConfig.ContainerConfig): Uint8Array => {
  const destinations = [...always, ...Mounts.map(({ Destination }) => Destination)]
  const spec = { process: { args: config.Cmd ?? [] }, mounts: destinations.map((destination) => ({ destination })) }
  return Buffer.from(JSON.stringify(spec))
}

/** Docker's labels on an image that was committed: its parent, for `docker image prune` and the classic builder. */
const labelsOf = ({ Image }: EngineApi.Container): Readonly<Record<string, string>> => ({
  "org.mobyproject.image.parent": Image,
  ...(Image === "" ? { "org.mobyproject.image.fromscratch": "1" } : {})
})

const toContainer = Effect.fnUntraced(function* (inspected: EngineApi.Container) {
  yield* checkState(inspected)
  const config = yield* configOf(inspected)
  return {
    id: inspected.Id,
    labels: config.Labels ?? {},
    image: yield* imageNameOf(inspected),
    runtime: "",
    snapshotter: inspected.Driver,
    snapshotKey: inspected.Id,
    spec: specOf(inspected, config),
    config,
    imageLabels: labelsOf(inspected)
  } satisfies Container
})

const noFilters = new ContainerdError({
  method: "Docker.ContainerList",
  reason: new Unimplemented({ message: "containers of a Docker Engine cannot be filtered as containerd's can" })
})

const make = Effect.gen(function* () {
  const engine = yield* EngineApi.EngineApi
  const images = yield* Images
  const get = (id: string) =>
    Effect.flatMap(engine.inspect(id), toContainer).pipe(Effect.provideService(Images, images))
  /** One may be gone before it is looked at. */
  const getOption = (id: string) =>
    get(id).pipe(
      Effect.asSome,
      Effect.catchReasons("ContainerdError", {
        NotFound: () => Effect.succeedNone,
        FailedPrecondition: () => Effect.succeedNone
      })
    )
  return Containers.of({
    get,
    list: (filters = []) =>
      filters.length > 0
        ? Stream.fail(noFilters)
        : Effect.map(engine.list, Stream.fromIterable).pipe(
            Stream.unwrap,
            Stream.mapEffect(getOption, { concurrency: 4 }),
            Stream.filter(Option.isSome),
            Stream.map(({ value }) => value)
          )
  })
})

export const layer: Layer.Layer<Containers, never, EngineApi.EngineApi | Images> = Layer.effect(Containers, make)
