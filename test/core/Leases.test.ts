import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer, Option, Ref } from "effect"
import { TestClock } from "effect/testing"
import type { ContainerdError } from "../../src/core/ContainerdError.ts"
import * as Leases from "../../src/core/Leases.ts"
import { endingIn, endingOf, endings, eventually, failing } from "./Fakes.ts"

interface Answers {
  readonly create?: Effect.Effect<void, ContainerdError>
  readonly delete?: Effect.Effect<void, ContainerdError>
}

const fake = Effect.fnUntraced(function* (answers: Answers = {}) {
  const created = yield* Ref.make<ReadonlyArray<Leases.LeaseInfo>>([])
  const deleted = yield* Ref.make<ReadonlyArray<string>>([])
  const layer = Layer.mock(Leases.Leases, {
    create: (lease) =>
      Effect.andThen(
        Ref.update(created, (all) => [...all, lease]),
        answers.create ?? Effect.void
      ),
    delete: (id) =>
      Effect.andThen(
        Ref.update(deleted, (all) => [...all, id]),
        answers.delete ?? Effect.void
      )
  })
  return { layer, created: Ref.get(created), deleted: Ref.get(deleted) }
})

const forms: ReadonlyArray<
  readonly [string, <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | ContainerdError, R | Leases.Leases>]
> = [
  ["withLease", Leases.withLease({ id: "id" })],
  ["scoped", (self) => Effect.scoped(Effect.andThen(Leases.scoped({ id: "id" }), self))]
]

describe.each(forms)("%s", (_, underLease) => {
  it.effect.each(endings)("deletes the lease on %s, after the work", (ending) =>
    Effect.gen(function* () {
      const { created, deleted, layer } = yield* fake()
      const exit = yield* endingIn(ending, (last) =>
        Effect.gen(function* () {
          assert.strictEqual((yield* created).length, 1)
          assert.deepStrictEqual(yield* deleted, [])
          yield* last
        }).pipe(underLease)
      ).pipe(Effect.provide(layer))
      assert.strictEqual(endingOf(exit), ending)
      assert.deepStrictEqual(yield* deleted, ["id"])
    })
  )

  it.effect.each([
    ["fails", Effect.fail(failing("Unavailable"))],
    ["dies", Effect.die("defect")]
  ] as const)("is not spoiled by a delete that %s", ([, answer]) =>
    Effect.gen(function* () {
      const { deleted, layer } = yield* fake({ delete: answer })
      const succeeding = Effect.succeed(5).pipe(underLease, Effect.provide(layer))
      assert.deepStrictEqual(yield* eventually(succeeding), Exit.succeed(5))
      const program = Effect.fail("of the program").pipe(underLease, Effect.provide(layer))
      assert.deepStrictEqual(yield* eventually(program), Exit.fail("of the program"))
      assert.deepStrictEqual(
        yield* deleted,
        Array.from({ length: 10 }, () => "id")
      )
    })
  )

  it.effect("does not run the work, and deletes nothing, when the lease is taken", () =>
    Effect.gen(function* () {
      const { deleted, layer } = yield* fake({ create: Effect.fail(failing("AlreadyExists")) })
      const program = Effect.die("the work ran").pipe(underLease, Effect.provide(layer))
      assert.deepStrictEqual(yield* Effect.exit(program), Exit.fail(failing("AlreadyExists")))
      assert.deepStrictEqual(yield* deleted, [])
    })
  )

  it.effect("gives a lease that ends by itself after 24 hours", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(Date.UTC(2024, 1, 28, 12))
      const { created, layer } = yield* fake()
      yield* Effect.void.pipe(underLease, Effect.provide(layer))
      assert.deepStrictEqual(yield* created, [
        { id: "id", labels: { [Leases.expireLabel]: "2024-02-29T12:00:00.000Z" } }
      ])
    })
  )
})

describe("the options of a lease", () => {
  it.effect("set its expiry and its other labels, and are in what is held", () =>
    Effect.gen(function* () {
      const { created, layer } = yield* fake()
      const options = { id: "id", labels: { a: "b", [Leases.expireLabel]: "never" }, expiresIn: "90 seconds" } as const
      const held = yield* Leases.scoped(options).pipe(Effect.scoped, Effect.provide(layer))
      const labels = { a: "b", "containerd.io/gc.expire": "1970-01-01T00:01:30.000Z" }
      assert.deepStrictEqual(yield* created, [{ id: "id", labels }])
      assert.deepStrictEqual([held.id, held.labels], ["id", labels])
    })
  )
})

describe("withLease", () => {
  it.effect("provides the lease", () =>
    Effect.gen(function* () {
      const { layer } = yield* fake()
      const id = yield* Leases.Lease.useSync((lease) => lease.id).pipe(
        Leases.withLease({ id: "mine" }),
        Effect.provide(layer)
      )
      assert.strictEqual(id, "mine")
    })
  )

  it.effect("inside of a lease goes on under that one", () =>
    Effect.gen(function* () {
      const { created, deleted, layer } = yield* fake()
      const inner = Leases.Lease.useSync((lease) => lease.id).pipe(Leases.withLease({ id: "inner" }))
      const id = yield* inner.pipe(
        Effect.tap(() => Effect.andThen(deleted, (all) => Effect.sync(() => assert.deepStrictEqual(all, [])))),
        Leases.withLease({ id: "outer" }),
        Effect.provide(layer)
      )
      assert.strictEqual(id, "outer")
      assert.deepStrictEqual(
        (yield* created).map((lease) => lease.id),
        ["outer"]
      )
      assert.deepStrictEqual(yield* deleted, ["outer"])
    })
  )

  it.effect("does not hand the lease on after its end", () =>
    Effect.gen(function* () {
      const { layer } = yield* fake()
      yield* Effect.void.pipe(Leases.withLease({ id: "id" }), Effect.provide(layer))
      assert.isTrue(Option.isNone(yield* Effect.serviceOption(Leases.Lease)))
    })
  )
})

describe("snapshotResource", () => {
  it("names the snapshotter in the type", () => {
    assert.deepStrictEqual(Leases.snapshotResource("overlayfs", "k"), { type: "snapshots/overlayfs", id: "k" })
  })
})
