import { execFileSync, spawn } from "node:child_process"
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
  rmSync,
  writeFileSync
} from "node:fs"
import { Socket } from "node:net"
import { tmpdir } from "node:os"
import { basename, join } from "node:path"
import { fileURLToPath } from "node:url"
import { Effect, type Scope } from "effect"

/** The directory of one daemon, and everything that it can leave behind: shims, containers, mounts, cgroups. */
const prefix = "effect-containerd-"

const attempt = <A>(f: () => A, otherwise: A): A => {
  try {
    return f()
  } catch {
    return otherwise // what we look at may vanish at any moment; all of this is best effort
  }
}

const read = (path: string): string => attempt(() => readFileSync(path, "utf8"), "")

/** Pid and start time, for pids are used again. Empty for a process that has ended. */
const identity = (pid: number): string => {
  const [state = "Z", ...fields] = read(`/proc/${pid}/stat`).split(") ").at(-1)?.split(" ") ?? []
  return state === "Z" || fields.length === 0 ? "" : `${pid} ${fields[18]}`
}

const mountNamespace = (pid: number | "self"): string => attempt(() => readlinkSync(`/proc/${pid}/ns/mnt`), "")

const isBelow = (dir: string, path: string): boolean => path === dir || path.startsWith(`${dir}/`)

const isDaemon = (dir: string, pid: number): boolean => {
  const [program = "", ...args] = read(`/proc/${pid}/cmdline`).split("\0")
  return /^(containerd|dockerd|runc|ctr)/.test(basename(program)) && args.some((arg) => isBelow(dir, arg))
}

/** A container is a process whose own root file system comes from the directory. */
const isContainer = (dir: string, pid: number): boolean =>
  mountNamespace(pid) !== mountNamespace("self") &&
  read(`/proc/${pid}/mountinfo`)
    .split("\n")
    .some((line) => line.split(" ")[4] === "/" && line.includes(`${dir}/`))

/** The processes that a directory's daemons started. */
export const processes = (dir: string): ReadonlyArray<number> =>
  readdirSync("/proc")
    .map(Number)
    .filter((pid) => pid > 1 && pid !== process.pid && (isDaemon(dir, pid) || isContainer(dir, pid)))

/** The mount points below a directory, the last mounted first. */
export const mounts = (dir: string): ReadonlyArray<string> =>
  read("/proc/self/mountinfo")
    .split("\n")
    .map((line) => line.split(" ")[4] ?? "")
    .filter((point) => isBelow(dir, point))
    .reverse()

/** The cgroup directories of a process, without the ones that it shares with us. */
const cgroups = (pid: number): ReadonlyArray<string> => {
  const ours = new Set(read("/proc/self/cgroup").split("\n"))
  return read(`/proc/${pid}/cgroup`)
    .split("\n")
    .filter((line) => line !== "" && !ours.has(line))
    .flatMap((line) => {
      const [, controllers = "", path = ""] = line.split(":")
      const parents = controllers === "" ? ["", "unified"] : [controllers.replace("name=", "")]
      return path === "/" ? [] : parents.map((parent) => join("/sys/fs/cgroup", parent, path))
    })
    .filter((path) => existsSync(path))
}

const kill = (dir: string): void => {
  const groups = new Set<string>()
  for (let round = 0; round < 100; round++) {
    const found = processes(dir)
    if (found.length === 0) break
    for (const pid of found) {
      if (isContainer(dir, pid)) for (const group of cgroups(pid)) groups.add(group)
      attempt(() => process.kill(pid, "SIGKILL"), false)
    }
    // With cgroup v1 a frozen process does not even die.
    for (const group of groups) attempt(() => writeFileSync(join(group, "freezer.state"), "THAWED"), undefined)
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20)
  }
  for (const group of groups) attempt(() => rmdirSync(group), undefined)
}

/** What is two levels below: namespaces and the containers in them. */
const grandchildren = (dir: string): ReadonlyArray<string> =>
  attempt(() => readdirSync(dir), []).flatMap((child) =>
    attempt(() => readdirSync(join(dir, child)), []).map((name) => join(dir, child, name))
  )

/** Shims listen outside of the directory. Their bundles name the sockets. */
const shimSockets = (dir: string): ReadonlyArray<string> =>
  grandchildren(join(dir, "state", "io.containerd.runtime.v2.task"))
    .flatMap((bundle) => [read(join(bundle, "address")), read(join(bundle, "bootstrap.json"))])
    .flatMap((text) => text.match(/(?<=unix:\/\/)[^"\s]+/g) ?? [])

/** runc's state stays when a container was killed with its shim. All daemons share its directory. */
const runcStates = (dir: string): ReadonlyArray<string> =>
  grandchildren("/run/containerd/runc").filter((path) => read(join(path, "state.json")).includes(`${dir}/`))

/** Removes a directory with all that was started in it. */
export const remove = (dir: string): void => {
  const sockets = shimSockets(dir)
  kill(dir)
  const points = mounts(dir)
  if (points.length > 0) attempt(() => execFileSync("umount", ["--lazy", ...points], { stdio: "ignore" }), undefined)
  for (const path of [...sockets, ...runcStates(dir)]) rmSync(path, { recursive: true, force: true })
  if (mounts(dir).length === 0) rmSync(dir, { recursive: true, force: true, maxRetries: 5 })
}

/** Removes what test runs left that were killed: their directories have no living owner. */
export const sweep = (): void => {
  for (const name of readdirSync(tmpdir()).filter((entry) => entry.startsWith(prefix))) {
    const dir = join(tmpdir(), name)
    const owner = read(join(dir, "owner"))
    if (owner !== "" && owner !== identity(Number.parseInt(owner, 10))) attempt(() => remove(dir), undefined)
  }
}

/**
 * Waits for the end of this process, whatever ends it (Ctrl-C, SIGKILL), and sweeps then.
 * In its own session and, until there is something to do, only a shell that reads a pipe.
 */
const startReaper = (): void => {
  const wait = `cat; sleep 0.2; for dir in "$0"*; do [ -e "$dir" ] && exec "$@"; done`
  const sweeper = fileURLToPath(new URL("sweep.ts", import.meta.url))
  const args = ["-c", wait, join(tmpdir(), prefix), process.execPath, sweeper]
  const reaper = spawn("sh", args, { detached: true, stdio: ["pipe", "ignore", "ignore"] })
  reaper.unref()
  if (reaper.stdin instanceof Socket) reaper.stdin.unref()
}

let hasReaper = false

const make = (): string => {
  const dir = mkdtempSync(join(tmpdir(), prefix))
  chmodSync(dir, 0o755) // a container with its own user namespace must reach its root
  writeFileSync(join(dir, "owner"), identity(process.pid))
  if (!hasReaper) startReaper()
  hasReaper = true
  return dir
}

/** A short directory for one daemon, which goes with the scope and takes everything with it. */
export const directory: Effect.Effect<string, never, Scope.Scope> = Effect.acquireRelease(Effect.sync(make), (dir) =>
  Effect.ignoreCause(
    Effect.sync(() => remove(dir)),
    { log: "Warn", message: `cleanup failed: ${dir}` }
  )
)
