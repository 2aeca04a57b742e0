import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Stream } from "effect"
import { checkCommittable, findContainer } from "../../src/commit/FindContainer.ts"
import { check } from "../../src/commit/Options.ts"
import { ContainerdError, NotFound } from "../../src/core/ContainerdError.ts"
import { type Container, Containers } from "../../src/core/Containers.ts"
import { Namespaces } from "../../src/core/Namespaces.ts"

const containerOf = (id: string, fields: Partial<Container> = {}): Container => ({
  ...{ id, labels: {}, image: "", runtime: "io.containerd.runc.v2", snapshotter: "", snapshotKey: id },
  spec: new Uint8Array(),
  ...fields
})

const all = [
  containerOf("abcd0001"),
  containerOf("abcd0002", { labels: { "nerdctl/name": "web" } }),
  containerOf("abcd", { labels: { "nerdctl/name": "db" } }),
  containerOf("ef010203")
]

/** Of containerd's filters those that are asked with. */
const matches = (filter: string, { id, labels }: Container): boolean =>
  filter.startsWith("id~=^")
    ? id.startsWith(filter.slice(5))
    : filter === `labels."nerdctl/name"=="${labels["nerdctl/name"]}"`

const services = Layer.mergeAll(
  Layer.mock(Containers, {
    get: (id) => {
      const found = all.find((one) => one.id === id)
      const reason = new NotFound({ message: "not found" })
      return found === undefined ? new ContainerdError({ method: "Containers.Get", reason }) : Effect.succeed(found)
    },
    list: (filters = []) => Stream.fromIterable(all.filter((one) => filters.some((filter) => matches(filter, one))))
  }),
  Layer.mock(Namespaces, { current: Effect.succeed("here"), list: Effect.succeed([{ name: "moby", labels: {} }]) })
)

const find = (container: string) => Effect.flatMap(check({ container }), findContainer).pipe(Effect.provide(services))

describe("the container that is meant", () => {
  it.effect.each([
    ["abcd", "abcd"],
    ["abcd0001", "abcd0001"],
    ["ef01", "ef010203"],
    ["web", "abcd0002"],
    ["db", "abcd"]
  ] as const)("%s is %s: the id before its start, and nerdctl's names", ([text, id]) =>
    Effect.gen(function* () {
      assert.strictEqual((yield* find(text)).id, id)
    })
  )

  it.effect.each([
    ["abcd000", /"abcd000" could be any of the containers abcd0001, abcd0002: give more of the id/],
    ["ef0", /there is no container "ef0" in the namespace "here"; the namespaces here are: moby/],
    ["nothing", /there is no container "nothing"/]
  ] as const)("%s is none", ([text, message]) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(find(text))
      assert.strictEqual(error._tag, "ContainerNotFound")
      assert.match(error.message, message)
    })
  )

  it.effect.each([
    ["io.containerd.runsc.v1", undefined, /gVisor/],
    ["io.containerd.kata-qemu.v2", undefined, /Kata Containers.*: allow sandboxed containers/],
    ["io.containerd.runc.v2", "/usr/local/bin/runsc", /gVisor/],
    ["secure", "io.containerd.kata.v2", /Kata Containers/]
  ] as const)("is refused in %s that runs %s, unless it is allowed", ([runtime, runtimeProgram, message]) =>
    Effect.gen(function* () {
      const container = containerOf("c", { runtime, runtimeProgram })
      const error = yield* Effect.flip(checkCommittable(container, yield* check({ container: "c" })))
      assert.match(error.message, message)
      yield* checkCommittable(container, yield* check({ container: "c", allowSandboxed: true }))
      yield* checkCommittable(containerOf("c"), yield* check({ container: "c" }))
    })
  )

  it.effect("is refused when it is the sandbox of a pod, whatever is allowed", () =>
    Effect.gen(function* () {
      const pod = containerOf("c", { labels: { "io.cri-containerd.kind": "sandbox" } })
      const error = yield* Effect.flip(checkCommittable(pod, yield* check({ container: "c", allowSandboxed: true })))
      assert.strictEqual(error._tag, "Uncommittable")
    })
  )
})
