/** `podman commit`, through podman's service: the start of the command is not measured. */
import { existsSync } from "node:fs"
import { join } from "node:path"
import { Effect, Schema, type Scope } from "effect"
import * as BaseImage from "../../test/support/BaseImage.ts"
import * as Cache from "../../test/support/Cache.ts"
import * as Daemon from "../../test/support/Daemon.ts"
import { DaemonError, run } from "../../test/support/Process.ts"
import type { Store } from "./containersStore.ts"
import { count, parse } from "./content.ts"
import type { Committer, Place, Subject } from "./Place.ts"
import { type Call, call, timed } from "./socketApi.ts"

const Container = Schema.Struct({ State: Schema.Struct({ Pid: Schema.Number }) })
const Image = Schema.Struct({ Size: Schema.Number })

const program = (store: Store, ...args: ReadonlyArray<string>) => [
  Cache.program("podman", "podman"),
  ...["--tmpdir", join(store.directory, "tmp"), ...args]
]

/** podman's own API; that of Docker, which it has, too, says less. */
const apiOf =
  (socket: string) =>
  (method: Call["method"], path: string, body?: string): Effect.Effect<string, DaemonError> =>
    call({ socket, method, path: `/v4.0.0/libpod${path}`, body })

type Api = ReturnType<typeof apiOf>

const commitOf = (api: Api, id: string, image: string) => {
  const [repo = "", tag = ""] = image.split(":")
  return Effect.asVoid(api("POST", `/commit?container=${id}&repo=${repo}&tag=${tag}&pause=true`))
}

const placeOf = (store: Store, api: Api): Place => {
  const podman = (...args: ReadonlyArray<string>) => {
    const [file = "", ...rest] = program(store, ...args)
    return Effect.map(run(file, rest, { env: store.env }), (text) => text.trim())
  }
  const runOne = (image: string) =>
    Effect.gen(function* () {
      const id = yield* podman("run", "--detach", "--network", "none", image, "sleep", "2147483647")
      const { State } = yield* parse(Container)(yield* api("GET", `/containers/${id}/json`))
      return { id, pid: State.Pid } satisfies Subject
    })
  return {
    name: "podman",
    directory: join(store.directory, "root"),
    base: "localhost/bench-base:1",
    run: (image) =>
      Effect.acquireRelease(runOne(image), ({ id }) =>
        Effect.ignoreCause(api("DELETE", `/containers/${id}?force=true&timeout=0`))
      ),
    write: ({ id }, tar) => Effect.asVoid(api("PUT", `/containers/${id}/archive?path=/`, tar)),
    save: ({ id }, image) => commitOf(api, id, image),
    size: (image) => Effect.map(Effect.flatMap(api("GET", `/images/${image}/json`), parse(Image)), ({ Size }) => Size),
    remove: (image) => Effect.asVoid(api("DELETE", `/images/${image}`)),
    look: (image) =>
      Effect.acquireRelease(podman("image", "mount", image), () =>
        Effect.ignoreCause(podman("image", "umount", image))
      ).pipe(Effect.flatMap(count))
  }
}

const service = (store: Store, socket: string) => {
  const [file = "", ...args] = program(store, "system", "service", "--time", "0", `unix://${socket}`)
  const ready = Effect.suspend(() =>
    existsSync(socket)
      ? call({ socket, method: "GET", path: "/_ping" })
      : Effect.fail(new DaemonError({ command: "podman", detail: `no ${socket}` }))
  )
  return Daemon.start({ program: file, args, env: store.env, logFile: join(store.directory, "log"), ready })
}

export const start = Effect.fnUntraced(function* (
  store: Store
): Effect.fn.Return<{ readonly place: Place; readonly committer: Committer }, DaemonError, Scope.Scope> {
  const socket = join(store.directory, "p.sock")
  const { pid } = yield* service(store, socket)
  const api = apiOf(socket)
  const place = placeOf(store, api)
  const { archive } = yield* BaseImage.busybox()
  const [file = "", ...args] = program(store, "pull", "--quiet", "--signature-policy", store.policy)
  const id = (yield* run(file, [...args, `oci-archive:${archive}`], { env: store.env })).trim()
  yield* api("POST", `/images/${id}/tag?repo=localhost/bench-base&tag=1`)
  const committer: Committer = {
    name: "podman commit",
    place,
    own: [pid],
    daemons: [],
    commit: (jobs) =>
      timed(
        Effect.forEach(jobs, ({ image, subject }) => commitOf(api, subject.id, image), { concurrency: "unbounded" })
      ).pipe(Effect.map(([ms]) => ({ ms, said: [] })))
  }
  return { place, committer }
})
