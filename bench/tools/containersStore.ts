/** The store that podman and buildah share: private, with the driver overlay, none of the machine's settings. */
import { mkdirSync } from "node:fs"
import { join } from "node:path"
import { Effect, type Scope } from "effect"
import * as Cache from "../../test/support/Cache.ts"
import * as Debris from "../../test/support/Debris.ts"
import * as Podman from "../../test/support/Podman.ts"
import { type DaemonError, run } from "../../test/support/Process.ts"

export interface Store {
  readonly directory: string
  readonly env: Readonly<Record<string, string>>
  readonly policy: string
}

/** Limits of its own, for podman asks for more than some machines allow. */
const engine = (directory: string): string => `
[engine]
conmon_path = [${JSON.stringify(Cache.program("podman", "conmon"))}]
runtime = "runc"
events_logger = "none"
lock_type = "file"
cgroup_manager = "cgroupfs"
[engine.runtimes]
runc = [${JSON.stringify(Cache.program("runc", "runc"))}]
[network]
network_config_dir = ${JSON.stringify(join(directory, "networks"))}
[containers]
apparmor_profile = "unconfined"
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
`

/** Goes with the scope. Temporary files are on the same file system as the store. */
export const make = Effect.fnUntraced(function* (onTmpfs: boolean): Effect.fn.Return<Store, DaemonError, Scope.Scope> {
  const directory = yield* Debris.directory
  const root = join(directory, "root")
  mkdirSync(root)
  if (onTmpfs) yield* run("mount", ["-t", "tmpfs", "tmpfs", root])
  const tmp = join(root, "tmp")
  mkdirSync(tmp)
  const settings = Podman.settingsIn(directory, "overlay", engine(directory))
  const env = { ...settings.env, PATH: Cache.path(["runc"]), TMPDIR: tmp }
  return { directory, env, policy: settings.policy }
})
