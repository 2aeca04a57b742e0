import { assert, layer } from "@effect/vitest"
import { Effect, Option, Tracer } from "effect"
import { Commit, Images } from "effect-containerd"
import * as Container from "../support/Container.ts"
import { describeDaemons } from "../support/Daemons.ts"
import * as Host from "../support/Host.ts"
import * as Inventory from "../support/Inventory.ts"

/** When each step and each call to the daemon began and ended, in nanoseconds. */
const timing = (spans: Array<Tracer.Span>) =>
  Tracer.make({
    span(options) {
      const span = new Tracer.NativeSpan(options)
      spans.push(span)
      return span
    }
  })

const times = (spans: ReadonlyArray<Tracer.Span>, name: string) =>
  spans
    .filter((span) => span.name === name)
    .map(({ status }) => ({ begun: status.startTime, ended: status._tag === "Ended" ? status.endTime : 0n }))

const last = (all: ReadonlyArray<bigint>) => all.toSorted((a, b) => (a < b ? -1 : 1)).at(-1) ?? 0n

describeDaemons("several containers at once", () => {
  layer(Host.layer("2.x"), { excludeTestServices: true })((it) => {
    const three = Effect.gen(function* () {
      const { base, containerd } = yield* Host.Host
      const containers = yield* Effect.forEach([1, 2, 3], () => Container.run(containerd, { image: base.ref }))
      for (const [i, container] of containers.entries()) yield* container.exec(`echo ${i} > /number`)
      return containers
    })

    const ways = [
      ["containerd", ["Tasks.Pause", "Diff.Diff", "Tasks.Resume"]],
      ["host", ["Host.freeze", "Host.read", "Host.thaw"]]
    ] as const

    const order = "all are paused before the first is read, and all are read before the first runs on (%s)"
    it.effect.each(ways)(order, ([differ, steps]) =>
      Effect.gen(function* () {
        const { containerd } = yield* Host.Host
        const containers = yield* three
        const spans: Array<Tracer.Span> = []
        const committed = yield* Commit.commitAll(
          containers.map(({ id }, i) => ({ container: id, name: `all:${i}`, differ }))
        ).pipe(Effect.withTracer(timing(spans)))
        const [paused, read, resumed] = steps.map((name) => times(spans, name))
        assert.deepStrictEqual([paused?.length, read?.length, resumed?.length], [3, 3, 3])
        for (const { begun } of read ?? []) assert.isTrue(begun >= last((paused ?? []).map(({ ended }) => ended)))
        for (const { begun } of resumed ?? []) assert.isTrue(begun >= last((read ?? []).map(({ ended }) => ended)))
        for (const [i, { image, pausedMs }] of committed.entries()) {
          assert.isAbove(pausedMs, 0)
          assert.strictEqual(yield* Container.runOnce(containerd, { image: image.name }, "cat /number"), `${i}\n`)
        }
        for (const container of containers) assert.strictEqual(yield* container.status, "RUNNING")
      })
    )

    it.effect("all images or none: what another one fails at leaves the names as they were", () =>
      Effect.gen(function* () {
        const { containerd } = yield* Host.Host
        const images = yield* Images.Images
        const [one, two, three_] = yield* three
        if (one === undefined || two === undefined || three_ === undefined) return assert.fail("three containers")
        const old = yield* Commit.commit({ container: three_.id, name: "kept:1" })
        const before = yield* Inventory.take(containerd)
        const failing: ReadonlyArray<readonly [Commit.CommitOptions, string]> = [
          [{ container: "nothing", name: "c:1" }, "ContainerNotFound"],
          [{ container: two.id, maxLayers: 1 }, "TooManyLayers"],
          [{ container: one.id, name: "again:1" }, "ContainerBusy"]
        ]
        for (const [options, tag] of failing) {
          const error = yield* Effect.flip(
            Commit.commitAll([{ container: one.id, name: "kept:1" }, options, { container: three_.id, name: "d:1" }])
          )
          assert.strictEqual(error.reason._tag, tag)
          assert.deepStrictEqual(yield* images.get(old.image.name), old.image)
          assert.deepStrictEqual(yield* Inventory.take(containerd), before)
          for (const container of [one, two, three_]) assert.strictEqual(yield* container.status, "RUNNING")
        }
      })
    )

    it.effect("the records of one commit, too, are all there or none", () =>
      Effect.gen(function* () {
        const { base, containerd } = yield* Host.Host
        const { id } = yield* Container.run(containerd, { image: base.ref })
        const images = yield* Images.Images
        const { index } = yield* Commit.commit({ container: id, name: ["twice:1", "twice:2"], manifest: "whole:1" })
        const before = yield* Inventory.take(containerd)
        // The index can be written, and then the name cannot.
        const labels = { [`effect/${"k".repeat(4096)}`]: "v" }
        const options = { container: id, labels, author: "another" }
        const ways = [
          { name: "twice:2", manifest: "whole:1" },
          { name: "twice:3", manifest: "new:1" }
        ]
        for (const way of ways) {
          const error = yield* Effect.flip(Commit.commit({ ...options, ...way }))
          assert.strictEqual(error.step, "createImage")
          assert.deepStrictEqual(yield* Inventory.take(containerd), before)
          assert.deepStrictEqual(yield* Effect.asSome(images.get(Option.getOrThrow(index).name)), index)
        }
      })
    )

    it.effect("a record that cannot be written takes the others back", () =>
      Effect.gen(function* () {
        const { containerd } = yield* Host.Host
        const [one, two] = yield* three
        if (one === undefined || two === undefined) return assert.fail("two containers")
        const old = yield* Commit.commit({ container: two.id, name: "old:1" })
        // What the name stands for already is no less its own.
        const created = "2024-05-06T07:08:09Z"
        const same = yield* Commit.commit({ container: one.id, name: "same:1", created })
        const before = yield* Inventory.take(containerd)
        // A label that containerd refuses.
        const labels = { [`effect/${"k".repeat(4096)}`]: "v" }
        const error = yield* Effect.flip(
          Commit.commitAll([
            { container: one.id, name: ["old:1", "same:1", "new:1"], created, manifest: "index:1" },
            { container: two.id, name: "bad:1", labels }
          ])
        )
        assert.deepStrictEqual([error.step, error.container], ["createImage", two.id])
        assert.deepStrictEqual(yield* Inventory.take(containerd), before)
        assert.deepStrictEqual(yield* Images.Images.use((images) => images.get(old.image.name)), old.image)
        assert.deepStrictEqual(yield* Images.Images.use((images) => images.get(same.image.name)), same.image)
        assert.isTrue(Option.isSome(old.layer))
      })
    )
  })
})
