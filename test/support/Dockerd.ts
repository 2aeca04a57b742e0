import { existsSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { Effect, type Scope } from "effect"
import * as Cache from "./Cache.ts"
import type { RunningContainerd } from "./Containerd.ts"
import * as Daemon from "./Daemon.ts"
import * as Debris from "./Debris.ts"
import { DaemonError, run } from "./Process.ts"

export interface RunningDockerd extends Daemon.Daemon {
  readonly directory: string
  /** The path of the API's socket. */
  readonly socket: string
  readonly docker: (args: ReadonlyArray<string>) => Effect.Effect<string, DaemonError>
}

export interface Options {
  /** Joins daemon.json: userns-remap, storage-driver, … */
  readonly config?: Readonly<Record<string, unknown>> | undefined
  /** That of its containerd. */
  readonly mountNamespace?: string | undefined
  /** Default: 28. */
  readonly version?: Version | undefined
}

/** What provision.sh calls each. */
const items = { 28: "dockerd", 26: "dockerd-26" } as const
export type Version = keyof typeof items
export const versions: ReadonlyArray<Version> = [28, 26]

/** Everything of its own, and nothing of the machine's network. */
const configuration = (containerd: RunningContainerd, directory: string, socket: string) => ({
  features: { "containerd-snapshotter": true },
  containerd: containerd.address,
  hosts: [`unix://${socket}`],
  "data-root": join(directory, "root"),
  "exec-root": join(directory, "exec"),
  pidfile: join(directory, "pid"),
  bridge: "none",
  iptables: false,
  ip6tables: false,
  "ip-forward": false,
  "userland-proxy": false
})

/** Else dockerd waits ten seconds for each to end by itself. */
const removeContainers = (docker: RunningDockerd["docker"]): Effect.Effect<void> =>
  docker(["ps", "--all", "--quiet"]).pipe(
    Effect.map((output) => output.split("\n").filter((id) => id !== "")),
    Effect.flatMap((ids) => (ids.length === 0 ? Effect.void : docker(["rm", "--force", ...ids]))),
    Effect.ignoreCause
  )

/** A private Docker Engine on a containerd: the peer that this library is compared with. */
export const start = (
  containerd: RunningContainerd,
  options: Options = {}
): Effect.Effect<RunningDockerd, DaemonError, Scope.Scope> =>
  Effect.gen(function* () {
    const directory = yield* Debris.directory
    const socket = join(directory, "d.sock")
    const configFile = join(directory, "daemon.json")
    writeFileSync(configFile, JSON.stringify({ ...configuration(containerd, directory, socket), ...options.config }))

    const item = items[options.version ?? 28]
    const env = { PATH: Cache.path([item, "runc"]), TMPDIR: directory, HOME: directory }
    const docker = (args: ReadonlyArray<string>) =>
      run(Cache.program(item, "docker"), ["--host", `unix://${socket}`, ...args], { env })
    const daemon = yield* Daemon.start({
      program: Cache.program(item, "dockerd"),
      args: ["--config-file", configFile],
      env,
      logFile: join(directory, "log"),
      mountNamespace: options.mountNamespace,
      ready: Effect.suspend(() =>
        existsSync(socket)
          ? docker(["version"])
          : Effect.fail(new DaemonError({ command: "dockerd", detail: `no ${socket}` }))
      )
    })
    yield* Effect.addFinalizer(() => removeContainers(docker))
    return {
      ...daemon,
      get pid() {
        return daemon.pid
      },
      get isRunning() {
        return daemon.isRunning
      },
      directory,
      socket,
      docker
    }
  })
