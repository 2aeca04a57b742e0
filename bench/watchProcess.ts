/**
 * Watches while commits are measured, in a process of its own so that nobody's work delays it: how long containers are
 * frozen, and how much memory processes take with all their children. Started by `watch.ts`.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs"
import { Schema } from "effect"
import * as Cgroup from "../test/support/Cgroup.ts"
import { type Seen, ToWatcher, type Watched } from "./watchMessages.ts"

const attempt = <A>(f: () => A, otherwise: A): A => {
  try {
    return f()
  } catch {
    return otherwise // the process may be gone
  }
}

const read = (path: string): string => attempt(() => readFileSync(path, "utf8"), "")

const children = (pid: number): ReadonlyArray<number> =>
  attempt(() => readdirSync(`/proc/${pid}/task`), []).flatMap((thread) =>
    read(`/proc/${pid}/task/${thread}/children`).split(" ").filter(Boolean).map(Number)
  )

/** A child that has not become its program yet shows its parent's memory once more. */
const withDescendants = (pid: number): ReadonlyArray<number> => {
  const program = read(`/proc/${pid}/cmdline`)
  const started = children(pid).filter((child) => read(`/proc/${child}/cmdline`) !== program)
  return [pid, ...started.flatMap(withDescendants)]
}

/** The most that the process has had at a time since `clear_refs`. */
const peakOf = (pid: number): number => Number(/^VmHWM:\s+(\d+)/m.exec(read(`/proc/${pid}/status`))?.[1] ?? 0) * 1024

const sumOf = (pids: ReadonlyArray<number>): number => pids.reduce((sum, pid) => sum + peakOf(pid), 0)

const every = 2
const memoryEvery = 10

/** Of several containers, the longest. */
const freezing = (freezers: ReadonlyArray<Cgroup.Freezer>) => {
  const total = freezers.map(() => 0)
  const since = freezers.map(() => 0)
  return {
    look: () => {
      const now = performance.now()
      freezers.forEach(({ file, frozen }, i) => {
        const isFrozen = read(file) === frozen
        if (since[i] !== 0) total[i] = (total[i] ?? 0) + now - (since[i] ?? now)
        since[i] = isFrozen ? now : 0
      })
    },
    most: () => Math.max(0, ...total)
  }
}

const watch = ({ containers, daemons, own }: Watched) => {
  const freezers = freezing(containers.flatMap(Cgroup.freezersOf))
  const followed = [...own]
  const seen = { own: 0, daemons: 0 }
  for (const pid of [...own, ...daemons]) attempt(() => writeFileSync(`/proc/${pid}/clear_refs`, "5"), undefined)
  const measureMemory = () => {
    seen.own = Math.max(seen.own, sumOf(followed.flatMap(withDescendants)))
    seen.daemons = Math.max(seen.daemons, sumOf(daemons))
  }
  const timers = [setInterval(freezers.look, every), setInterval(measureMemory, memoryEvery)]
  return {
    follow: (pid: number) => followed.push(pid),
    stop: (): Seen => {
      timers.forEach(clearInterval)
      freezers.look()
      measureMemory()
      return { frozenMs: freezers.most(), ownPeak: seen.own, daemonsPeak: seen.daemons }
    }
  }
}

let current: ReturnType<typeof watch> | undefined

const decode = Schema.decodeUnknownSync(ToWatcher)

process.on("message", (message) => {
  const { follow, stop, watch: begin } = decode(message)
  if (begin !== undefined) {
    current?.stop()
    current = watch(begin)
    process.send?.("watching")
  }
  if (follow !== undefined) current?.follow(follow)
  if (stop === true) process.send?.(current?.stop())
})
process.on("disconnect", () => process.exit(0))
