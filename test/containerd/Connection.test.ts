import { renameSync } from "node:fs"
import { createServer } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import * as Grpc from "@grpc/grpc-js"
import { Context, Duration, Effect, Exit, Fiber, Layer, Schedule, Scope, Stream } from "effect"
import * as Connection from "../../src/containerd/Connection.ts"
import * as Containerd from "../../src/containerd/Containerd.ts"
import { services } from "../../src/containerd/Wire.ts"
import type { ContainerdError } from "../../src/core/ContainerdError.ts"
import { Containers } from "../../src/core/Containers.ts"
import { ContentStore } from "../../src/core/ContentStore.ts"
import { Differ } from "../../src/core/Differ.ts"
import { Images } from "../../src/core/Images.ts"
import * as Leases from "../../src/core/Leases.ts"
import { CurrentNamespace, Namespaces } from "../../src/core/Namespaces.ts"
import { Snapshotters } from "../../src/core/Snapshotter.ts"
import * as Descriptor from "../../src/oci/Descriptor.ts"
import * as Digest from "../../src/oci/Digest.ts"
import * as FakeContainerd from "../support/FakeContainerd.ts"

/** The client's services over a fake of their own. */
const connect = (options: Containerd.ContainerdOptions = {}) =>
  Effect.gen(function* () {
    const fake = yield* FakeContainerd.make
    const services = yield* Layer.build(Containerd.layer({ address: fake.address, ...options }))
    return { fake, services }
  })

const digest = Digest.fromBytes(Buffer.from("blob"))
const layer = Descriptor.of("application/vnd.oci.image.layer.v1.tar", Buffer.from("layer"))
const wireImage = { name: "app", target: { mediaType: "a", digest, size: 4 } }

const listImages = Effect.flatMap(Images, (images) => images.list())
const getImage = Effect.flatMap(Images, (images) => images.get("app"))
const listContainers = Effect.flatMap(Containers, (containers) => Stream.runCollect(containers.list()))
const writeBlob = Effect.flatMap(ContentStore, (store) =>
  store.write(Stream.make(Buffer.from("x")), { mediaType: "a" })
)

/** Errors that nobody caught; they would end an ordinary process. */
const strayErrors = Effect.gen(function* () {
  const errors: Array<unknown> = []
  const collect = (error: unknown) => void errors.push(error)
  yield* Effect.acquireRelease(
    Effect.sync(() => process.on("uncaughtException", collect).on("unhandledRejection", collect)),
    () => Effect.sync(() => process.off("uncaughtException", collect).off("unhandledRejection", collect))
  )
  return errors
})

type Call = Effect.Effect<unknown, ContainerdError, Images | Containers>
/** Of each kind one: a single answer, and a stream. */
const unaryAndStream: ReadonlyArray<Call> = [listImages, listContainers]

const isOneLine = ({ message }: ContainerdError) => assert.notMatch(message, /\n/)

describe("headers", () => {
  it.live("the namespace is the layer's, else the region's, for each fiber its own", () =>
    Effect.gen(function* () {
      const { fake, services } = yield* connect({ namespace: "moby" })
      yield* Effect.gen(function* () {
        yield* listImages
        yield* listImages.pipe(Effect.provideService(CurrentNamespace, "k8s.io"))
        const fibers = yield* Effect.forEach(["one", "two", "three"], (name) =>
          Effect.andThen(listImages, Namespaces).pipe(
            Effect.flatMap(({ current }) => current),
            Effect.provideService(CurrentNamespace, name),
            Effect.forkChild
          )
        )
        assert.deepStrictEqual(yield* Effect.forEach(fibers, Fiber.join), ["one", "two", "three"])
        yield* listImages
      }).pipe(Effect.provide(services))
      const namespaces = fake.received.map(({ namespace }) => namespace)
      assert.deepStrictEqual(namespaces.slice(0, 2), [["moby"], ["k8s.io"]])
      assert.sameDeepMembers(namespaces.slice(2, 5), [["one"], ["two"], ["three"]])
      assert.deepStrictEqual(namespaces[5], ["moby"])
    })
  )

  it.live("without any, the namespace is default", () =>
    Effect.gen(function* () {
      const { fake, services } = yield* connect()
      yield* Effect.provide(listImages, services)
      assert.deepStrictEqual(fake.received[0]?.namespace, ["default"])
    })
  )

  it.live("the lease is on every kind of call inside of it, and on none outside", () =>
    Effect.gen(function* () {
      const { fake, services } = yield* connect()
      const calls = Effect.andThen(listImages, listContainers)
      yield* calls.pipe(
        Effect.andThen(Leases.withLease({ id: "lease-1" })(Effect.andThen(calls, writeBlob))),
        Effect.andThen(calls),
        Effect.provide(services)
      )
      const leased = fake.received.filter(({ lease }) => lease.length > 0)
      assert.deepStrictEqual(new Set(leased.flatMap(({ lease }) => lease)), new Set(["lease-1"]))
      assert.deepStrictEqual(
        new Set(leased.map(({ rpc }) => rpc)),
        new Set(["Images.List", "Containers.ListStream", "Content.Write"])
      )
      const bare = fake.received.filter(({ lease }) => lease.length === 0).map(({ rpc }) => rpc)
      const outside = ["Images.List", "Containers.ListStream"]
      assert.deepStrictEqual(bare, [...outside, "Leases.Create", "Leases.Delete", ...outside])
    })
  )

  it.live("leases of different fibers do not mix, and an inner region keeps the outer lease", () =>
    Effect.gen(function* () {
      const { fake, services } = yield* connect()
      yield* Effect.forEach(
        ["a", "b", "c"],
        (id) =>
          Leases.withLease({ id })(Leases.withLease({ id: `${id}-inner` })(getImage)).pipe(
            Effect.provideService(CurrentNamespace, `of-${id}`),
            Effect.exit
          ),
        { concurrency: "unbounded" }
      ).pipe(Effect.provide(services))
      const pairs = fake.received
        .filter(({ rpc }) => rpc === "Images.Get")
        .map(({ lease, namespace }) => [...namespace, ...lease])
      assert.sameDeepMembers(pairs, [
        ["of-a", "a"],
        ["of-b", "b"],
        ["of-c", "c"]
      ])
    })
  )

  it.live.each(["ü", "line\nbreak", ""])("a namespace that no header can hold (%j) is a typed failure", (name) =>
    Effect.gen(function* () {
      const { fake, services } = yield* connect()
      const errors = yield* Effect.forEach(unaryAndStream, (call) => Effect.flip(call)).pipe(
        Effect.provideService(CurrentNamespace, name),
        Effect.provide(services)
      )
      for (const error of errors) {
        assert.strictEqual(error.reason._tag, "InvalidArgument")
        isOneLine(error)
      }
      assert.isEmpty(fake.received)
    })
  )
})

describe("unary calls", () => {
  it.live("interruption cancels the call", () =>
    Effect.gen(function* () {
      const { fake, services } = yield* connect()
      fake.reply(containerd.images.Get, () => ({ after: Number.POSITIVE_INFINITY }))
      const fiber = yield* Effect.forkChild(Effect.provide(getImage, services))
      yield* FakeContainerd.until("the call", () => fake.received.length === 1)
      assert.isEmpty(fake.cancelled)
      yield* Fiber.interrupt(fiber)
      yield* FakeContainerd.until("the cancellation", () => fake.cancelled.length === 1)
      assert.deepStrictEqual(fake.cancelled, ["Images.Get"])
    })
  )

  it.live("answers that come after the interruption hurt nobody", () =>
    Effect.gen(function* () {
      const stray = yield* strayErrors
      const { fake, services } = yield* connect()
      const after = 100
      fake.reply(containerd.images.Get, () => ({ after, code: Grpc.status.INTERNAL, details: "too late" }))
      fake.reply(containerd.containers.ListStream, () => ({ after, code: Grpc.status.INTERNAL, details: "too late" }))
      fake.onWrite = () => after
      const names = ["Containers.ListStream", "Content.Write", "Images.Get"]
      const fiber = yield* Effect.all([getImage, listContainers, Leases.withLease({ id: "l" })(writeBlob)], {
        concurrency: "unbounded"
      }).pipe(Effect.provide(services), Effect.forkChild)
      yield* FakeContainerd.until("the calls", () =>
        names.every((name) => fake.received.some(({ rpc }) => rpc === name))
      )
      yield* Fiber.interrupt(fiber)
      yield* Effect.sleep(after)
      yield* fake.dropConnections
      yield* Effect.sleep("50 millis")
      assert.deepStrictEqual(fake.cancelled.toSorted(), names)
      assert.deepStrictEqual(stray, [])
    })
  )

  it.live("a metadata call has a deadline, which the server knows too", () =>
    Effect.gen(function* () {
      const { fake, services } = yield* connect({ timeout: "100 millis" })
      fake.reply(containerd.images.Get, () => ({ after: Number.POSITIVE_INFINITY }))
      const [duration, error] = yield* Effect.timed(Effect.flip(Effect.provide(getImage, services)))
      assert.strictEqual(error.reason._tag, "DeadlineExceeded")
      assert.isTrue(error.isRetryable)
      assert.include(error.message, `Images.Get: no answer from ${fake.address} in time`)
      isOneLine(error)
      assert.isBelow(Duration.toMillis(duration), 1000)
      yield* FakeContainerd.until("the cancellation", () => fake.cancelled.length === 1)
    })
  )

  it.live("calls that move data have none", () =>
    Effect.gen(function* () {
      const { fake, services } = yield* connect({ timeout: "50 millis" })
      const after = 200
      fake.reply(containerd.diff.Diff, () => ({ after, answers: [{ diff: { ...layer } }] }))
      fake.reply(containerd.diff.Apply, () => ({ after, answers: [{ applied: { ...layer } }] }))
      fake.reply(containerd.snapshots.Usage, () => ({ after, answers: [{ size: 1, inodes: 2 }] }))
      const answers = yield* Effect.gen(function* () {
        const differ = yield* Differ
        const overlayfs = (yield* Snapshotters).get("overlayfs")
        const diff = differ.diff({ lower: [], upper: [], mediaType: layer.mediaType })
        return yield* Effect.all(
          [
            Effect.map(Leases.withLease({ id: "l" })(diff), ({ descriptor }) => descriptor),
            differ.apply(layer, []),
            overlayfs.usage("key")
          ],
          { concurrency: "unbounded" }
        )
      }).pipe(Effect.provide(services))
      assert.deepStrictEqual(answers, [layer, layer, { size: 1, inodes: 2 }])
    })
  )

  // A deadline is a time of day on the wire, whatever clock the program runs on.
  it.effect("the deadline is of the real clock", () =>
    Effect.gen(function* () {
      const { services } = yield* connect()
      assert.deepStrictEqual(yield* Effect.provide(listImages, services), [])
    })
  )

  it.live("a request that cannot be serialised is a typed failure on every kind of call", () =>
    Effect.gen(function* () {
      const stray = yield* strayErrors
      const fake = yield* FakeContainerd.make
      const connection = yield* connectionTo(fake.address)
      const unserialisable = <M extends object>(method: M) => ({
        ...method,
        requestSerialize: () => {
          throw new Error("no such field")
        }
      })
      const { containers, content, images } = containerd
      const errors = yield* Effect.all([
        Effect.flip(connection.unary(unserialisable(images.Get), { name: "a" })),
        Effect.flip(Stream.runDrain(connection.serverStream(unserialisable(containers.ListStream), {}))),
        connection.duplex(unserialisable(content.Write)).pipe(
          Effect.flatMap((call) =>
            Effect.callback<string>((resume) => {
              call.on("error", ({ message }) => resume(Effect.succeed(message)))
              call.write({ action: "STAT" })
            })
          )
        )
      ])
      for (const error of errors) {
        assert.include(typeof error === "string" ? error : error.message, "no such field")
        if (typeof error !== "string") assert.strictEqual(error.reason._tag, "Unknown")
      }
      assert.isEmpty(fake.received)
      assert.deepStrictEqual(stray, [])
    })
  )

  it.live("an answer that cannot be read is a typed failure", () =>
    Effect.gen(function* () {
      const fake = yield* FakeContainerd.make
      const connection = yield* connectionTo(fake.address)
      fake.reply({ ...containerd.images.Get, responseSerialize: () => Buffer.from("ff", "hex") }, () => ({
        answers: [{}]
      }))
      const error = yield* Effect.flip(connection.unary(containerd.images.Get, { name: "a" }))
      assert.strictEqual(error.reason._tag, "Unknown")
      assert.strictEqual(error.method, "Images.Get")
    })
  )

  it.live("an answer over the message limit is a typed failure", () =>
    Effect.gen(function* () {
      const { fake, services } = yield* connect()
      const labels = { big: "x".repeat(17 * 1024 * 1024) }
      fake.reply(containerd.images.List, () => ({ answers: [{ images: [{ ...wireImage, labels }] }] }))
      const error = yield* Effect.flip(Effect.provide(listImages, services))
      assert.strictEqual(error.reason._tag, "ResourceExhausted")
    })
  )

  it.live("after the layer is gone, every kind of call is a typed failure", () =>
    Effect.gen(function* () {
      const fake = yield* FakeContainerd.make
      const scope = yield* Scope.make()
      const services = yield* Layer.buildWithScope(Containerd.layer({ address: fake.address }), scope)
      yield* Effect.provide(listImages, services)
      yield* Scope.close(scope, Exit.void)
      const other = yield* Layer.build(Containerd.layer({ address: fake.address }))
      const lease = yield* Effect.provide(Leases.scoped({ id: "held" }), other)
      const write = Effect.provideService(writeBlob, Leases.Lease, lease)
      const errors = yield* Effect.all([
        ...unaryAndStream.map((call) => Effect.flip(Effect.provide(call, services))),
        Effect.flip(Effect.provide(write, services))
      ])
      assert.deepStrictEqual(
        errors.map(({ reason }) => reason._tag),
        ["Unknown", "Unknown", "Unknown"]
      )
    })
  )
})

const containerd = services()

const connectionTo = (address: string) =>
  Effect.map(
    Layer.build(Connection.layer({ address, namespace: "default", timeout: "5 seconds" })),
    Context.get(Connection.Connection)
  )

describe("without a server", () => {
  const failFast = (address: string) =>
    Effect.gen(function* () {
      const services = yield* Layer.build(Containerd.layer({ address }))
      return yield* Effect.forEach(unaryAndStream, (call) => Effect.flip(call)).pipe(
        Effect.provide(services),
        Effect.timeoutOrElse({ duration: "2 seconds", orElse: () => Effect.die(new Error("hangs")) })
      )
    })

  it.live("a socket that is missing fails the first call at once, and says what to do", () =>
    Effect.gen(function* () {
      const address = yield* FakeContainerd.socketPath
      for (const error of yield* failFast(address)) {
        assert.strictEqual(error.reason._tag, "Unavailable")
        const what = `there is no socket ${address}: start containerd, or give the address of its socket`
        assert.strictEqual(error.message, `${error.method}: ${what}`)
      }
    })
  )

  it.live("so does a socket without a listener", () =>
    Effect.gen(function* () {
      const address = yield* FakeContainerd.socketPath
      yield* abandonedSocket(address)
      for (const error of yield* failFast(address)) {
        assert.strictEqual(error.reason._tag, "Unavailable")
        assert.strictEqual(error.message, `${error.method}: nobody listens on ${address}: start containerd`)
      }
    })
  )

  it.live("something else that listens there is a typed failure", () =>
    Effect.gen(function* () {
      const address = yield* FakeContainerd.socketPath
      yield* Effect.acquireRelease(
        Effect.callback<ReturnType<typeof createServer>>((resume) => {
          const server = createServer((socket) =>
            socket.end("HTTP/1.1 400 Bad Request\r\n\r\n", () => socket.destroy())
          )
          server.listen(address, () => resume(Effect.succeed(server)))
        }),
        (server) => Effect.callback<void>((resume) => void server.close(() => resume(Effect.void)))
      )
      for (const error of yield* failFast(address)) {
        assert.strictEqual(error.reason._tag, "Unavailable")
        isOneLine(error)
      }
    })
  )

  it.live("the same layer works when the server comes up, goes and comes back", () =>
    Effect.gen(function* () {
      const { fake, services } = yield* connect()
      const list = Effect.provide(listImages, services)
      const soon = list.pipe(
        Effect.retry({ times: 100, while: (error) => error.isRetryable, schedule: Schedule.spaced("20 millis") })
      )
      for (const _ of [1, 2]) {
        yield* fake.stop
        // Enough failures for the back-off to reach its limit, if it grew without one.
        for (const _ of [1, 2, 3, 4, 5]) {
          const error = yield* Effect.flip(list)
          assert.strictEqual(error.reason._tag, "Unavailable")
          yield* Effect.sleep("60 millis")
        }
        yield* fake.start
        yield* Effect.timeoutOrElse(soon, {
          duration: "2 seconds",
          orElse: () => Effect.die(new Error("never came back"))
        })
      }
    })
  )

  it.live("a call that is under way when the connection breaks is Unavailable", () =>
    Effect.gen(function* () {
      const { fake, services } = yield* connect()
      fake.reply(containerd.images.List, () => ({ after: Number.POSITIVE_INFINITY }))
      fake.reply(containerd.containers.ListStream, () => ({ after: Number.POSITIVE_INFINITY }))
      const fibers = yield* Effect.forEach(unaryAndStream, (call) =>
        Effect.forkChild(Effect.flip(Effect.provide(call, services)))
      )
      yield* FakeContainerd.until("the calls", () => fake.received.length === 2)
      yield* fake.dropConnections
      for (const error of yield* Effect.forEach(fibers, Fiber.join)) {
        assert.strictEqual(error.reason._tag, "Unavailable")
        assert.isTrue(error.isRetryable)
        isOneLine(error)
      }
    })
  )
})

/** What a killed daemon leaves behind: a socket file, and nobody who listens. */
const abandonedSocket = (path: string) =>
  Effect.callback<void>((resume) => {
    const server = createServer()
    server.listen(`${path}.tmp`, () => {
      renameSync(`${path}.tmp`, path)
      server.close(() => resume(Effect.void))
    })
  })

describe("server streams", () => {
  const container = { container: { id: "c" } }
  const forever = function* () {
    for (;;) yield container
  }
  const containers = Stream.unwrap(Effect.map(Containers, (service) => service.list()))

  it.live("an early end cancels the call", () =>
    Effect.gen(function* () {
      const { fake, services } = yield* connect()
      fake.reply(containerd.containers.ListStream, () => ({ answers: forever() }))
      const ids = yield* containers.pipe(
        Stream.map(({ id }) => id),
        Stream.take(1),
        Stream.runCollect,
        Effect.provide(services)
      )
      assert.deepStrictEqual(ids, ["c"])
      yield* FakeContainerd.until("the cancellation", () => fake.cancelled.length === 1)
      assert.deepStrictEqual(fake.cancelled, ["Containers.ListStream"])
    })
  )

  it.live("so do interruption and a consumer that fails", () =>
    Effect.gen(function* () {
      const stray = yield* strayErrors
      const { fake, services } = yield* connect()
      fake.reply(containerd.containers.ListStream, () => ({ answers: forever() }))
      const failed = yield* containers.pipe(
        Stream.mapEffect(() => Effect.fail("enough" as const)),
        Stream.runDrain,
        Effect.flip,
        Effect.provide(services)
      )
      assert.strictEqual(failed, "enough")
      yield* FakeContainerd.until("the cancellation", () => fake.cancelled.length === 1)
      const fiber = yield* Effect.forkChild(Effect.provide(Stream.runDrain(containers), services))
      yield* FakeContainerd.until("the call", () => fake.received.length === 2)
      yield* Fiber.interrupt(fiber)
      yield* FakeContainerd.until("the cancellation", () => fake.cancelled.length === 2)
      assert.deepStrictEqual(stray, [])
    })
  )

  it.live("a stream that ends by itself is not cancelled", () =>
    Effect.gen(function* () {
      const { fake, services } = yield* connect()
      fake.reply(containerd.containers.ListStream, () => ({ answers: [container, container] }))
      assert.lengthOf(yield* Effect.provide(listContainers, services), 2)
      yield* Effect.provide(listImages, services)
      assert.isEmpty(fake.cancelled)
    })
  )

  it.live("an error in the middle is typed, and what came before it arrived", () =>
    Effect.gen(function* () {
      const { fake, services } = yield* connect()
      const answers = Array.from({ length: 50 }, (_, i) => ({ container: { id: `${i}` } }))
      fake.reply(containerd.containers.ListStream, () => ({ answers, code: Grpc.status.NOT_FOUND, details: "gone" }))
      const seen: Array<string> = []
      const error = yield* containers.pipe(
        Stream.tap(({ id }) => Effect.sync(() => seen.push(id))),
        Stream.runDrain,
        Effect.flip,
        Effect.provide(services)
      )
      assert.strictEqual(error.message, "Containers.ListStream: gone")
      assert.strictEqual(error.reason._tag, "NotFound")
      assert.deepStrictEqual(
        seen,
        answers.map(({ container }) => container.id)
      )
    })
  )

  it.live("a slow consumer slows the server down", () =>
    Effect.gen(function* () {
      const { fake, services } = yield* connect()
      const data = Buffer.alloc(1024 * 1024)
      const total = 120
      fake.reply(containerd.content.Read, () => ({ answers: Array.from({ length: total }, () => ({ data })) }))
      const store = Context.get(services, ContentStore)
      let taken = 0
      let mostAhead = 0
      yield* store.read(digest).pipe(
        Stream.runForEach(() =>
          Effect.suspend(() => {
            mostAhead = Math.max(mostAhead, fake.written - ++taken)
            return taken < 10 ? Effect.sleep("10 millis") : Effect.void
          })
        )
      )
      assert.strictEqual(taken, total)
      // The buffers of both sides hold 16 messages each, and some are on their way.
      assert.isBelow(mostAhead, 60)
    })
  )
})
