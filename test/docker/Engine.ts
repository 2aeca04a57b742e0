import { Context, Effect, Layer } from "effect"
import { type Containerd as Client, type ContainerdError, Docker } from "effect-containerd"
import * as BaseImage from "../support/BaseImage.ts"
import * as Cache from "../support/Cache.ts"
import * as Containerd from "../support/Containerd.ts"
import { describeDaemons } from "../support/Daemons.ts"
import * as Dockerd from "../support/Dockerd.ts"
import * as MountNamespace from "../support/MountNamespace.ts"
import type { DaemonError } from "../support/Process.ts"

/** A private Docker Engine on a containerd 2.x, with the image base:1. */
export class Engine extends Context.Service<
  Engine,
  Dockerd.RunningDockerd & { readonly containerd: Containerd.RunningContainerd; readonly base: BaseImage.BaseImage }
>()("test/docker/Engine") {}

const make = Effect.fnUntraced(function* (options: Dockerd.Options = {}) {
  const containerd = yield* Containerd.start("2.x", options)
  const dockerd = yield* Dockerd.start(containerd, options)
  const base = yield* BaseImage.busybox({ ref: "docker.io/library/base:1" })
  yield* dockerd.docker(["load", "--input", base.archive])
  return { ...dockerd, containerd, base }
})

type Provided = Layer.Layer<Engine | Client.Services, ContainerdError.ContainerdError | DaemonError>

/** Docker 26 does not tell where its containerd is. */
const layerOf = (version: Dockerd.Version, made: ReturnType<typeof make>): Provided =>
  Layer.unwrap(
    Effect.map(Engine, ({ containerd: { address }, socket }) =>
      Docker.layer(version === 26 ? { socket, address } : { socket })
    )
  ).pipe(Layer.provideMerge(Layer.effect(Engine, made)))

/** The engine, and our services on it. */
export const layer = (version: Dockerd.Version = 28) => layerOf(version, make({ version }))

/** One that gives its containers other ids than the host's. */
export const remapped = (version: Dockerd.Version) =>
  layerOf(
    version,
    Effect.gen(function* () {
      const range = "nobody:100000:65536\n"
      const mountNamespace = yield* MountNamespace.make({ "/etc/subuid": range, "/etc/subgid": range })
      return yield* make({ version, mountNamespace, config: { "userns-remap": "nobody:nogroup" } })
    })
  )

/** One that has gVisor, under a name that does not tell. */
export const sandboxed = layerOf(
  28,
  make({
    config: {
      runtimes: {
        secure: { path: Cache.program("runsc", "runsc"), runtimeArgs: ["--ignore-cgroups", "--network=none"] }
      }
    }
  })
)

/** With the newest engine that Debian has, and with the one of its stable release. */
export const describeEngines = (name: string, factory: (version: Dockerd.Version) => void): void => {
  for (const version of Dockerd.versions) describeDaemons(`${name} (Docker ${version})`, () => factory(version))
}

export const docker = (...args: ReadonlyArray<string>) =>
  Effect.flatMap(Engine, (engine) => Effect.map(engine.docker(args), (output) => output.trim()))

const alone = ["--network", "none"]

/** A container that has run the script, and goes on until it is stopped. What says so is no part of an image. */
export const runDetached = Effect.fnUntraced(function* (script: string, ...flags: ReadonlyArray<string>) {
  const whole = `${script}; touch /dev/shm/ready; exec sleep 1000`
  const id = yield* docker("run", "-d", ...alone, ...flags, "base:1", "sh", "-c", whole)
  yield* docker("exec", id, "sh", "-c", "until [ -e /dev/shm/ready ]; do sleep 0.02; done")
  return id
})

/** What a new container of the image prints. */
export const run = (image: string, ...args: ReadonlyArray<string>) => docker("run", "--rm", ...alone, image, ...args)
