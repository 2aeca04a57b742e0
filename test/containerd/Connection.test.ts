import { assert, describe, it } from "@effect/vitest"
import { status } from "@grpc/grpc-js"
import { Effect, Exit, Fiber, Option, Schedule, Stream } from "effect"
import {
  Containerd,
  Containers,
  ContentStore,
  Differ,
  Digest,
  Images,
  Introspection,
  Leases,
  Namespaces,
  Snapshotter,
  Tasks
} from "effect-containerd"
import { toContainerdError } from "../../src/containerd/GrpcError.ts"
import { services } from "../../src/containerd/Wire.ts"
import * as Fake from "../support/FakeContainerd.ts"

/** Runs an effect on a client of a fake daemon. */
const on =
  (fake: Pick<Fake.FakeContainerd, "address">, options: Containerd.ContainerdOptions = {}) =>
  <A, E, R>(self: Effect.Effect<A, E, R>) =>
    Effect.provide(self, Containerd.layer({ address: fake.address, timeout: "3 seconds", ...options }), { local: true })

const image = (name: string) => ({
  name,
  target: { mediaType: "application/vnd.oci.image.manifest.v1+json", digest: `sha256:${"0".repeat(64)}`, size: 1 }
})
const { containers, diff, images } = services()
const getImage = Images.Images.use((service) => service.get("x"))

describe("headers", () => {
  it.live("carry the namespace of the layer, or of the region of the program", () =>
    Effect.gen(function* () {
      const fake = yield* Fake.make
      fake.reply(images.Get, ({ name }) => ({ answers: [{ image: image(name) }] }))
      const program = Effect.all(
        [getImage, getImage.pipe(Effect.provideService(Namespaces.CurrentNamespace, "moby"))],
        { concurrency: "unbounded" }
      )
      yield* program.pipe(on(fake, { namespace: "k8s.io" }))
      assert.sameDeepMembers(
        fake.received.map(({ namespace }) => namespace),
        [["k8s.io"], ["moby"]]
      )
    }).pipe(Effect.scoped)
  )

  it.live("carry the lease inside of a lease only, on every kind of call", () =>
    Effect.gen(function* () {
      const fake = yield* Fake.make
      fake.reply(images.Get, ({ name }) => ({ answers: [{ image: image(name) }] }))
      yield* Effect.gen(function* () {
        const store = yield* ContentStore.ContentStore
        yield* getImage
        yield* Effect.gen(function* () {
          yield* getImage
          yield* Stream.runDrain(store.list())
          yield* store.write(Stream.make(Buffer.from("x")), { mediaType: "m" })
        }).pipe(Leases.withLease({ id: "mine" }))
      }).pipe(on(fake))
      const leases = fake.received.map(({ lease, rpc }) => [rpc, ...lease])
      assert.deepStrictEqual(leases.slice(0, 4), [
        ["Images.Get"],
        ["Leases.Create"],
        ["Images.Get", "mine"],
        ["Content.List", "mine"]
      ])
      assert.deepStrictEqual(
        leases.slice(4, -1).map(([, lease]) => lease),
        leases.slice(4, -1).map(() => "mine")
      )
      assert.deepStrictEqual(leases.at(-1), ["Leases.Delete"])
    }).pipe(Effect.scoped)
  )
})

describe("unary calls", () => {
  it.live("end with the reason that belongs to the status", () =>
    Effect.gen(function* () {
      const fake = yield* Fake.make
      const cases = [
        [status.INVALID_ARGUMENT, "InvalidArgument"],
        [status.NOT_FOUND, "NotFound"],
        [status.ALREADY_EXISTS, "AlreadyExists"],
        [status.FAILED_PRECONDITION, "FailedPrecondition"],
        [status.OUT_OF_RANGE, "OutOfRange"],
        [status.PERMISSION_DENIED, "PermissionDenied"],
        [status.RESOURCE_EXHAUSTED, "ResourceExhausted"],
        [status.UNIMPLEMENTED, "Unimplemented"],
        [status.UNAVAILABLE, "Unavailable"],
        [status.INTERNAL, "Unknown"],
        [status.UNKNOWN, "Unknown"]
      ] as const
      for (const [code, tag] of cases) {
        fake.reply(images.Get, () => ({ code, details: "because" }))
        const { message, reason } = yield* Effect.flip(getImage).pipe(on(fake))
        assert.deepStrictEqual([reason._tag, message], [tag, "Images.Get: because"])
      }
      fake.reply(images.Get, () => ({ code: status.UNKNOWN, details: "write /x: no space left on device" }))
      assert.strictEqual((yield* Effect.flip(getImage).pipe(on(fake))).reason._tag, "ResourceExhausted")
    }).pipe(Effect.scoped)
  )

  it.live("have a time limit when they are about metadata, and none when they move data", () =>
    Effect.gen(function* () {
      const fake = yield* Fake.make
      fake.reply(images.Get, () => ({ after: 2000 }))
      const digest = `sha256:${"1".repeat(64)}`
      fake.reply(diff.Apply, () => ({ after: 400, answers: [{ applied: { mediaType: "m", digest, size: 1 } }] }))
      const client = on(fake, { timeout: "100 millis" })
      const { message, reason } = yield* Effect.flip(getImage).pipe(client)
      assert.strictEqual(reason._tag, "DeadlineExceeded")
      assert.include(message, fake.address)
      const layer = { mediaType: "m", digest: Digest.fromBytes(Buffer.from("x")), size: 1 }
      const applied = yield* Differ.Differ.use((differ) => differ.apply(layer, [])).pipe(client)
      assert.strictEqual(applied.digest, digest)
    }).pipe(Effect.scoped)
  )

  it.live("are cancelled by an interruption, and what comes late hurts nobody", () =>
    Effect.gen(function* () {
      const fake = yield* Fake.make
      fake.reply(images.Get, () => ({ after: 100, code: status.UNKNOWN, details: "late" }))
      yield* Effect.gen(function* () {
        const fiber = yield* Effect.forkChild(getImage)
        yield* Fake.until("the call", () => fake.received.length === 1)
        yield* Fiber.interrupt(fiber)
        assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(fiber)))
        yield* Fake.until("the cancel", () => fake.cancelled.includes("Images.Get"))
        // Longer than the answer takes: an error that nobody takes would end the process.
        yield* Effect.sleep("200 millis")
      }).pipe(on(fake))
    }).pipe(Effect.scoped)
  )

  it.live("fail, and do not die, when an answer lacks what it must have or is damaged", () =>
    Effect.gen(function* () {
      const fake = yield* Fake.make
      fake.reply(images.Get, () => ({ answers: [{}] }))
      assert.strictEqual((yield* Effect.flip(getImage).pipe(on(fake))).reason._tag, "Unknown")
      fake.reply(images.Get, ({ name }) => ({
        answers: [{ image: { name, target: { mediaType: "m", digest: "sha256:short", size: 1 } } }]
      }))
      assert.match((yield* Effect.flip(getImage).pipe(on(fake))).message, /sha256:short/)
    }).pipe(Effect.scoped)
  )
})

describe("the socket", () => {
  it.live("that is not there fails the first call soon, with what to do; when it comes the same client works", () =>
    Effect.gen(function* () {
      const fake = yield* Fake.make
      fake.reply(images.Get, ({ name }) => ({ answers: [{ image: image(name) }] }))
      yield* fake.stop
      yield* Effect.gen(function* () {
        const error = yield* Effect.flip(getImage).pipe(Effect.timeout("2 seconds"))
        assert.strictEqual(error._tag, "ContainerdError")
        assert.match(error.message, /there is no socket .*: start containerd|nobody listens on .*: start containerd/)
        yield* fake.start
        const found = yield* getImage.pipe(Effect.retry({ times: 40, schedule: Schedule.spaced("50 millis") }))
        assert.strictEqual(found.name, "x")
        yield* fake.dropConnections
        assert.strictEqual(
          (yield* getImage.pipe(Effect.retry({ times: 40, schedule: Schedule.spaced("50 millis") }))).name,
          "x"
        )
      }).pipe(on(fake))
    }).pipe(Effect.scoped)
  )

  it("that may not be opened says who may", () => {
    const cause = Object.assign(new Error("x"), { code: status.UNAVAILABLE, details: "connect EACCES /c.sock" })
    const { message, reason } = toContainerdError("Images.Get", "/c.sock")(cause)
    assert.strictEqual(reason._tag, "PermissionDenied")
    assert.match(message, /may not open \/c\.sock: run as root/)
  })
})

describe("server streams", () => {
  const list = Containers.Containers.use((service) => Effect.succeed(service.list()))
  const answers = function* (count: number) {
    for (let i = 0; i < count; i++) yield { container: { id: `${i}`, image: "x".repeat(1000) } }
  }

  it.live("that are left early are cancelled, and do not run ahead of their reader", () =>
    Effect.gen(function* () {
      const fake = yield* Fake.make
      fake.reply(containers.ListStream, () => ({ answers: answers(100_000) }))
      const first = yield* Stream.unwrap(list).pipe(Stream.take(1), Stream.runCollect, on(fake))
      assert.deepStrictEqual(
        first.map(({ id }) => id),
        ["0"]
      )
      yield* Fake.until("the cancel", () => fake.cancelled.includes("Containers.ListStream"))
      assert.isBelow(fake.written, 5000)
    }).pipe(Effect.scoped)
  )

  it.live("that break give what came before, then the reason", () =>
    Effect.gen(function* () {
      const fake = yield* Fake.make
      fake.reply(containers.ListStream, () => ({ answers: answers(3), code: status.UNKNOWN, details: "broken" }))
      const seen: Array<string> = []
      const error = yield* Stream.unwrap(list).pipe(
        Stream.runForEach(({ id }) => Effect.sync(() => seen.push(id))),
        Effect.flip,
        on(fake)
      )
      assert.deepStrictEqual([seen, error.message], [["0", "1", "2"], "Containers.ListStream: broken"])
    }).pipe(Effect.scoped)
  )
})

describe("Differ.supports", () => {
  it.live("asks once, and not at all for what every version can", () =>
    Effect.gen(function* () {
      const fake = yield* Fake.make
      fake.reply(diff.Diff, () => ({ code: status.UNIMPLEMENTED, details: "unsupported" }))
      const zstd = "application/vnd.oci.image.layer.v1.tar+zstd"
      const answers = yield* Effect.gen(function* () {
        const { supports } = yield* Differ.Differ
        return yield* Effect.forEach([zstd, "application/vnd.oci.image.layer.v1.tar+gzip", zstd], supports)
      }).pipe(Leases.withLease({ id: "l" }), on(fake))
      assert.deepStrictEqual(answers, [false, true, false])
      assert.lengthOf(
        fake.received.filter(({ rpc }) => rpc === "Diff.Diff"),
        1
      )
    }).pipe(Effect.scoped)
  )
})

describe("law 10", () => {
  /** Messages that servers look for before they use them. */
  const mayBeAbsent = new Set(["createdAt", "updatedAt", "updateMask", "sourceDateEpoch"])
  const singleMessage = (value: unknown): value is Record<string, unknown> =>
    typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array)

  /** With default values on, an absent message decodes to null. */
  const absent = (message: Record<string, unknown>, path: string): ReadonlyArray<string> =>
    Object.entries(message).flatMap(([key, value]) => {
      if (value === null) return mayBeAbsent.has(key) ? [] : [`${path}.${key}`]
      return singleMessage(value) ? absent(value, `${path}.${key}`) : []
    })

  it.live("no request goes out without a message that the daemon would miss", () =>
    Effect.gen(function* () {
      const fake = yield* Fake.make
      const digest = Digest.fromBytes(Buffer.from("x"))
      const descriptor = { mediaType: "m", digest, size: 1 }
      const record = { name: "x", target: descriptor, labels: {} }
      const everyCall = Effect.gen(function* () {
        const content = yield* ContentStore.ContentStore
        const differ = yield* Differ.Differ
        const images = yield* Images.Images
        const leases = yield* Leases.Leases
        const namespaces = yield* Namespaces.Namespaces
        const snapshotters = yield* Snapshotter.Snapshotters
        const tasks = yield* Tasks.Tasks
        const found = yield* Containers.Containers
        const introspection = yield* Introspection.Introspection
        const snapshotter = snapshotters.get("overlayfs")
        const target = { key: "k", parent: "" }
        const calls: ReadonlyArray<Effect.Effect<unknown, unknown, Leases.Lease>> = [
          content.info(digest),
          Stream.runDrain(content.read(digest)),
          content.write(Stream.make(Buffer.from("x")), { mediaType: "m" }),
          content.writeBytes(Buffer.from("y"), { mediaType: "m" }),
          content.setLabels(digest, { a: "b" }),
          Stream.runDrain(content.list()),
          content.delete(digest),
          content.ingests,
          content.abort("r"),
          differ.diff({ lower: [], upper: [], mediaType: "m" }),
          differ.apply(descriptor, []),
          differ.supports("m"),
          images.get("x"),
          images.list(),
          images.create(record),
          images.update(record),
          images.delete("x"),
          leases.list(),
          leases.resources("l"),
          leases.addResource({ type: "content", id: digest }),
          namespaces.list,
          snapshotters.available,
          snapshotters.defaultName,
          snapshotter.stat("k"),
          snapshotter.mounts("k"),
          snapshotter.usage("k"),
          Stream.runDrain(snapshotter.list()),
          snapshotter.remove("k"),
          Effect.scoped(snapshotter.view(target)),
          Effect.scoped(Effect.flatMap(snapshotter.prepare(target), (active) => active.commit("n"))),
          tasks.status("c"),
          tasks.resume("c"),
          Effect.scoped(tasks.paused("c")),
          found.get("c"),
          Stream.runDrain(found.list()),
          introspection.version
        ]
        yield* Effect.forEach(calls, (call) => Effect.ignore(call), { discard: true })
      })
      yield* everyCall.pipe(Leases.withLease({ id: "l" }), on(fake))

      const methods = Object.values(services()).flatMap((service) =>
        Object.values<{ readonly path: string; requestDeserialize(bytes: Buffer): object }>({ ...service })
      )
      const problems = fake.received.flatMap(({ bytes, path }) => {
        const method = Option.fromUndefinedOr(methods.find((candidate) => candidate.path === path))
        return absent({ ...Option.getOrThrow(method).requestDeserialize(bytes) }, path)
      })
      assert.deepStrictEqual(problems, [])
      // Every method that the backend uses was called, so that none can slip through.
      assert.isAtLeast(new Set(fake.received.map(({ rpc }) => rpc)).size, 33)
    }).pipe(Effect.scoped)
  )
})
