/**
 * Who holds the lease of a commit, so that others can tell a commit that is under way from one whose process died.
 *
 * @since 0.1.0
 */

import { readFileSync, readlinkSync } from "node:fs"
import { hostname } from "node:os"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"

/** When a process started, in clock ticks since boot: with it a pid that was given out again is told from the old. */
const startTime = (pid: string): string | undefined => {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
  // The command in parentheses may hold spaces; the start time is field 22 of proc_pid_stat(5).
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]
}

const bootId = () => readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()
const pidNamespace = () => readlinkSync("/proc/self/ns/pid")

/** `host boot pidns pid start` of this process; empty where there is no `/proc`. */
export const current: Effect.Effect<string> = Effect.try(() => {
  const pid = String(process.pid)
  return [hostname(), bootId(), pidNamespace(), pid, startTime(pid)].join(" ")
}).pipe(Effect.orElseSucceed(() => ""))

/** True only when it is certain: the host was booted since, or the process is gone from a namespace that we see. */
export const isDead = (owner: string): Effect.Effect<boolean> =>
  Effect.try(() => {
    const [host, boot, namespace, pid, start] = owner.split(" ")
    if (host !== hostname() || pid === undefined) return false
    if (boot !== bootId()) return true
    if (namespace !== pidNamespace()) return false
    return Option.getOrUndefined(Option.liftThrowable(startTime)(pid)) !== start
  }).pipe(Effect.orElseSucceed(() => false))
