/**
 * Containers of a Docker Engine. containerd knows those that run, without image and snapshot; the engine knows all.
 *
 * @since 0.1.0
 */
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { ContainerdError, FailedPrecondition, Unimplemented } from "../core/ContainerdError.ts"
import { type Attachment, type Container, Containers } from "../core/Containers.ts"
import type { Status } from "../core/Tasks.ts"
import * as Digest from "../oci/Digest.ts"
import * as ImageConfig from "../oci/ImageConfig.ts"
import * as Json from "../oci/Json.ts"
import * as EngineApi from "./EngineApi.ts"
import * as Userns from "./Userns.ts"

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

/** A container that waits to be restarted has no process. */
const statuses: Readonly<Record<string, Status>> = {
  created: "none",
  running: "running",
  paused: "paused",
  restarting: "stopped",
  exited: "stopped"
}

/** Nothing of a container that is going away may be read: Docker refuses it, too, in these words. */
const uncommittable = ({ Id, State }: EngineApi.Container): string | undefined => {
  const is = State.Dead ? "Dead" : State.Status === "removing" ? "being removed" : undefined
  return is === undefined ? undefined : `You cannot commit container ${Id} which is ${is}`
}

/** Where the engine mounts something into every container, the last with `--init` only. */
const always = ["/proc", "/dev", "/sys", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/sbin/docker-init"]

/** The part of an OCI spec that a commit reads. Docker's history names the command without the entrypoint. */
const specOf = (
  { HostConfig, Mounts }: EngineApi.Container,
  config: ImageConfig.ContainerConfig,
  userns: Userns.Userns | undefined
): Uint8Array => {
  const mounted = [...Mounts.map(({ Destination }) => Destination), ...Object.keys(HostConfig.Tmpfs ?? {})]
  const destinations = [...always, ...mounted]
  const mounts = destinations.map((destination) => ({ destination }))
  return Buffer.from(JSON.stringify({ process: { args: config.Cmd ?? [] }, mounts, linux: userns }))
}

/** As Go writes them in JSON, whatever they stand for. */
const escaped = (char: string) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`

/** The container's config, byte for byte as the engine stores it. The cache of the classic builder compares it. */
const attachmentOf = ({ Config }: EngineApi.Container): Attachment => ({
  mediaType: "application/vnd.docker.container.image.v1+json",
  bytes: new TextEncoder().encode(Json.stringify(Config).replace(/[<>&\u2028\u2029]/g, escaped)),
  configLabel: "containerd.io/gc.ref.content.moby/container.config",
  manifestLabel: "org.mobyproject.content.image"
})

/** The engine's labels of an image that was committed: for `docker history`, `docker image prune` and its builder. */
const labelsOf = ({ Image }: EngineApi.Container, { bytes }: Attachment): Readonly<Record<string, string>> => ({
  "org.mobyproject.image.parent": Image,
  "org.mobyproject.image.containerconfig": Digest.fromBytes(bytes),
  ...(Image === "" ? { "org.mobyproject.image.fromscratch": "1" } : {})
})

/** What an engine says of itself. */
interface Engine {
  readonly rootDirectory: string
  readonly userns: Userns.Userns | undefined
  /** What it calls a runtime is up to its configuration. */
  readonly programOf: (runtime: string) => string | undefined
}

const engineOf = (info: EngineApi.Info): Engine => ({
  rootDirectory: info.DockerRootDir,
  userns: Userns.of(info),
  programOf: (runtime) => {
    const { path, runtimeType } = info.Runtimes?.[runtime] ?? {}
    return path ?? runtimeType
  }
})

/** `undefined` for what is no time. */
const millisOf = (time: string) => Option.getOrUndefined(Option.map(DateTime.make(time), DateTime.toEpochMillis))

const toContainer = Effect.fnUntraced(function* (
  inspected: EngineApi.Container,
  { programOf, rootDirectory, userns }: Engine
) {
  const config = yield* configOf(inspected)
  const attachment = attachmentOf(inspected)
  const { Runtime: runtime = "" } = inspected.HostConfig
  return {
    id: inspected.Id,
    labels: config.Labels ?? {},
    createdAt: millisOf(inspected.Created),
    directory: `${rootDirectory}/containers/${inspected.Id}`,
    image: "",
    imageDigest: inspected.Image === "" ? undefined : inspected.Image,
    task: { status: statuses[inspected.State.Status] ?? "unknown", pid: inspected.State.Pid },
    runtime,
    runtimeProgram: programOf(runtime),
    snapshotter: inspected.Driver,
    snapshotKey: inspected.Id,
    spec: specOf(inspected, config, userns),
    config,
    imageLabels: labelsOf(inspected, attachment),
    attachment,
    uncommittable: uncommittable(inspected)
  } satisfies Container
})

const noFilters = new ContainerdError({
  method: "Docker.ContainerList",
  reason: new Unimplemented({ message: "containers of a Docker Engine cannot be filtered as containerd's can" })
})

const make = Effect.gen(function* () {
  const engine = yield* EngineApi.EngineApi
  const known = yield* Effect.cached(Effect.map(engine.info, engineOf))
  const get = (id: string) =>
    Effect.all([engine.inspect(id), known], { concurrency: 2 }).pipe(
      Effect.flatMap(([inspected, known]) => toContainer(inspected, known))
    )
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

export const layer: Layer.Layer<Containers, never, EngineApi.EngineApi> = Layer.effect(Containers, make)
