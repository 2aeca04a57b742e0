import { assert, describe, it } from "@effect/vitest"
import * as Grpc from "@grpc/grpc-js"
import { Effect, Layer, Stream } from "effect"
import * as Containerd from "../../src/containerd/Containerd.ts"
import { services } from "../../src/containerd/Wire.ts"
import type { ContainerdError } from "../../src/core/ContainerdError.ts"
import { Containers } from "../../src/core/Containers.ts"
import { ContentStore } from "../../src/core/ContentStore.ts"
import { Differ } from "../../src/core/Differ.ts"
import { Images } from "../../src/core/Images.ts"
import * as Leases from "../../src/core/Leases.ts"
import { Snapshotters } from "../../src/core/Snapshotter.ts"
import { Tasks } from "../../src/core/Tasks.ts"
import * as Descriptor from "../../src/oci/Descriptor.ts"
import * as Digest from "../../src/oci/Digest.ts"
import * as FakeContainerd from "../support/FakeContainerd.ts"

const { containers, content, diff, images, leases, namespaces, snapshots, tasks } = services()

const connect = (options: Containerd.ContainerdOptions = {}) =>
  Effect.gen(function* () {
    const fake = yield* FakeContainerd.make
    const services = yield* Layer.build(Containerd.layer({ address: fake.address, ...options }))
    return { fake, services }
  })

const digest = Digest.fromBytes(Buffer.from("blob"))
const descriptor = Descriptor.of("application/vnd.oci.image.layer.v1.tar", Buffer.from("layer"))
const mediaType = "application/vnd.oci.image.layer.v1.tar"

type Call = Effect.Effect<unknown, ContainerdError, Containerd.Services | Leases.Lease>

const getImage = Effect.flatMap(Images, (images) => images.get("app"))
const listImages = Effect.flatMap(Images, (images) => images.list())
const diffNothing = Effect.flatMap(Differ, (differ) => differ.diff({ lower: [], upper: [], mediaType }))
const applyLayer = Effect.flatMap(Differ, (differ) => differ.apply(descriptor, []))
const info = Effect.flatMap(ContentStore, (store) => store.info(digest))
const listContent = Effect.flatMap(ContentStore, (store) => Stream.runCollect(store.list()))

describe("an answer that is not what it should be is a typed failure", () => {
  const calls: Readonly<Record<string, Call>> = {
    "Images.Get": getImage,
    "Content.Info": info,
    "Diff.Diff": diffNothing,
    "Diff.Apply": applyLayer,
    "Containers.Get": Effect.flatMap(Containers, (containers) => containers.get("c")),
    "Containers.ListStream": Effect.flatMap(Containers, (containers) => Stream.runCollect(containers.list())),
    "Snapshots.Stat": Effect.flatMap(Snapshotters, ({ get }) => get("overlayfs").stat("key"))
  }

  it.live.each(Object.entries(calls))("%s without its message", ([method, call]) =>
    Effect.gen(function* () {
      const { fake, services } = yield* connect()
      fake.reply(content.Info, () => ({ answers: [{}] }))
      fake.reply(containers.ListStream, () => ({ answers: [{}] }))
      const error = yield* Effect.flip(Effect.provide(Leases.withLease({ id: "l" })(call), services))
      assert.strictEqual(error.reason._tag, "Unknown")
      assert.strictEqual(error.message, `${method}: the answer lacks its message`)
    })
  )

  it.live("an image without its target", () =>
    Effect.gen(function* () {
      const { fake, services } = yield* connect()
      fake.reply(images.Get, () => ({ answers: [{ image: { name: "app" } }] }))
      const error = yield* Effect.flip(Effect.provide(getImage, services))
      assert.strictEqual(error.message, "Images.Get: the answer lacks its message")
    })
  )

  const damaged = [
    ["no digest", ""],
    ["a digest that was cut off", digest.slice(0, -1)],
    ["a digest of an unknown kind", `md5:${digest.slice(-32)}`]
  ] as const
  it.live.each(damaged)("%s", ([, text]) =>
    Effect.gen(function* () {
      const { fake, services } = yield* connect()
      const target = { mediaType, digest: text, size: 4 }
      fake.reply(images.Get, () => ({ answers: [{ image: { name: "app", target } }] }))
      fake.reply(images.List, () => ({ answers: [{ images: [{ name: "app", target }] }] }))
      fake.reply(diff.Diff, () => ({ answers: [{ diff: target }] }))
      fake.reply(diff.Apply, () => ({ answers: [{ applied: target }] }))
      fake.reply(content.Info, () => ({ answers: [{ info: { digest: text, size: 4 } }] }))
      fake.reply(content.List, () => ({ answers: [{ info: [{ digest: text, size: 4 }] }] }))
      const calls: ReadonlyArray<Call> = [getImage, listImages, diffNothing, applyLayer, info, listContent]
      for (const call of calls) {
        const error = yield* Effect.flip(Effect.provide(Leases.withLease({ id: "l" })(call), services))
        assert.strictEqual(error.reason._tag, "Unknown")
        assert.include(error.message, "digest")
      }
    })
  )

  it.live("a size that no blob has", () =>
    Effect.gen(function* () {
      const { fake, services } = yield* connect()
      const target = { mediaType, digest, size: -1 }
      fake.reply(images.Get, () => ({ answers: [{ image: { name: "app", target } }] }))
      fake.reply(diff.Apply, () => ({ answers: [{ applied: target }] }))
      const calls: ReadonlyArray<Effect.Effect<unknown, ContainerdError, Containerd.Services>> = [getImage, applyLayer]
      for (const call of calls) {
        const error = yield* Effect.flip(Effect.provide(call, services))
        assert.strictEqual(error.reason._tag, "Unknown")
        assert.include(error.message, "-1")
      }
    })
  )
})

describe("what is gone already", () => {
  it.live("is success to delete, abort, remove and resume, and a task that is none", () =>
    Effect.gen(function* () {
      const { fake, services } = yield* connect()
      const gone = () => ({ code: Grpc.status.NOT_FOUND, details: "not found" })
      fake.reply(images.Delete, gone)
      fake.reply(content.Delete, gone)
      fake.reply(content.Abort, gone)
      fake.reply(leases.Delete, gone)
      fake.reply(snapshots.Remove, gone)
      fake.reply(tasks.Resume, gone)
      fake.reply(tasks.Get, gone)
      const task = yield* Effect.gen(function* () {
        yield* (yield* Images).delete("app")
        const store = yield* ContentStore
        yield* store.delete(digest)
        yield* store.abort("ref")
        yield* (yield* Leases.Leases).delete("lease")
        yield* (yield* Snapshotters).get("overlayfs").remove("key")
        const tasks = yield* Tasks
        yield* tasks.resume("c")
        return yield* tasks.get("c")
      }).pipe(Effect.provide(services))
      assert.deepStrictEqual(task, { status: "none", pid: 0 })
      assert.deepStrictEqual(
        fake.received.map(({ rpc }) => rpc),
        [
          "Images.Delete",
          "Content.Delete",
          "Content.Abort",
          "Leases.Delete",
          "Snapshots.Remove",
          "Tasks.Resume",
          "Tasks.Get"
        ]
      )
    })
  )
})

describe("Differ.supports", () => {
  const zstd = "application/vnd.oci.image.layer.v1.tar+zstd"
  const supports = (mediaType: string) => Effect.flatMap(Differ, (differ) => differ.supports(mediaType))
  const probes = (fake: FakeContainerd.FakeContainerd) => fake.requests(diff.Diff).map(({ mediaType }) => mediaType)

  it.live("asks once for each media type, and remembers yes and no", () =>
    Effect.gen(function* () {
      const { fake, services } = yield* connect()
      fake.reply(diff.Diff, ({ mediaType }) =>
        mediaType === zstd ? { answers: [{ diff: {} }] } : { code: Grpc.status.UNIMPLEMENTED, details: "unsupported" }
      )
      const answers = yield* Leases.withLease({ id: "l" })(
        Effect.forEach([zstd, "docker", zstd, "docker"], supports)
      ).pipe(Effect.provide(services))
      assert.deepStrictEqual(answers, [true, false, true, false])
      assert.deepStrictEqual(probes(fake), [zstd, "docker"])
    })
  )

  it.live("does not ask about what every version has", () =>
    Effect.gen(function* () {
      const { fake, services } = yield* connect()
      const types = [mediaType, `${mediaType}+gzip`]
      const answers = yield* Leases.withLease({ id: "l" })(Effect.forEach(types, supports)).pipe(
        Effect.provide(services)
      )
      assert.deepStrictEqual(answers, [true, true])
      assert.isEmpty(probes(fake))
    })
  )

  it.live("an answer that says nothing is a failure, and is not remembered", () =>
    Effect.gen(function* () {
      const { fake, services } = yield* connect()
      fake.reply(diff.Diff, () => ({ code: Grpc.status.NOT_FOUND, details: "lease does not exist" }))
      const ask = Leases.withLease({ id: "l" })(supports(zstd)).pipe(Effect.provide(services))
      assert.strictEqual((yield* Effect.flip(ask)).reason._tag, "NotFound")
      fake.reply(diff.Diff, () => ({ answers: [{ diff: {} }] }))
      assert.isTrue(yield* ask)
    })
  )
})

describe("Snapshotters.defaultName", () => {
  const defaultName = Effect.flatMap(Snapshotters, ({ defaultName }) => defaultName)

  it.live("is what the namespace's label says", () =>
    Effect.gen(function* () {
      const { fake, services } = yield* connect({ namespace: "moby" })
      const labels = { "containerd.io/defaults/snapshotter": "native" }
      fake.reply(namespaces.Get, ({ name }) => ({ answers: [{ namespace: { name, labels } }] }))
      assert.strictEqual(yield* Effect.provide(defaultName, services), "native")
      assert.deepStrictEqual(fake.requests(namespaces.Get), [{ name: "moby" }])
    })
  )

  it.live("is overlayfs without the label, and in a namespace that does not exist yet", () =>
    Effect.gen(function* () {
      const { fake, services } = yield* connect()
      fake.reply(namespaces.Get, ({ name }) => ({ answers: [{ namespace: { name } }] }))
      assert.strictEqual(yield* Effect.provide(defaultName, services), "overlayfs")
      fake.reply(namespaces.Get, () => ({ code: Grpc.status.NOT_FOUND, details: "namespace: not found" }))
      assert.strictEqual(yield* Effect.provide(defaultName, services), "overlayfs")
    })
  )

  it.live("is the layer's, without asking", () =>
    Effect.gen(function* () {
      const { fake, services } = yield* connect({ snapshotter: "zfs" })
      assert.strictEqual(yield* Effect.provide(defaultName, services), "zfs")
      assert.isEmpty(fake.received)
    })
  )
})
