/**
 * Which process holds something in the state database, so that what a dead one held can be taken over.
 *
 * @since 0.1.0
 */
import { readFileSync, readlinkSync } from "node:fs"

const read = (path: string): string => {
  try {
    return readFileSync(path, "utf8").trim()
  } catch {
    return ""
  }
}

/** In clock ticks since boot: tells a pid that was given out again from the old one. proc_pid_stat(5), field 22. */
const startTime = (pid: string): string => {
  const stat = read(`/proc/${pid}/stat`)
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? ""
}

const pidNamespace = (): string => {
  try {
    return readlinkSync("/proc/self/ns/pid")
  } catch {
    return ""
  }
}

const boot = read("/proc/sys/kernel/random/boot_id")
const namespace = pidNamespace()
const self = [boot, namespace, process.pid, startTime(String(process.pid))].join(" ")

/** This process, and one piece of its work. */
export const make = (): string => `${self} ${crypto.randomUUID()}`

const isGone = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return false
  } catch (cause) {
    return cause instanceof Error && "code" in cause && cause.code === "ESRCH"
  }
}

/** True only when it is certain. A process in another pid namespace cannot be seen, so it counts as alive. */
export const isDead = (owner: string): boolean => {
  const [itsBoot, itsNamespace, pid = "", started = ""] = owner.split(" ")
  if (itsBoot !== boot) return true
  if (itsNamespace !== namespace) return false
  const now = startTime(pid)
  return isGone(Number(pid)) || (now !== "" && started !== "" && now !== started)
}
