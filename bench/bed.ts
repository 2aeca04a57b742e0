/** The daemons and tools on one file system: a private containerd 2.x, with Docker and podman beside it. */
import { Effect, type Scope } from "effect"
import * as Containerd from "../test/support/Containerd.ts"
import { type DaemonError, run } from "../test/support/Process.ts"
import type { Case } from "./cases.ts"
import * as Buildah from "./tools/buildah.ts"
import * as Store from "./tools/containersStore.ts"
import * as Docker from "./tools/docker.ts"
import * as Ours from "./tools/ours.ts"
import type { Committer, Place } from "./tools/Place.ts"
import * as Podman from "./tools/podman.ts"

export const fileSystems = ["tmpfs", "disk"] as const
export type FileSystem = (typeof fileSystems)[number]

export interface Bed {
  readonly containerd: Containerd.RunningContainerd
  /** What the root of containerd is on. */
  readonly type: string
  readonly versions: Readonly<Record<string, string>>
  /** Those that start processes for it take them along with the scope. */
  readonly committers: (wanted: Case) => Effect.Effect<ReadonlyArray<Committer>, never, Scope.Scope>
}

type Name = Place["name"]

const startPodman = Effect.fnUntraced(function* (isOnTmpfs: boolean) {
  const store = yield* Store.make(isOnTmpfs)
  const podman = yield* Podman.start(store)
  return { podman, buildah: Buildah.make(store, podman.place) }
})

/** Only what the cases need. */
export const make = Effect.fnUntraced(function* (
  fileSystem: FileSystem,
  cases: ReadonlyArray<Case>,
  form: Ours.Form
): Effect.fn.Return<Bed, DaemonError, Scope.Scope> {
  const isOnTmpfs = fileSystem === "tmpfs"
  const containerd = yield* Containerd.start("2.x", { rootOnTmpfs: isOnTmpfs })
  const needs = (name: Name) => cases.some(({ peers }) => peers.includes(name))
  const docker = yield* Docker.start(containerd, "docker")
  const remapped = cases.some(({ userns }) => userns) ? yield* Docker.start(containerd, "docker-userns") : docker
  const podman = needs("podman") || needs("buildah") ? yield* startPodman(isOnTmpfs) : undefined
  const peer = (name: Name): ReadonlyArray<Committer> => {
    if (name === "docker" || name === "docker-userns") {
      return [(name === "docker" ? docker : remapped).committer]
    }
    return podman === undefined ? [] : [podman[name].committer]
  }
  return {
    containerd,
    type: (yield* run("df", ["--output=fstype", containerd.root])).split("\n")[1] ?? "",
    versions: yield* versionsOf(containerd, docker.dockerd.docker),
    committers: ({ ours, peers, userns }) =>
      Effect.map(
        Effect.forEach(ours, (variant) =>
          Ours.start(userns === true ? remapped : docker, containerd.pid, form, variant)
        ),
        (started) => [...peers.flatMap(peer), ...started]
      )
  }
})

const versionsOf = Effect.fnUntraced(function* (
  { ctr }: Containerd.RunningContainerd,
  docker: (args: ReadonlyArray<string>) => Effect.Effect<string, DaemonError>
) {
  const containerd = /Server:\s+Version:\s+(\S+)/.exec(yield* ctr(["version"]))?.[1] ?? ""
  const engine = (yield* docker(["version", "--format", "{{.Server.Version}}"])).trim()
  return { containerd, "Docker Engine": engine }
})
