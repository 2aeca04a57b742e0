import { randomUUID } from "node:crypto"
import { Effect, type Scope } from "effect"
import * as Cgroup from "./Cgroup.ts"
import type { RunningContainerd } from "./Containerd.ts"
import type { DaemonError } from "./Process.ts"
import * as Tree from "./Tree.ts"

export type Status = "CREATED" | "RUNNING" | "PAUSED" | "STOPPED" | "NONE"

export interface Options {
  /** The name of an image that is in containerd. */
  readonly image: string
  readonly id?: string | undefined
  readonly snapshotter?: string | undefined
  readonly namespace?: string | undefined
  /** The command; it sleeps by default. */
  readonly args?: ReadonlyArray<string> | undefined
  /** More flags of `ctr run`: --uidmap, --mount, --env, … */
  readonly flags?: ReadonlyArray<string> | undefined
}

export interface Container {
  readonly id: string
  readonly image: string
  readonly snapshotter: string
  readonly namespace: string
  /** Runs a shell script in the container, to its first failure, and gives what it prints. */
  readonly exec: (script: string) => Effect.Effect<string, DaemonError>
  /** Starts the task of a container that has none. */
  readonly start: Effect.Effect<void, DaemonError>
  /** Kills and deletes the task. The container and its files stay. */
  readonly stop: Effect.Effect<void, DaemonError>
  readonly pause: Effect.Effect<void, DaemonError>
  readonly resume: Effect.Effect<void, DaemonError>
  /** NONE: there is no task. */
  readonly status: Effect.Effect<Status, DaemonError>
  readonly pid: Effect.Effect<number, DaemonError>
  /** As its cgroup says, whoever froze it: the status is PAUSED only when the daemon did. */
  readonly isFrozen: Effect.Effect<boolean, DaemonError>
  /** The files of a running container as a directory of this machine, for what busybox cannot do (setfattr). */
  readonly root: Effect.Effect<string, DaemonError>
  readonly tree: (options?: Tree.Options) => Effect.Effect<ReadonlyArray<Tree.TreeEntry>, DaemonError>
}

const forever = ["sleep", "2147483647"]

const isStatus = (word: string): word is Status => ["CREATED", "RUNNING", "PAUSED", "STOPPED"].includes(word)

/** An id also names a cgroup and runc's state, which all daemons share. */
const newId = (): string => `test-${randomUUID()}`

const make = (containerd: RunningContainerd, options: Options): Container => {
  const { image, id = newId(), snapshotter = "overlayfs", namespace = "default" } = options
  const ctr = (...args: ReadonlyArray<string>) => containerd.ctr(args, { namespace })
  const task = Effect.gen(function* () {
    const lines = (yield* ctr("tasks", "ls")).split("\n").map((line) => line.split(/\s+/))
    const [, pid = "0", word = ""] = lines.find(([name]) => name === id) ?? []
    return { pid: Number(pid), status: isStatus(word) ? word : ("NONE" as const) }
  })
  const resume = Effect.asVoid(ctr("tasks", "resume", id))
  const stop = Effect.gen(function* () {
    const { status } = yield* task
    if (status === "PAUSED") yield* resume
    if (status !== "NONE") yield* ctr("tasks", "rm", "--force", id)
  })
  return {
    id,
    image,
    snapshotter,
    namespace,
    exec: (script) =>
      ctr(
        ...["tasks", "exec", "--fifo-dir", `${containerd.directory}/fifo`, "--exec-id", newId()],
        ...[id, "sh", "-ec", script]
      ),
    start: Effect.asVoid(ctr("tasks", "start", "--detach", "--null-io", id)),
    stop,
    pause: Effect.asVoid(ctr("tasks", "pause", id)),
    resume,
    status: Effect.map(task, ({ status }) => status),
    pid: Effect.map(task, ({ pid }) => pid),
    isFrozen: Effect.map(task, ({ pid }) => Cgroup.isFrozen(pid)),
    root: Effect.map(task, ({ pid }) => `/proc/${pid}/root`),
    tree: (treeOptions) => Tree.ofSnapshot(containerd, { snapshotter, key: id, namespace }, treeOptions)
  }
}

/** Robust: the container may be gone, or the daemon itself. */
const remove = (containerd: RunningContainerd, { id, namespace, stop }: Container): Effect.Effect<void> =>
  stop.pipe(Effect.ignore, Effect.andThen(containerd.ctr(["containers", "rm", id], { namespace })), Effect.ignoreCause)

const acquire = (
  containerd: RunningContainerd,
  options: Options,
  command: ReadonlyArray<string>
): Effect.Effect<Container, DaemonError, Scope.Scope> => {
  const container = make(containerd, options)
  const flags = ["--snapshotter", container.snapshotter, ...(options.flags ?? [])]
  const args = [...command, ...flags, container.image, container.id, ...(options.args ?? forever)]
  return Effect.acquireRelease(
    Effect.as(containerd.ctr(args, { namespace: container.namespace }), container),
    (created) => remove(containerd, created)
  )
}

/** A container with its snapshot, without a task. */
export const create = (containerd: RunningContainerd, options: Options) =>
  acquire(containerd, options, ["containers", "create"])

/** A container that runs until the scope closes. */
export const run = (containerd: RunningContainerd, options: Options) =>
  acquire(containerd, options, ["run", "--detach", "--null-io"])

/** Runs a shell script in a new container of an image and gives what it prints. */
export const runOnce = (
  containerd: RunningContainerd,
  options: Omit<Options, "id" | "args">,
  script: string
): Effect.Effect<string, DaemonError> => {
  const container = make(containerd, { ...options, id: undefined })
  const flags = ["--snapshotter", container.snapshotter, ...(options.flags ?? [])]
  const fifos = ["--fifo-dir", `${containerd.directory}/fifo`]
  return containerd.ctr(["run", "--rm", ...fifos, ...flags, container.image, container.id, "sh", "-ec", script], {
    namespace: container.namespace
  })
}
