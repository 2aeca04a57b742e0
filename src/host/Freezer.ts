/**
 * Freezes a container by its cgroup, on this host: in less than a millisecond, where the daemon's way through its runtime
 * takes tens. The daemon does not notice.
 *
 * @since 0.1.0
 */
import { readFileSync, writeFileSync } from "node:fs"
import * as Path from "node:path"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import { HostUnavailable } from "./HostUnavailable.ts"

/** A cgroup that holds all of a container's processes, and nothing else. */
export interface Cgroup {
  /** What is written there freezes or thaws. */
  readonly file: string
  readonly freeze: string
  readonly thaw: string
  /** Tells whether all of them have come to rest. */
  readonly state: string
  readonly isFrozen: RegExp
}

/** Kernel documentation, cgroup-v1/freezer-subsystem. */
export const version1 = (directory: string): Cgroup => {
  const file = Path.join(directory, "freezer.state")
  return { file, freeze: "FROZEN", thaw: "THAWED", state: file, isFrozen: /^FROZEN$/m }
}

/** Kernel documentation, cgroup-v2, core interface files. */
export const version2 = (directory: string): Cgroup => ({
  file: Path.join(directory, "cgroup.freeze"),
  freeze: "1",
  thaw: "0",
  state: Path.join(directory, "cgroup.events"),
  isFrozen: /^frozen 1$/m
})

/** With the old hierarchies processes are frozen by theirs, whatever else there is. */
const hierarchies = [
  { line: /^\d+:(?:[^:]*,)?freezer(?:,[^:]*)?:(\/.*)$/m, root: "/sys/fs/cgroup/freezer", of: version1 },
  { line: /^0::(\/.*)$/m, root: "/sys/fs/cgroup", of: version2 }
] as const

/** systemd's name for it has the runtime's before the id. Inside there may be others, which the container has made. */
const ownPath = (path: string, id: string): string | undefined => {
  const names = path.split("/")
  const own = names.findLastIndex((name) => name !== "" && (name === id || name.endsWith(`-${id}.scope`)))
  return own < 0 ? undefined : names.slice(0, own + 1).join("/")
}

const isBelow = (path: string, directory: string) => path === directory || path.startsWith(`${directory}/`)

/** Of the lines of a process's `cgroup` in `/proc`, and of our own. We would freeze with it. */
export const fromProc = (theirs: string, ours: string, id: string): Option.Option<Cgroup> => {
  for (const { line, of, root } of hierarchies) {
    const path = line.exec(theirs)?.[1]
    if (path === undefined) continue
    const own = ownPath(path, id)
    const isOurs = own === undefined || isBelow(line.exec(ours)?.[1] ?? "", own)
    return isOurs ? Option.none() : Option.some(of(Path.join(root, own)))
  }
  return Option.none()
}

const orNone = <A>(look: () => A): Option.Option<A> => {
  try {
    return Option.some(look())
  } catch {
    return Option.none()
  }
}

const procOf = (pid: number | "self", file: string) => readFileSync(`/proc/${pid}/${file}`, "utf8")

/** None when the process is not seen here, or its cgroup does not have the container's name. */
export const find = (pid: number, id: string): Option.Option<Cgroup> =>
  pid === 0
    ? Option.none()
    : Option.flatten(orNone(() => fromProc(procOf(pid, "cgroup"), procOf("self", "cgroup"), id)))

/** That its root is the overlay with that upper directory proves that the process is the container's. */
export const isIn = (pid: number, upper: string): boolean =>
  Option.exists(
    orNone(() => procOf(pid, "mountinfo")),
    (mounts) => mounts.split(/[\s,]/).includes(`upperdir=${upper}`)
  )

/** Of what cannot be read nothing is frozen: it is gone. */
export const isFrozen = ({ isFrozen, state }: Cgroup): boolean =>
  Option.exists(
    orNone(() => readFileSync(state, "utf8")),
    (text) => isFrozen.test(text)
  )

const write = ({ file }: Cgroup, word: string) =>
  Effect.try({
    try: () => writeFileSync(file, word),
    catch: (cause) => new HostUnavailable({ message: `${file} cannot be written: ${String(cause)}` })
  })

/** A process that waits for a device is not frozen before it has what it waits for. */
const tries = 200

/** To write it once more is what lets processes that were just born come to rest. */
const freeze = Effect.fnUntraced(function* (cgroup: Cgroup) {
  for (let i = 0; i < tries; i++) {
    yield* write(cgroup, cgroup.freeze)
    if (isFrozen(cgroup)) return
    yield* Effect.sleep("1 millis")
  }
  return yield* new HostUnavailable({ message: `${cgroup.file}: the processes do not come to rest` })
}, Effect.withSpan("Host.freeze"))

/** Success, too, where all processes have ended. */
const thawOnce = (cgroup: Cgroup) =>
  Effect.catch(write(cgroup, cgroup.thaw), (error) => (isFrozen(cgroup) ? Effect.fail(error) : Effect.void))

/** Whoever froze it. Where that fails, the log says how to do it by hand: a finalizer has nobody else to tell. */
export const thaw = (cgroup: Cgroup): Effect.Effect<void> =>
  thawOnce(cgroup).pipe(
    Effect.retry({ schedule: Schedule.exponential("50 millis"), times: 8 }),
    Effect.ignoreCause({
      log: "Error",
      message: `a container is still frozen: "echo ${cgroup.thaw} > ${cgroup.file}" lets it run on`
    }),
    Effect.withSpan("Host.thaw")
  )

/**
 * Frozen until the scope closes. Fails, and nothing is frozen, where it cannot be, or where somebody else has frozen it.
 */
export const frozen = (cgroup: Cgroup): Effect.Effect<void, HostUnavailable, Scope.Scope> =>
  Effect.acquireRelease(
    isFrozen(cgroup)
      ? Effect.fail(new HostUnavailable({ message: `${cgroup.file}: it is frozen already` }))
      : Effect.tapError(freeze(cgroup), () => thaw(cgroup)),
    () => thaw(cgroup)
  )
