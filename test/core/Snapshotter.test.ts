import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Ref, Stream } from "effect"
import type { ContainerdError } from "../../src/core/ContainerdError.ts"
import * as Leases from "../../src/core/Leases.ts"
import * as Snapshotter from "../../src/core/Snapshotter.ts"
import { endingIn, endingOf, endings, failing, makeCalls, note } from "./Fakes.ts"

interface Answers {
  readonly prepare?: Effect.Effect<void, ContainerdError>
  readonly commit?: Effect.Effect<void, ContainerdError>
  readonly remove?: Effect.Effect<void, ContainerdError>
}

const mounts = [{ type: "overlay", source: "overlay", target: "", options: ["rw"] }]

/** A snapshotter that remembers what it was asked. */
const fake = Effect.fnUntraced(function* (answers: Answers = {}) {
  const calls = yield* makeCalls
  const answer = (call: string, effect: Effect.Effect<void, ContainerdError> = Effect.void) =>
    Effect.andThen(note(calls, call), effect)
  const snapshotter = Snapshotter.make("overlayfs", {
    stat: (name) => Effect.succeed({ name, parent: "", kind: "active", labels: {} }),
    mounts: () => Effect.succeed(mounts),
    usage: () => Effect.succeed({ size: 0, inodes: 0 }),
    list: () => Stream.empty,
    prepare: ({ key, parent }) => Effect.as(answer(`prepare ${key} on ${parent}`, answers.prepare), mounts),
    view: ({ key, parent }) => Effect.as(answer(`view ${key} on ${parent}`, answers.prepare), mounts),
    commit: (name, key, labels) => answer(`commit ${key} as ${name} ${JSON.stringify(labels)}`, answers.commit),
    remove: (key) => answer(`remove ${key}`, answers.remove)
  })
  return { snapshotter, calls: Ref.get(calls) }
})

const noLeases = Layer.mock(Leases.Leases, { create: () => Effect.void, delete: () => Effect.void })
const leased = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  self.pipe(Leases.withLease({ id: "test" }), Effect.provide(noLeases))

const removals: ReadonlyArray<readonly [string, Effect.Effect<void, ContainerdError>, number]> = [
  ["works", Effect.void, 1],
  ["fails", Effect.fail(failing("FailedPrecondition")), 5],
  ["dies", Effect.die("defect"), 5]
]

describe.each(removals)("where remove %s", (_, remove, tries) => {
  const removed = Array.from({ length: tries }, () => "remove k")

  it.effect.each(endings)("an active snapshot is removed on %s", (ending) =>
    Effect.gen(function* () {
      const { calls, snapshotter } = yield* fake({ remove })
      const exit = yield* endingIn(ending, (last) =>
        Effect.scoped(Effect.andThen(snapshotter.prepare({ key: "k", parent: "p" }), last))
      ).pipe(leased)
      assert.strictEqual(endingOf(exit), ending)
      assert.deepStrictEqual(yield* calls, ["prepare k on p", ...removed])
    })
  )

  it.effect.each(endings)("a view is removed on %s", (ending) =>
    Effect.gen(function* () {
      const { calls, snapshotter } = yield* fake({ remove })
      const exit = yield* endingIn(ending, (last) =>
        Effect.scoped(Effect.andThen(snapshotter.view({ key: "k", parent: "p" }), last))
      ).pipe(leased)
      assert.strictEqual(endingOf(exit), ending)
      assert.deepStrictEqual(yield* calls, ["view k on p", ...removed])
    })
  )
})

describe("an active snapshot", () => {
  it.effect.each(endings)("that is committed is not removed on %s", (ending) =>
    Effect.gen(function* () {
      const { calls, snapshotter } = yield* fake()
      const exit = yield* endingIn(ending, (last) =>
        snapshotter.prepare({ key: "k", parent: "" }).pipe(
          Effect.flatMap((active) => active.commit("name", { labels: { a: "b" } })),
          Effect.andThen(last),
          Effect.scoped
        )
      ).pipe(leased)
      assert.strictEqual(endingOf(exit), ending)
      assert.deepStrictEqual(yield* calls, ["prepare k on ", 'commit k as name {"a":"b"}'])
    })
  )

  it.effect("is removed when its commit fails", () =>
    Effect.gen(function* () {
      const { calls, snapshotter } = yield* fake({ commit: Effect.fail(failing("AlreadyExists")) })
      const exit = yield* snapshotter.prepare({ key: "k", parent: "" }).pipe(
        Effect.flatMap((active) => active.commit("name")),
        Effect.scoped,
        leased,
        Effect.exit
      )
      assert.deepStrictEqual(exit, Exit.fail(failing("AlreadyExists")))
      assert.deepStrictEqual(yield* calls, ["prepare k on ", "commit k as name {}", "remove k"])
    })
  )

  it.effect("is not removed when the interruption comes while it is committed", () =>
    Effect.gen(function* () {
      const started = yield* Deferred.make<void>()
      const done = yield* Deferred.make<void>()
      const { calls, snapshotter } = yield* fake({
        commit: Effect.andThen(Deferred.succeed(started, undefined), Deferred.await(done))
      })
      const fiber = yield* snapshotter.prepare({ key: "k", parent: "" }).pipe(
        Effect.flatMap((active) => active.commit("name")),
        Effect.scoped,
        leased,
        Effect.forkChild
      )
      yield* Deferred.await(started)
      const interruption = yield* Effect.forkChild(Fiber.interrupt(fiber), { startImmediately: true })
      yield* Deferred.succeed(done, undefined)
      yield* Fiber.join(interruption)
      assert.strictEqual(endingOf(yield* Fiber.await(fiber)), "interruption")
      assert.deepStrictEqual(yield* calls, ["prepare k on ", "commit k as name {}"])
    })
  )

  it.effect("that could not be made is not removed", () =>
    Effect.gen(function* () {
      const { calls, snapshotter } = yield* fake({ prepare: Effect.fail(failing("AlreadyExists")) })
      for (const make of [snapshotter.prepare, snapshotter.view]) {
        const error = yield* make({ key: "k", parent: "p" }).pipe(Effect.scoped, leased, Effect.flip)
        assert.strictEqual(error.reason._tag, "AlreadyExists")
      }
      assert.deepStrictEqual(yield* calls, ["prepare k on p", "view k on p"])
    })
  )

  it.effect("is there until its scope closes, with the backend's mounts", () =>
    Effect.gen(function* () {
      const { calls, snapshotter } = yield* fake()
      yield* Effect.gen(function* () {
        const view = yield* snapshotter.view({ key: "v", parent: "p" })
        const active = yield* snapshotter.prepare({ key: "a", parent: "p" })
        assert.deepStrictEqual([view.key, view.mounts, active.key, active.mounts], ["v", mounts, "a", mounts])
        assert.deepStrictEqual(yield* calls, ["view v on p", "prepare a on p"])
      }).pipe(Effect.scoped, leased)
      assert.deepStrictEqual((yield* calls).slice(2), ["remove a", "remove v"])
    })
  )

  it.effect("keeps the rest of the backend's operations as they are", () =>
    Effect.gen(function* () {
      const { calls, snapshotter } = yield* fake({ remove: Effect.fail(failing("FailedPrecondition")) })
      assert.strictEqual(snapshotter.name, "overlayfs")
      assert.strictEqual((yield* snapshotter.stat("x")).name, "x")
      assert.deepStrictEqual(yield* snapshotter.mounts("x"), mounts)
      assert.deepStrictEqual(yield* Effect.exit(snapshotter.remove("x")), Exit.fail(failing("FailedPrecondition")))
      assert.deepStrictEqual(yield* calls, ["remove x"])
    })
  )
})
