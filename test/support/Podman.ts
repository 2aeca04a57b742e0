import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { Effect, type Scope } from "effect"
import * as Cache from "./Cache.ts"
import * as Debris from "./Debris.ts"
import { type DaemonError, run } from "./Process.ts"

export interface Podman {
  /** Copies an image of a layout into the store, and gives its id. */
  readonly pull: (layout: string, tag: string) => Effect.Effect<string, DaemonError>
  /** The root file system of an image, to be read only: it is the store's own copy. */
  readonly mounted: (id: string) => Effect.Effect<string, DaemonError, Scope.Scope>
}

/**
 * What podman would else have outside: locks in /dev/shm, networks in /etc. It wants the programs for containers before
 * it looks at an image.
 */
const engine = (directory: string): string => `
[engine]
conmon_path = [${JSON.stringify(Cache.program("podman", "conmon"))}]
runtime = ${JSON.stringify(Cache.program("runc", "runc"))}
events_logger = "none"
lock_type = "file"
[network]
network_config_dir = ${JSON.stringify(join(directory, "networks"))}
`

const storage = (directory: string, driver: string): string => `
[storage]
driver = ${JSON.stringify(driver)}
graphroot = ${JSON.stringify(join(directory, "root"))}
runroot = ${JSON.stringify(join(directory, "run"))}
`

/**
 * In mounts of its own, for no setting moves podman's cache of blobs out of /var/lib/containers. The link gives the
 * layout a name in lower case: podman makes the image's name of it.
 */
const isolated = `mount -t tmpfs tmpfs /var/lib && ln -s "$0" /var/lib/layout && exec "$@"`

/** Files that take the place of the machine's settings of podman and buildah. */
export const settingsIn = (directory: string, driver: "overlay" | "vfs", conf: string) => {
  const file = (name: string, text: string): string => {
    const path = join(directory, name)
    writeFileSync(path, text)
    return path
  }
  return {
    policy: file("policy.json", JSON.stringify({ default: [{ type: "insecureAcceptAnything" }] })),
    env: {
      HOME: directory,
      CONTAINERS_CONF: file("containers.conf", conf),
      CONTAINERS_STORAGE_CONF: file("storage.conf", storage(directory, driver)),
      CONTAINERS_REGISTRIES_CONF: file("registries.conf", "")
    }
  }
}

/** A private store, and none of the machine's settings. It goes with the scope. */
export const store: Effect.Effect<Podman, never, Scope.Scope> = Effect.gen(function* () {
  const directory = yield* Debris.directory
  const settings = settingsIn(directory, "vfs", engine(directory))
  const { policy } = settings
  const env = { ...settings.env, PATH: Cache.path([]), TMPDIR: directory }
  const podman = (args: ReadonlyArray<string>, layout = directory) => {
    const command = [Cache.program("podman", "podman"), "--tmpdir", join(directory, "tmp"), ...args]
    const output = run("unshare", ["--mount", "sh", "-c", isolated, layout, ...command], { env })
    return Effect.map(output, (text) => text.trim())
  }
  return {
    pull: (layout, tag) =>
      podman(["pull", "--quiet", "--signature-policy", policy, `oci:/var/lib/layout:${tag}`], layout),
    mounted: (id) =>
      Effect.acquireRelease(podman(["image", "mount", id]), () => Effect.ignoreCause(podman(["image", "umount", id])))
  }
})
