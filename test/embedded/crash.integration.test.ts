/** Processes that are killed, and processes that work on one root at once. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Images, Leases } from "effect-containerd"
import * as Embedded from "../../src/embedded/Embedded.ts"
import * as Layout from "../suite/Layout.ts"
import * as Root from "./Root.ts"
import * as Writer from "./Writer.ts"

const lanes = 4
const kills = 15

/** As the recovery of a commit does: the lease of a process that died is deleted. */
const recover = Effect.gen(function* () {
  const leases = yield* Leases.Leases
  for (const { id } of yield* leases.list()) yield* leases.delete(id)
  yield* Embedded.gc()
})

/** What an image and its chain of snapshots take; all that may be there when nobody works. */
const isClean = (root: string) =>
  Effect.gen(function* () {
    const dry = yield* Embedded.gc({ dryRun: true })
    assert.deepStrictEqual(dry.items, [])
    const files = Layout.files(root)
    const images = yield* Effect.flatMap(Images.Images, (service) => service.list())
    assert.strictEqual(files.filter((path) => path.startsWith("blobs/")).length, images.length * 3)
    assert.deepStrictEqual(
      files.filter((path) => !/^blobs|\/snapshots\//.test(path)),
      []
    )
  })

describe("a writer that is killed", () => {
  it.live(
    `leaves a layout that is valid, and records that are true, at ${lanes * kills} random moments`,
    () =>
      Effect.forEach(
        Array.from({ length: lanes }, (_, lane) => lane),
        Effect.fnUntraced(function* (lane) {
          const root = yield* Root.directory
          for (let i = 0; i < kills; i++) {
            // Spread over several images; one takes some 50 ms.
            const signal = yield* Effect.promise(() => Writer.killed(root, `lane-${lane}`, Math.random() * 200))
            assert.strictEqual(signal, "SIGKILL")
            assert.deepStrictEqual(Layout.problems(root), [])
            assert.deepStrictEqual(Layout.staleRecords(root), [])
          }
          yield* Effect.andThen(recover, isClean(root)).pipe(Effect.provide(Embedded.layer({ root })))
          yield* Effect.promise(() => Writer.finished(root, 2, "next"))
          assert.deepStrictEqual(Layout.problems(root), [])
        }, Effect.scoped),
        { concurrency: lanes, discard: true }
      ),
    180_000
  )
})

describe("several writers on one root", () => {
  it.live(
    "all succeed, and leave what they made and no more",
    () =>
      Effect.gen(function* () {
        const root = yield* Root.directory
        const names = ["a", "b", "c", "d"]
        // All open the same new directory, all take part in one name as well.
        yield* Effect.promise(() =>
          Promise.all([
            ...names.map((name) => Writer.finished(root, 12, name)),
            Writer.finished(root, 12, "shared"),
            Writer.finished(root, 12, "shared")
          ])
        )
        assert.deepStrictEqual(Layout.problems(root), [])
        assert.deepStrictEqual(Layout.staleRecords(root), [])
        yield* Effect.gen(function* () {
          const images = yield* (yield* Images.Images).list()
          assert.deepStrictEqual(
            images.map(({ name }) => name).sort(),
            [...names, "shared"].map((name) => `docker.io/test/${name}:1`)
          )
          assert.deepStrictEqual(yield* (yield* Leases.Leases).list(), [])
          yield* Embedded.gc()
          yield* isClean(root)
        }).pipe(Effect.provide(Embedded.layer({ root })))
      }).pipe(Effect.scoped),
    120_000
  )

  it.live(
    "a collector beside them takes nothing that they still need",
    () =>
      Effect.gen(function* () {
        const root = yield* Root.directory
        const layer = Embedded.layer({ root })
        yield* Effect.raceFirst(
          Effect.promise(() => Promise.all(["a", "b"].map((name) => Writer.finished(root, 25, name)))),
          Effect.forever(Effect.andThen(Embedded.gc(), Effect.sleep(1))).pipe(Effect.provide(layer))
        )
        assert.deepStrictEqual(Layout.problems(root), [])
        assert.deepStrictEqual(Layout.staleRecords(root), [])
        yield* isClean(root).pipe(Effect.provide(layer))
      }).pipe(Effect.scoped),
    120_000
  )
})
