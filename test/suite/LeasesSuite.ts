/**
 * What every lease manager promises, and what a collection keeps and takes (containerd docs, "Garbage Collection").
 */
import { assert, layer as withLayer } from "@effect/vitest"
import { Effect, type Layer } from "effect"
import { ContentStore, Digest, type Images, Leases, Snapshotter } from "effect-containerd"
import {
  collect,
  exists,
  hasBlob,
  image,
  leased,
  leasedAs,
  randomBytes,
  reason,
  type Traits,
  unique,
  write
} from "./Cases.ts"
import { title } from "./Title.ts"

export interface LeasesTraits extends Traits {
  readonly snapshotter: string
}

const noLabels = {}
const refersTo = (...digests: ReadonlyArray<string>) =>
  Object.fromEntries(digests.map((digest, i) => [`containerd.io/gc.ref.content.${i}`, digest]))

/** A lease that goes with the scope, whatever its labels. */
const lease = (labels: Readonly<Record<string, string>>) => {
  const id = unique("lease")
  return Effect.acquireRelease(
    Leases.Leases.use((leases) => Effect.as(leases.create({ id, labels }), id)),
    () => Effect.ignore(Leases.Leases.use((leases) => leases.delete(id)))
  )
}

/** Runs under a lease that was made by hand: with labels that `Leases.scoped` would not give. */
const under = <A, E, R>(id: string, self: Effect.Effect<A, E, R>) =>
  leased(Effect.flatMap(Leases.Lease, (held) => Effect.provideService(self, Leases.Lease, { ...held, id })))

const hours = (count: number) => new Date(Date.now() + count * 3_600_000).toISOString()

export const leasesSuite = <E>(
  name: string,
  layer: Layer.Layer<ContentStore.ContentStore | Images.Images | Leases.Leases | Snapshotter.Snapshotters, E>,
  { snapshotter }: LeasesTraits
): void =>
  withLayer(layer, { excludeTestServices: true })(title("leases", name), (it) => {
    it.effect("an id is a lock: the second who creates it is told so", () =>
      Effect.gen(function* () {
        const leases = yield* Leases.Leases
        const id = yield* lease(noLabels)
        assert.strictEqual(yield* reason(leases.create({ id, labels: noLabels })), "AlreadyExists")
        yield* leases.delete(id)
        yield* leases.create({ id, labels: noLabels })
      })
    )

    it.effect("of many who create an id at once, one gets it", () =>
      Effect.gen(function* () {
        const leases = yield* Leases.Leases
        const id = unique("race")
        const created = yield* Effect.all(
          Array.from({ length: 8 }, () => Effect.isSuccess(leases.create({ id, labels: noLabels }))),
          { concurrency: "unbounded" }
        )
        assert.strictEqual(created.filter((won) => won).length, 1)
        yield* leases.delete(id)
      })
    )

    it.effect("the deletion of one that is gone is success, also when it waits for a collection", () =>
      Effect.gen(function* () {
        const leases = yield* Leases.Leases
        yield* leases.delete(unique("gone"))
        yield* leases.delete(unique("gone"), { sync: true })
      })
    )

    it.effect("list: id and labels, by filter", () =>
      Effect.gen(function* () {
        const leases = yield* Leases.Leases
        const run = unique("run")
        const [one, two] = [yield* lease({ "suite/run": run, n: "1" }), yield* lease({ "suite/run": run, n: "2" })]
        const found = (filter: string) => Effect.map(leases.list([filter]), (all) => all.map(({ id }) => id).sort())
        assert.deepStrictEqual(yield* leases.list([`id==${JSON.stringify(one)}`]), [
          { id: one, labels: { "suite/run": run, n: "1" } }
        ])
        assert.deepStrictEqual(yield* found(`labels."suite/run"==${run}`), [one, two].sort())
        assert.deepStrictEqual(yield* found(`labels."suite/run"==${run},labels.n==2`), [two])
        assert.includeMembers(
          (yield* leases.list()).map(({ id }) => id),
          [one, two]
        )
      })
    )

    it.effect("a resource need not exist, and may be added twice", () =>
      leasedAs((id) =>
        Effect.gen(function* () {
          const leases = yield* Leases.Leases
          const resources: ReadonlyArray<Leases.Resource> = [
            { type: "content", id: Digest.fromBytes(randomBytes(10)) },
            { type: "ingests", id: unique("ref") },
            Leases.snapshotResource(snapshotter, unique("key"))
          ]
          for (const resource of [...resources, ...resources]) yield* leases.addResource(resource)
          assert.sameDeepMembers([...(yield* leases.resources(id))], [...resources])
          const bad = leases.addResource({ type: "content", id: "no digest" })
          assert.strictEqual(yield* reason(bad), "InvalidArgument")
        })
      )
    )

    it.effect("a lease that is gone has no resources and takes none", () =>
      leasedAs((id) =>
        Effect.gen(function* () {
          const leases = yield* Leases.Leases
          yield* leases.delete(id)
          assert.strictEqual(yield* reason(leases.resources(id)), "NotFound")
          const add = leases.addResource({ type: "ingests", id: "x" })
          assert.strictEqual(yield* reason(add), "NotFound")
        })
      )
    )

    it.effect("a resource that is added before the object exists holds it from then on", () =>
      Effect.gen(function* () {
        const leases = yield* Leases.Leases
        const bytes = randomBytes(50)
        yield* leases.addResource({ type: "content", id: Digest.fromBytes(bytes) })
        const blob = yield* Effect.scoped(
          Effect.gen(function* () {
            const id = yield* lease(noLabels)
            return yield* under(id, write(bytes))
          })
        )
        yield* collect
        assert.isTrue(yield* hasBlob(blob))
      }).pipe(leased)
    )

    it.effect("what a write put under the lease stays as long as the lease, and no longer", () =>
      Effect.gen(function* () {
        const blob = yield* leasedAs((id) =>
          Effect.gen(function* () {
            const leases = yield* Leases.Leases
            const written = yield* write(randomBytes(100))
            assert.deepStrictEqual(yield* leases.resources(id), [{ type: "content", id: written.digest }])
            yield* collect
            assert.isTrue(yield* hasBlob(written))
            return written
          })
        )
        yield* collect
        assert.isFalse(yield* hasBlob(blob))
      })
    )

    it.effect("an expired lease holds nothing, and is gone after a collection", () =>
      Effect.gen(function* () {
        const leases = yield* Leases.Leases
        const id = yield* lease({ "containerd.io/gc.expire": hours(-1) })
        const blob = yield* under(id, write(randomBytes(100)))
        yield* collect
        assert.isFalse(yield* hasBlob(blob))
        assert.deepStrictEqual(yield* leases.list([`id==${JSON.stringify(id)}`]), [])
      })
    )

    const later: ReadonlyArray<readonly [string, string]> = [
      ["in an hour", hours(1)],
      ["in a far year, with nanoseconds and an offset", "2999-01-01T00:00:00.123456789+02:00"],
      ["soon, which is no time", "soon"]
    ]
    it.effect.each(later)("a lease holds that expires %s", ([, expire]) =>
      Effect.gen(function* () {
        const id = yield* lease({ "containerd.io/gc.expire": expire })
        const blob = yield* under(id, write(randomBytes(100)))
        yield* collect
        assert.isTrue(yield* hasBlob(blob))
      })
    )

    it.effect("labels refer: what a held blob names is held, through any number of them", () =>
      Effect.gen(function* () {
        const store = yield* ContentStore.ContentStore
        const id = yield* lease(noLabels)
        const [leaf, other, middle] = yield* Effect.gen(function* () {
          const leaf = yield* write(randomBytes(100))
          const other = yield* write(randomBytes(100))
          const middle = yield* write(randomBytes(100), { labels: { "containerd.io/gc.ref.content": leaf.digest } })
          const top = yield* write(randomBytes(100), {
            labels: { ...refersTo(middle.digest), "containerd.io/gc.ref.content/x": other.digest }
          })
          yield* under(
            id,
            Leases.Leases.use((leases) => leases.addResource({ type: "content", id: top.digest }))
          )
          return [leaf, other, middle] as const
        }).pipe(leased)
        yield* collect
        assert.isTrue((yield* hasBlob(leaf)) && (yield* hasBlob(other)) && (yield* hasBlob(middle)))
        yield* store.setLabels(middle.digest, { "containerd.io/gc.ref.content": "" })
        yield* collect
        assert.isFalse(yield* hasBlob(leaf))
        assert.isTrue(yield* hasBlob(middle))
      })
    )

    it.effect("a flat lease holds what it names, not what that refers to", () =>
      Effect.gen(function* () {
        const id = yield* lease({ "containerd.io/gc.flat": "1" })
        const [leaf, top] = yield* Effect.gen(function* () {
          const leaf = yield* write(randomBytes(100))
          const top = yield* write(randomBytes(100), { labels: refersTo(leaf.digest) })
          yield* under(
            id,
            Leases.Leases.use((leases) => leases.addResource({ type: "content", id: top.digest }))
          )
          return [leaf, top] as const
        }).pipe(leased)
        yield* collect
        assert.isTrue(yield* hasBlob(top))
        assert.isFalse(yield* hasBlob(leaf))
      })
    )

    it.effect("a blob that says it is a root stays without lease", () =>
      Effect.gen(function* () {
        const store = yield* ContentStore.ContentStore
        const blob = yield* leased(write(randomBytes(100), { labels: { "containerd.io/gc.root": "yes" } }))
        yield* collect
        assert.isTrue(yield* hasBlob(blob))
        yield* store.setLabels(blob.digest, { "containerd.io/gc.root": "" })
        yield* collect
        assert.isFalse(yield* hasBlob(blob))
      })
    )

    it.effect("an image holds its target and what the labels of that name: blobs and a snapshot with its parents", () =>
      Effect.gen(function* () {
        const snapshots = (yield* Snapshotter.Snapshotters).get(snapshotter)
        const [bottom, top] = [unique("bottom"), unique("top")]
        const [layer, config] = yield* Effect.gen(function* () {
          yield* Effect.flatMap(snapshots.prepare({ key: unique("k"), parent: "" }), (active) => active.commit(bottom))
          yield* Effect.flatMap(snapshots.prepare({ key: unique("k"), parent: bottom }), (active) => active.commit(top))
          const layer = yield* write(randomBytes(100))
          const labels = { [`containerd.io/gc.ref.snapshot.${snapshotter}`]: top }
          const config = yield* write(randomBytes(100), { labels })
          const manifest = yield* write(randomBytes(100), { labels: refersTo(config.digest, layer.digest) })
          yield* image(manifest)
          return [layer, config] as const
        }).pipe(leased)
        yield* collect
        assert.isTrue((yield* hasBlob(layer)) && (yield* hasBlob(config)))
        assert.isTrue((yield* exists(snapshots.stat(top))) && (yield* exists(snapshots.stat(bottom))))
      })
    )

    it.effect("snapshots go with their lease: active ones, committed ones and their parents", () =>
      Effect.gen(function* () {
        const snapshots = (yield* Snapshotter.Snapshotters).get(snapshotter)
        const [bottom, top, key] = [unique("bottom"), unique("top"), unique("key")]
        yield* Effect.gen(function* () {
          yield* Effect.flatMap(snapshots.prepare({ key: unique("k"), parent: "" }), (active) => active.commit(bottom))
          yield* Effect.flatMap(snapshots.prepare({ key: unique("k"), parent: bottom }), (active) => active.commit(top))
          const active = yield* snapshots.prepare({ key, parent: top })
          yield* active.handOver
          yield* collect
          for (const name of [bottom, top, key]) assert.isTrue(yield* exists(snapshots.stat(name)))
        }).pipe(Effect.scoped, leased)
        yield* collect
        for (const name of [bottom, top, key]) assert.isFalse(yield* exists(snapshots.stat(name)))
      })
    )
  })
