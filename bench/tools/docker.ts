/** Containers of a private Docker Engine whose images are in containerd. Both `docker commit` and we commit them. */
import { mkdirSync } from "node:fs"
import { join } from "node:path"
import { Effect, Schema, type Scope } from "effect"
import * as BaseImage from "../../test/support/BaseImage.ts"
import type { RunningContainerd } from "../../test/support/Containerd.ts"
import * as Dockerd from "../../test/support/Dockerd.ts"
import type { DaemonError } from "../../test/support/Process.ts"
import { remapped } from "../isolate.ts"
import { count, parse } from "./content.ts"
import type { Committer, Place, Subject } from "./Place.ts"
import { call, timed } from "./socketApi.ts"

export interface Engine {
  readonly place: Place
  readonly dockerd: Dockerd.RunningDockerd
  readonly committer: Committer
}

const Manifest = Schema.Struct({ layers: Schema.Array(Schema.Struct({ size: Schema.Number })) })

/** containerd's view of the engine's images, in the engine's namespace. */
const imagesOf = (containerd: RunningContainerd, namespace: string) => {
  const ctr = (...args: ReadonlyArray<string>) => containerd.ctr(args, { namespace })
  const nameOf = (image: string) => (image.includes("/") ? image : `docker.io/library/${image}`)
  const size = Effect.fnUntraced(function* (image: string) {
    const lines = (yield* ctr("images", "ls", `name==${nameOf(image)}`)).split("\n")
    const digest = lines.join(" ").match(/sha256:[0-9a-f]{64}/)?.[0] ?? ""
    const { layers } = yield* parse(Manifest)(yield* ctr("content", "get", digest))
    return layers.reduce((sum, layer) => sum + layer.size, 0)
  })
  /** Unpacks all layers once more, with a snapshotter that has none of them yet. */
  const look = Effect.fnUntraced(function* (image: string) {
    const target = join(containerd.directory, "tmp", "look")
    mkdirSync(target, { recursive: true })
    const flags = ["--snapshotter", "native"]
    yield* Effect.acquireRelease(ctr("images", "mount", ...flags, nameOf(image), target), () =>
      Effect.ignoreCause(ctr("images", "unmount", "--rm", ...flags, target))
    )
    return yield* count(target)
  })
  return { size, look, remove: (image: string) => Effect.asVoid(ctr("images", "rm", "--sync", nameOf(image))) }
}

const placeOf = (
  containerd: RunningContainerd,
  { docker, socket }: Dockerd.RunningDockerd,
  name: "docker" | "docker-userns",
  base: string
): Place => {
  const run = (image: string) =>
    Effect.gen(function* () {
      const id = (yield* docker(["run", "--detach", "--network", "none", image, "sleep", "2147483647"])).trim()
      const pid = Number(yield* docker(["inspect", "--format", "{{.State.Pid}}", id]))
      return { id, pid } satisfies Subject
    })
  return {
    name,
    base,
    directory: containerd.root,
    run: (image) =>
      Effect.acquireRelease(run(image), ({ id }) => Effect.ignoreCause(docker(["rm", "--force", "--volumes", id]))),
    write: ({ id }, tar) =>
      Effect.asVoid(call({ socket, method: "PUT", path: `/containers/${id}/archive?path=/`, body: tar })),
    save: ({ id }, image) => Effect.asVoid(docker(["commit", id, image])),
    ...imagesOf(containerd, name === "docker" ? "moby" : "moby-100000.100000")
  }
}

/** The call that the command `docker commit` makes; its own start is not measured. */
const commitOf = (socket: string, id: string, image: string) => {
  const [repo = "", tag = ""] = image.split(":")
  return call({ socket, method: "POST", path: `/commit?container=${id}&repo=${repo}&tag=${tag}&pause=1` })
}

/** With `userns`, containers' ids are not the host's (`userns-remap`). */
export const start = Effect.fnUntraced(function* (
  containerd: RunningContainerd,
  name: "docker" | "docker-userns"
): Effect.fn.Return<Engine, DaemonError, Scope.Scope> {
  const config = name === "docker" ? {} : { "userns-remap": `${remapped.user}:${remapped.group}` }
  const dockerd = yield* Dockerd.start(containerd, { config })
  const base = yield* BaseImage.busybox({ ref: "docker.io/library/bench-base:1" })
  yield* dockerd.docker(["load", "--input", base.archive])
  const place = placeOf(containerd, dockerd, name, base.ref)
  const committer: Committer = {
    name: "docker commit",
    place,
    own: [],
    daemons: [dockerd.pid, containerd.pid],
    commit: (jobs) =>
      timed(
        Effect.forEach(jobs, ({ image, subject }) => commitOf(dockerd.socket, subject.id, image), {
          concurrency: "unbounded"
        })
      ).pipe(Effect.map(([ms]) => ({ ms, said: [] })))
  }
  return { place, dockerd, committer }
})
