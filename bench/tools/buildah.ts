/** `buildah commit`. It is a command only, whose start counts; its containers do not run, so nothing is paused. */
import { spawn } from "node:child_process"
import { text } from "node:stream/consumers"
import { Effect } from "effect"
import * as Cache from "../../test/support/Cache.ts"
import { DaemonError, run } from "../../test/support/Process.ts"
import type { Store } from "./containersStore.ts"
import { count } from "./content.ts"
import type { Committer, Place } from "./Place.ts"
import { timed } from "./socketApi.ts"

const program = Cache.program("buildah", "buildah")

/** As `run` does, and tells the process's id. */
const runSeen = (store: Store, args: ReadonlyArray<string>, started: (pid: number) => void) =>
  Effect.callback<void, DaemonError>((resume) => {
    const fail = (detail: string) =>
      resume(Effect.fail(new DaemonError({ command: ["buildah", ...args].join(" "), detail })))
    const child = spawn(program, args, { env: store.env, stdio: ["ignore", "ignore", "pipe"] })
    if (child.pid !== undefined) started(child.pid)
    const said = text(child.stderr)
    child.on("error", ({ message }) => fail(message))
    child.on("close", (code) => (code === 0 ? resume(Effect.void) : said.then(fail, fail)))
    return Effect.sync(() => void child.kill())
  })

const commitArgs = ({ policy }: Store, id: string, image: string) => [
  ...["commit", "--quiet", "--signature-policy", policy, id, image]
]

/** The images are podman's, which looks at them and removes them, too. */
const placeOf = (store: Store, podman: Place): Place => {
  const buildah = (...args: ReadonlyArray<string>) =>
    Effect.map(run(program, args, { env: store.env }), (output) => output.trim())
  const mounted = (id: string) =>
    Effect.acquireRelease(buildah("mount", id), () => Effect.ignoreCause(buildah("umount", id)))
  return {
    name: "buildah",
    directory: podman.directory,
    base: podman.base,
    run: (image) =>
      Effect.acquireRelease(
        Effect.map(buildah("from", "--pull-never", image), (id) => ({ id, pid: undefined })),
        ({ id }) => Effect.ignoreCause(buildah("rm", id))
      ),
    write: ({ id }, tar) =>
      Effect.scoped(Effect.flatMap(mounted(id), (root) => Effect.asVoid(run("tar", ["-x", "-f", tar, "-C", root])))),
    save: ({ id }, image) => Effect.asVoid(buildah(...commitArgs(store, id, image))),
    size: podman.size,
    remove: podman.remove,
    look: (image) =>
      Effect.acquireRelease(buildah("from", "--pull-never", image), (id) => Effect.ignoreCause(buildah("rm", id))).pipe(
        Effect.flatMap(mounted),
        Effect.flatMap(count)
      )
  }
}

export const make = (store: Store, podman: Place): { readonly place: Place; readonly committer: Committer } => {
  const place = placeOf(store, podman)
  const committer: Committer = {
    name: "buildah commit",
    place,
    own: [],
    daemons: [],
    commit: (jobs, started) =>
      timed(
        Effect.forEach(jobs, ({ image, subject }) => runSeen(store, commitArgs(store, subject.id, image), started), {
          concurrency: "unbounded"
        })
      ).pipe(Effect.map(([ms]) => ({ ms, said: [] })))
  }
  return { place, committer }
}
