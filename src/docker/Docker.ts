/**
 * Commits containers of a Docker Engine that keeps its images in containerd (the default of new installations from
 * Docker 29 on): running and stopped ones, by name or id, as `docker commit` does.
 *
 * @since 0.1.0
 */
import { existsSync } from "node:fs"
import * as Config from "effect/Config"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Containerd from "../containerd/Containerd.ts"
import { ContainerdError, FailedPrecondition } from "../core/ContainerdError.ts"
import * as DockerContainers from "./DockerContainers.ts"
import * as EngineApi from "./EngineApi.ts"
import * as Userns from "./Userns.ts"

export interface DockerOptions {
  /** The path of the engine's socket. `/var/run/docker.sock` by default. */
  readonly socket?: string | undefined
  /**
   * The path of containerd's socket. By default what the engine says (Docker 27 and newer), else that of the containerd
   * which an older engine has started, else the machine's.
   */
  readonly address?: string | undefined
  /** containerd's namespace. By default what the engine says, else `moby`, or with `userns-remap` `moby-UID.GID`. */
  readonly namespace?: string | undefined
  /** How long a call about metadata may take. 10 seconds by default. */
  readonly timeout?: Duration.Input | undefined
}

const method = "Docker.Info"
const failed = (message: string) => new ContainerdError({ method, reason: new FailedPrecondition({ message }) })

/** Else the files of containers are in directories of the engine's own, of which containerd knows nothing. */
const checkStore = ({ DriverStatus }: EngineApi.Info) =>
  (DriverStatus ?? []).some(([key, value]) => key === "driver-type" && value?.startsWith("io.containerd.snapshotter"))
    ? Effect.void
    : failed(
        'this Docker Engine does not keep its images in containerd: set "features": {"containerd-snapshotter": true} in its daemon.json'
      )

/** Where an engine that does not tell has its containerd: one that it has started itself, or the machine's. */
const usual = ["/run/docker/containerd/containerd.sock", "/run/containerd/containerd.sock"]

const addressOf = ({ Containerd }: EngineApi.Info) => Containerd?.Address ?? usual.find((path) => existsSync(path))

/** Each user namespace has one of its own. */
const namespaceOf = (info: EngineApi.Info) => {
  const userns = Userns.of(info)
  return userns === undefined ? "moby" : `moby-${userns.suffix}`
}

const containerd = ({ address, namespace, timeout }: DockerOptions) =>
  Effect.gen(function* () {
    const info = yield* (yield* EngineApi.EngineApi).info
    yield* checkStore(info)
    const found = address ?? addressOf(info)
    if (found === undefined) {
      return yield* failed("this Docker Engine does not tell where its containerd is: give the address of its socket")
    }
    return Containerd.layer({
      address: found.replace(/^unix:\/\//, ""),
      namespace: namespace ?? info.Containerd?.Namespaces.Containers ?? namespaceOf(info),
      timeout
    })
  }).pipe(Layer.unwrap)

/**
 * containerd's services, in the engine's namespace, with the engine's containers. Asks the engine where its containerd
 * is; fails with `Unavailable` when nobody answers, and with `FailedPrecondition` when its images are not in containerd.
 */
export const layer = (options: DockerOptions = {}): Layer.Layer<Containerd.Services, ContainerdError> =>
  DockerContainers.layer.pipe(
    Layer.provideMerge(containerd(options)),
    Layer.provide(EngineApi.layer(options.socket ?? "/var/run/docker.sock"))
  )

/** `DOCKER_HOST` of the form `unix://PATH`. */
const socketOf = Config.String("DOCKER_HOST").pipe(
  Config.map((host) => host.replace(/^unix:\/\//, "")),
  Config.withDefault(undefined)
)

export const config: Config.Config<DockerOptions> = Config.all({ socket: socketOf })

/** `layer` from the environment: `DOCKER_HOST`. */
export const layerConfig: Layer.Layer<Containerd.Services, ContainerdError | Config.ConfigError> = Layer.unwrap(
  Effect.map(config, layer)
)
