/**
 * Part of step `resolve`: the container that is meant, and whether its files are where a commit looks for them.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { type Container, Containers } from "../core/Containers.ts"
import { Namespaces } from "../core/Namespaces.ts"
import { ContainerNotFound, Uncommittable } from "./CommitError.ts"
import type { Request } from "./Options.ts"

const notFound = Effect.fnUntraced(function* (id: string) {
  const namespaces = yield* Namespaces
  const current = yield* namespaces.current
  const names = yield* namespaces.list.pipe(
    Effect.map((list) => list.map(({ name }) => name).join(", ")),
    Effect.orElseSucceed(() => "")
  )
  const others = names === "" ? "" : `; the namespaces here are: ${names}`
  return yield* new ContainerNotFound({
    message: `there is no container "${id}" in the namespace "${current}"${others}`
  })
})

/** nerdctl's label of a container's name. */
const nameLabel = "nerdctl/name"

/** Ids of nerdctl, CRI and Docker are long and hexadecimal, and people type the first digits. */
const isStart = (text: string) => /^[0-9a-f]{4,63}$/.test(text)

/** By nerdctl's name, or by the start of an id. */
const search = Effect.fnUntraced(function* (text: string) {
  const containers = yield* Containers
  const filters = [
    `labels.${JSON.stringify(nameLabel)}==${JSON.stringify(text)}`,
    ...(isStart(text) ? [`id~=^${text}`] : [])
  ]
  const found = yield* Stream.runCollect(containers.list(filters)).pipe(
    // Not every backend can filter.
    Effect.catchReason("ContainerdError", "Unimplemented", () => Effect.succeed<Array<Container>>([]))
  )
  const [only, ...others] = found
  if (only === undefined) return yield* notFound(text)
  if (others.length === 0) return only
  const ids = found.map(({ id }) => id).join(", ")
  return yield* new ContainerNotFound({
    message: `"${text}" could be any of the containers ${ids}: give more of the id`
  })
})

/** The container itself, else the only one that the text names or begins. */
export const findContainer = Effect.fnUntraced(function* ({ container }: Request) {
  const containers = yield* Containers
  return yield* containers
    .get(container)
    .pipe(Effect.catchReason("ContainerdError", "NotFound", () => search(container)))
})

/** Runtimes that keep a part of the files, or all of them, in a place of their own (gVisor's overlay, Kata's guest). */
const sandboxes = [
  { runtime: /runsc|gvisor/i, name: "gVisor" },
  { runtime: /kata/i, name: "Kata Containers" }
]

/** Fails for what is going away, and for what a commit would silently lose files of. */
export const checkCommittable = (
  { id, labels, runtime, runtimeProgram = "", uncommittable }: Container,
  { allowSandboxed }: Request
): Effect.Effect<void, Uncommittable> => {
  if (uncommittable !== undefined) return Effect.fail(new Uncommittable({ message: uncommittable }))
  if (labels["io.cri-containerd.kind"] === "sandbox") {
    const message = `${id} is the sandbox of a pod, not one of its containers`
    return Effect.fail(new Uncommittable({ message }))
  }
  // A shim of runc's may have been told to run another program.
  const sandbox = sandboxes.find((one) => one.runtime.test(runtime) || one.runtime.test(runtimeProgram))
  if (sandbox === undefined || allowSandboxed === true) return Effect.void
  const message = `the container runs in ${sandbox.name}, which may keep files where nothing outside can read them: allow sandboxed containers to commit what is in the snapshot`
  return Effect.fail(new Uncommittable({ message }))
}
