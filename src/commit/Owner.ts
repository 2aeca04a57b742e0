/**
 * Who holds the lease of a commit, so that others can tell a commit that is under way from one whose process died.
 *
 * @since 0.1.0
 */

import { readFileSync, readlinkSync } from "node:fs"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"

/** When a process started, in clock ticks since boot: with it a pid that was given out again is told from the old. */
const startTime = (pid: string): string | undefined => {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
  // The command in parentheses may hold spaces; the start time is field 22 of proc_pid_stat(5).
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]
}

const machineId = () => readFileSync("/etc/machine-id", "utf8").trim()
const bootId = () => readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()
const pidNamespace = () => readlinkSync("/proc/self/ns/pid")

/** `machine boot pidns pid start` of this process; empty where there is no `/proc` and no `/etc/machine-id`. */
export const current: Effect.Effect<string> = Effect.try(() => {
  const pid = String(process.pid)
  return [machineId(), bootId(), pidNamespace(), pid, startTime(pid)].join(" ")
}).pipe(Effect.orElseSucceed(() => ""))

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
export const isDead = (owner: string): Effect.Effect<boolean> =>
  Effect.try(() => {
    const [machine, boot, namespace, pid, start] = owner.split(" ")
    if (machine !== machineId() || pid === undefined) return false
    if (boot !== bootId()) return true
    if (namespace !== pidNamespace()) return false
    const started = Option.getOrUndefined(Option.liftThrowable(startTime)(pid))
    return isGone(Number(pid)) || (started !== undefined && started !== start)
  }).pipe(Effect.orElseSucceed(() => false))
