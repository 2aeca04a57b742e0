import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Option, Ref } from "effect"
import type { ContainerdError } from "../../src/core/ContainerdError.ts"
import * as Images from "../../src/core/Images.ts"
import * as Descriptor from "../../src/oci/Descriptor.ts"
import { failing, makeCalls, note } from "./Fakes.ts"

const image = (text: string): Images.Image => ({
  name: "docker.io/library/app:latest",
  target: Descriptor.of("application/json", Buffer.from(text)),
  labels: { text }
})

/** A store of one name, and what somebody else does to it before the calls of a kind, one after the other. */
const fake = Effect.fnUntraced(function* (
  before: Option.Option<Images.Image>,
  others: Partial<Record<"create" | "get" | "update", ReadonlyArray<Option.Option<Images.Image>>>> = {}
) {
  const stored = yield* Ref.make(before)
  const calls = yield* makeCalls
  const left = { create: [...(others.create ?? [])], get: [...(others.get ?? [])], update: [...(others.update ?? [])] }
  const found = (method: "create" | "get" | "update") =>
    Effect.gen(function* () {
      yield* note(calls, method)
      const change = left[method].shift()
      if (change !== undefined) yield* Ref.set(stored, change)
      return yield* Ref.get(stored)
    })
  const orNotFound = (current: Option.Option<Images.Image>): Effect.Effect<Images.Image, ContainerdError> =>
    Option.match(current, { onNone: () => Effect.fail(failing("NotFound")), onSome: Effect.succeed })
  const layer = Layer.mock(Images.Images, {
    create: (created) =>
      Effect.flatMap(found("create"), (current) =>
        Option.isSome(current) ? Effect.fail(failing("AlreadyExists")) : Ref.set(stored, Option.some(created))
      ),
    get: () => Effect.flatMap(found("get"), orNotFound),
    update: (updated) =>
      found("update").pipe(Effect.flatMap(orNotFound), Effect.andThen(Ref.set(stored, Option.some(updated))))
  })
  return { layer, stored: Ref.get(stored), calls: Ref.get(calls) }
})

const gone = Option.none<Images.Image>()
const there = (text: string) => Option.some(image(text))

describe("put", () => {
  it.effect.each([
    ["creates a name that is not there", gone, {}, gone, ["create"]],
    ["replaces and gives the old one", there("old"), {}, there("old"), ["create", "get", "update"]],
    ["gives nothing when the digest was the same", there("new"), {}, gone, ["create", "get", "update"]],
    [
      "creates it after all when it is gone meanwhile",
      there("old"),
      { get: [gone] },
      gone,
      ["create", "get", "create"]
    ],
    [
      "creates it after all when it is gone at the last moment",
      there("old"),
      { update: [gone] },
      gone,
      ["create", "get", "update", "create"]
    ],
    [
      "replaces what came when its create was too late",
      gone,
      { create: [there("other")] },
      there("other"),
      ["create", "get", "update"]
    ],
    [
      "goes on through several races",
      there("a"),
      { create: [there("a"), there("b"), there("c")], get: [gone], update: [gone] },
      there("c"),
      ["create", "get", "create", "get", "update", "create", "get", "update"]
    ]
  ] as const)("%s", ([, before, others, replaced, expected]) =>
    Effect.gen(function* () {
      const { calls, layer, stored } = yield* fake(before, others)
      assert.deepStrictEqual(yield* Effect.provide(Images.put(image("new")), layer), replaced)
      assert.deepStrictEqual(yield* stored, there("new"))
      assert.deepStrictEqual(yield* calls, expected)
    })
  )

  it.effect("sets the labels when the target is the same", () =>
    Effect.gen(function* () {
      const { layer, stored } = yield* fake(there("new"))
      const other = { ...image("new"), labels: { other: "label" } }
      yield* Effect.provide(Images.put(other), layer)
      assert.deepStrictEqual(yield* stored, Option.some(other))
    })
  )

  it.effect("gives up when somebody else creates and deletes it all the time", () =>
    Effect.gen(function* () {
      const { layer } = yield* fake(gone, {
        create: Array.from({ length: 100 }, () => there("other")),
        get: Array.from({ length: 100 }, () => gone)
      })
      const error = yield* Effect.flip(Effect.provide(Images.put(image("new")), layer))
      assert.strictEqual(error.reason._tag, "Unavailable")
      assert.isTrue(error.isRetryable)
      assert.include(error.message, "docker.io/library/app:latest is being created and deleted by somebody else")
    })
  )

  it.effect.each(["create", "get", "update"] as const)("passes other errors of %s on at once", (method) =>
    Effect.gen(function* () {
      const { calls, layer } = yield* fake(there("old"))
      const broken = Effect.map(Images.Images, (images) =>
        Images.Images.of({ ...images, [method]: () => Effect.fail(failing("PermissionDenied")) })
      )
      const error = yield* Images.put(image("new")).pipe(
        Effect.provideServiceEffect(Images.Images, broken),
        Effect.provide(layer),
        Effect.flip
      )
      assert.strictEqual(error.reason._tag, "PermissionDenied")
      assert.deepStrictEqual(
        yield* calls,
        ["create", "get", "update"].slice(0, ["create", "get", "update"].indexOf(method))
      )
    })
  )
})
