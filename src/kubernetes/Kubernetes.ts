/**
 * Containers of pods, as containerd's CRI plugin records them: in the namespace `k8s.io`, with the kubelet's labels. What
 * is found is committed as any other container, and CRI knows the new image as soon as it is there: a pod with the
 * policy `IfNotPresent` or `Never` runs it on this node. CRI keeps an image under its id (`crictl images`), too: the
 * `parent` for a container whose image has lost its name.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as Containerd from "../containerd/Containerd.ts"
import { ContainerdError, FailedPrecondition, NotFound } from "../core/ContainerdError.ts"
import { type Container, Containers } from "../core/Containers.ts"
import { Tasks } from "../core/Tasks.ts"

export interface PodContainer {
  readonly pod: string
  /** Of the pod; `default` by default. */
  readonly podNamespace?: string | undefined
  /** Its name in the pod; may be left out where the pod has one container. */
  readonly container?: string | undefined
}

const label = {
  kind: "io.cri-containerd.kind",
  pod: "io.kubernetes.pod.name",
  podNamespace: "io.kubernetes.pod.namespace",
  container: "io.kubernetes.container.name"
} as const

const method = "Kubernetes.find"

const filterOf = ({ container, pod, podNamespace = "default" }: PodContainer): string =>
  Object.entries({
    [label.kind]: "container",
    [label.pod]: pod,
    [label.podNamespace]: podNamespace,
    ...(container === undefined ? {} : { [label.container]: container })
  })
    .map(([key, value]) => `labels.${JSON.stringify(key)}==${JSON.stringify(value)}`)
    .join(",")

const nameOf = ({ labels }: Container) => labels[label.container] ?? ""

const isAlive = Effect.fnUntraced(function* ({ id }: Container) {
  const tasks = yield* Tasks
  const { status } = yield* tasks.get(id)
  return status === "running" || status === "paused" || status === "pausing"
})

/** After restarts a pod has several of one name: the one that runs, else the newest. */
const choose = Effect.fnUntraced(function* (containers: ReadonlyArray<Container>) {
  const [newest, ...older] = containers.toSorted((a, b) => (b.createdAt ?? 0) - (a.createdAt ?? 0))
  if (older.length === 0) return newest
  const [alive] = yield* Effect.filter(containers, isAlive, { concurrency: 4 })
  return alive ?? newest
})

const refused = (reason: ContainerdError["reason"]) => new ContainerdError({ method, reason })

/**
 * The container of a pod; its `id` is what `Commit.commit` takes. Fails with `NotFound`, and with `FailedPrecondition`
 * for a pod of several containers when none is named.
 */
export const find = Effect.fn("Kubernetes.find")(function* (wanted: PodContainer) {
  const containers = yield* Containers
  const found = yield* Stream.runCollect(containers.list([filterOf(wanted)]))
  const pod = `${wanted.podNamespace ?? "default"}/${wanted.pod}`
  const names = [...new Set(found.map(nameOf))].sort()
  if (names.length > 1) {
    const message = `the pod ${pod} has the containers ${names.join(", ")}: name one`
    return yield* refused(new FailedPrecondition({ message }))
  }
  const chosen = yield* choose(found)
  if (chosen !== undefined) return chosen
  const which = wanted.container === undefined ? "no container" : `no container "${wanted.container}"`
  const message = `there is ${which} of the pod ${pod} on this node: look with crictl ps -a`
  return yield* refused(new NotFound({ message }))
})

/** containerd's services in the namespace of CRI. */
export const layer = (
  options: Omit<Containerd.ContainerdOptions, "namespace"> = {}
): Layer.Layer<Containerd.Services> => Containerd.layer({ ...options, namespace: "k8s.io" })
