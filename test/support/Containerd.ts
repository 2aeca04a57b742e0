import { existsSync, mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { Effect, type Scope } from "effect"
import * as Cache from "./Cache.ts"
import * as Daemon from "./Daemon.ts"
import * as Debris from "./Debris.ts"
import { DaemonError, run } from "./Process.ts"

export const versions = ["1.6", "1.7", "2.x"] as const

export type Version = (typeof versions)[number]

export interface CtrOptions {
  readonly namespace?: string | undefined
  readonly stdin?: string | Uint8Array | undefined
}

export interface RunningContainerd extends Daemon.Daemon {
  readonly version: Version
  /** Holds everything of this daemon. */
  readonly directory: string
  /** The path of the socket. */
  readonly address: string
  readonly root: string
  readonly state: string
  readonly ctr: (args: ReadonlyArray<string>, options?: CtrOptions) => Effect.Effect<string, DaemonError>
}

export interface Options {
  readonly rootOnTmpfs?: boolean | undefined
  /** Directories that come first in the daemon's PATH. */
  readonly path?: ReadonlyArray<string> | undefined
  readonly mountNamespace?: string | undefined
  /** The CRI plugin, and what its sandboxes are made of. */
  readonly cri?: { readonly sandboxImage: string } | undefined
}

const items = { "1.6": "containerd-1.6", "1.7": "containerd-1.7", "2.x": "containerd-2" } as const

const criPlugins = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime"]

/** What would write outside of our directories or listen where another daemon does. */
const disabledPlugins = [
  "io.containerd.nri.v1.nri",
  "io.containerd.internal.v1.opt",
  "io.containerd.internal.v1.tracing",
  "io.containerd.tracing.processor.v1.otlp",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs"
]

interface Places {
  readonly root: string
  readonly state: string
  readonly address: string
}

const config = (options: Places, cri: Options["cri"]): string => `
version = 2
root = ${JSON.stringify(options.root)}
state = ${JSON.stringify(options.state)}
disabled_plugins = ${JSON.stringify([...disabledPlugins, ...(cri === undefined ? criPlugins : [])])}
[grpc]
address = ${JSON.stringify(options.address)}
[ttrpc]
address = ${JSON.stringify(`${options.address}.ttrpc`)}
[debug]
level = "info"
${cri === undefined ? "" : criConfig(cri)}`

/** 2.x reads this form too. */
const criConfig = ({ sandboxImage }: NonNullable<Options["cri"]>): string => `
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = ${JSON.stringify(sandboxImage)}
disable_apparmor = true
restrict_oom_score_adj = true
`

/** A private containerd, which goes with the scope and takes its containers and mounts with it. */
export const start = (
  version: Version,
  options: Options = {}
): Effect.Effect<RunningContainerd, DaemonError, Scope.Scope> =>
  Effect.gen(function* () {
    const directory = yield* Debris.directory
    const [root, state, tmp] = [join(directory, "root"), join(directory, "state"), join(directory, "tmp")]
    const address = join(directory, "c.sock")
    for (const dir of [root, state, tmp]) mkdirSync(dir)
    if (options.rootOnTmpfs) yield* run("mount", ["-t", "tmpfs", "tmpfs", root])
    writeFileSync(join(directory, "config.toml"), config({ root, state, address }, options.cri))

    const item = items[version]
    // Temporary mounts too must be found below the directory.
    const env = { PATH: Cache.path([item, "runc"], options.path), TMPDIR: tmp }
    const runCtr: RunningContainerd["ctr"] = (args, { namespace = "default", stdin } = {}) =>
      run(Cache.program(item, "ctr"), ["--address", address, "--namespace", namespace, ...args], { env, stdin })
    const daemon = yield* Daemon.start({
      program: Cache.program(item, "containerd"),
      args: ["--config", join(directory, "config.toml")],
      env,
      logFile: join(directory, "log"),
      mountNamespace: options.mountNamespace,
      ready: Effect.suspend(() => (existsSync(address) ? runCtr(["version"]) : failure(`no ${address}`)))
    })
    return {
      ...daemon,
      get pid() {
        return daemon.pid
      },
      get isRunning() {
        return daemon.isRunning
      },
      version,
      directory,
      address,
      root,
      state,
      // ctr would wait long for a daemon that is not there.
      ctr: (args, ctrOptions) =>
        Effect.suspend(() => (daemon.isRunning ? runCtr(args, ctrOptions) : failure("is not running")))
    }
  })

const failure = (detail: string) => Effect.fail(new DaemonError({ command: "containerd", detail }))
