/**
 * Which process holds something that others see, so that what a dead one held can be taken over.
 *
 * @since 0.1.0
 */
import { readFileSync, readlinkSync } from "node:fs"
import { hostname } from "node:os"

/** What the system does not tell. */
const unknown = "-"

const told = (read: () => string): string => {
  try {
    return read().trim() || unknown
  } catch {
    return unknown
  }
}

/** In clock ticks since boot: tells a pid that was given out again from the old one. */
const startTime = (pid: number): string =>
  told(() => {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
    // The command in parentheses may hold spaces; the start time is field 22 of proc_pid_stat(5).
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? ""
  })

const machineId = () => told(() => readFileSync("/etc/machine-id", "utf8"))
const bootId = () => told(() => readFileSync("/proc/sys/kernel/random/boot_id", "utf8"))
const pidNamespace = () => told(() => readlinkSync("/proc/self/ns/pid"))

/** A word each: machine, boot, pid namespace, pid, start time. More words may be put behind it. */
export const current = (): string => {
  const machine = machineId()
  return [
    machine === unknown ? hostname() : machine,
    bootId(),
    pidNamespace(),
    process.pid,
    startTime(process.pid)
  ].join(" ")
}

/** A process of another user answers that it may not be signalled, and may hide from `/proc`: then it lives. */
const isGone = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return false
  } catch (cause) {
    return cause instanceof Error && "code" in cause && cause.code === "ESRCH"
  }
}

/** True only when it is certain: the machine was booted since, or the process is gone from a namespace that we see. */
export const isDead = (owner: string): boolean => {
  const [machine, boot, namespace, pid, start] = owner.split(" ")
  const [ownMachine, ownBoot, ownNamespace] = current().split(" ")
  if (machine !== ownMachine || !/^\d+$/.test(pid ?? "")) return false
  if (boot !== ownBoot) return boot !== unknown && ownBoot !== unknown
  if (namespace !== ownNamespace) return false
  const now = startTime(Number(pid))
  return isGone(Number(pid)) || (now !== unknown && start !== unknown && now !== start)
}
