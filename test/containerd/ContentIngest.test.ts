import { assert, describe, it } from "@effect/vitest"
import { status } from "@grpc/grpc-js"
import { Effect, Exit, Fiber, Layer, Schema, Stream } from "effect"
import { Containerd, ContentStore, Digest, Leases } from "effect-containerd"
import * as Fake from "../support/FakeContainerd.ts"

const mediaType = "application/octet-stream"

/** A content store on a fake daemon, under a lease. */
const store = Effect.gen(function* () {
  const fake = yield* Fake.make
  const services = yield* Layer.build(Containerd.layer({ address: fake.address, timeout: "5 seconds" }))
  const lease = yield* Leases.scoped({ id: "lease" }).pipe(Effect.provideContext(services))
  const content = yield* ContentStore.ContentStore.pipe(Effect.provideContext(services))
  const write = <E = never>(data: Stream.Stream<Uint8Array, E>, options: Partial<ContentStore.WriteOptions> = {}) =>
    content.write(data, { mediaType, ...options }).pipe(Effect.provideService(Leases.Lease, lease))
  const writeBytes = (bytes: Uint8Array, labels: Readonly<Record<string, string>>) =>
    content.writeBytes(bytes, { mediaType, labels }).pipe(Effect.provideService(Leases.Lease, lease))
  const rpcs = () => fake.received.map(({ rpc }) => rpc).filter((rpc) => !rpc.startsWith("Leases.Create"))
  return { fake, write, writeBytes, rpcs }
})

const mib = 1024 * 1024
const blob = (size: number, fill = 7) => new Uint8Array(size).fill(fill)
const expectedOf = (bytes: Uint8Array) => ({ digest: Digest.fromBytes(bytes), size: bytes.length })

describe("Content.Write", () => {
  it.live.prop(
    "carries any bytes in any chunks, the empty blob too",
    { chunks: Schema.Array(Schema.Uint8Array) },
    ({ chunks }) =>
      Effect.gen(function* () {
        const { fake, write } = yield* store
        const whole = Buffer.concat(chunks)
        const descriptor = yield* write(Stream.fromIterable(chunks), { labels: { k: "v" } })
        assert.deepInclude(descriptor, { mediaType, ...expectedOf(whole) })
        assert.deepStrictEqual(fake.blobs.get(descriptor.digest), { size: whole.length, labels: { k: "v" } })
        assert.deepStrictEqual(fake.writes.at(-1)?.offset, whole.length)
        assert.isTrue(fake.leased.has(descriptor.digest))
      }).pipe(Effect.scoped),
    { arbitrary: { runs: 25 } }
  )

  it.live("joins small chunks and cuts large ones", () =>
    Effect.gen(function* () {
      const { fake, write } = yield* store
      const chunks = Stream.concat(
        Stream.fromIterable(Array.from({ length: 4000 }, () => blob(1000))),
        Stream.make(blob(20 * mib))
      )
      const { size } = yield* write(chunks)
      assert.strictEqual(size, 4_000_000 + 20 * mib)
      const data = fake.writes.filter(({ dataSize }) => dataSize > 0)
      assert.isAtMost(Math.max(...data.map(({ dataSize }) => dataSize)), mib)
      assert.isAtMost(data.length, 26)
    }).pipe(Effect.scoped)
  )

  it.live("writes a document with one message", () =>
    Effect.gen(function* () {
      const { fake, rpcs, writeBytes } = yield* store
      const bytes = blob(1234)
      const { digest } = yield* writeBytes(bytes, { a: "b" })
      assert.deepStrictEqual(rpcs(), ["Content.Write"])
      assert.deepStrictEqual(fake.blobs.get(digest), { size: 1234, labels: { a: "b" } })
    }).pipe(Effect.scoped)
  )

  it.live.each([["a stream"], ["a document"]] as const)(
    "of a blob that exists (%s): lease reference, then look, then the labels that are missing",
    ([kind]) =>
      Effect.gen(function* () {
        const { fake, rpcs, write, writeBytes } = yield* store
        const bytes = blob(100)
        const { digest } = expectedOf(bytes)
        fake.blobs.set(digest, { size: 100, labels: { has: "it", wrong: "old" } })
        const labels = { has: "it", wrong: "new", lacks: "this" }
        const written = yield* kind === "a stream" ? write(Stream.make(bytes), { labels }) : writeBytes(bytes, labels)
        assert.strictEqual(written.digest, digest)
        assert.deepStrictEqual(
          rpcs().filter((rpc) => rpc !== "Content.Write"),
          ["Leases.AddResource", "Content.Info", "Content.Update"]
        )
        assert.deepStrictEqual(fake.blobs.get(digest)?.labels, labels)
      }).pipe(Effect.scoped)
  )

  it.live("of an expected blob that exists sends no data, and neither does one that another namespace shares", () =>
    Effect.gen(function* () {
      const { fake, write } = yield* store
      const [here, there] = [blob(3 * mib, 1), blob(3 * mib, 2)]
      fake.blobs.set(expectedOf(here).digest, { size: here.length, labels: {} })
      fake.shared.set(expectedOf(there).digest, { size: there.length, labels: {} })
      for (const bytes of [here, there]) {
        assert.deepInclude(yield* write(Stream.make(bytes), { expected: expectedOf(bytes) }), expectedOf(bytes))
      }
      assert.isTrue(fake.writes.every(({ dataSize }) => dataSize === 0))
      assert.isTrue(fake.blobs.has(expectedOf(there).digest))
    }).pipe(Effect.scoped)
  )

  it.live("goes on where an ingest of that name stopped, and does not throw it away", () =>
    Effect.gen(function* () {
      const { fake, rpcs, write } = yield* store
      const bytes = blob(3 * mib)
      fake.onWrite = (message) =>
        message.offset >= 2 * mib ? new Fake.Refusal(status.UNKNOWN, "no space left on device") : undefined
      const error = yield* Effect.flip(write(Stream.make(bytes), { ref: "mine" }))
      assert.strictEqual(error.reason._tag, "ResourceExhausted")
      yield* Fake.until("the lock to go", () => fake.ingests.get("mine")?.locked === false)
      assert.strictEqual(fake.ingests.get("mine")?.size, 2 * mib)

      fake.onWrite = () => undefined
      const before = fake.writes.length
      assert.deepInclude(yield* write(Stream.make(bytes), { ref: "mine" }), expectedOf(bytes))
      const sent = fake.writes.slice(before).reduce((sum, { dataSize }) => sum + dataSize, 0)
      assert.strictEqual(sent, mib)
      assert.notInclude(rpcs(), "Content.Abort")
    }).pipe(Effect.scoped)
  )

  it.live("refuses a blob that is shorter than what its ingest holds", () =>
    Effect.gen(function* () {
      const { fake, write } = yield* store
      fake.onWrite = (message) => (message.action === "COMMIT" ? new Fake.Refusal(status.UNKNOWN, "no") : undefined)
      yield* Effect.flip(write(Stream.make(blob(2 * mib)), { ref: "mine" }))
      yield* Fake.until("the lock to go", () => fake.ingests.get("mine")?.locked === false)
      fake.onWrite = () => undefined
      const error = yield* Effect.flip(write(Stream.make(blob(10)), { ref: "mine" }))
      assert.strictEqual(error.reason._tag, "OutOfRange")
    }).pipe(Effect.scoped)
  )

  it.live(
    "waits for a ref that is locked, and gives up in the end",
    () =>
      Effect.gen(function* () {
        const { fake, write } = yield* store
        let refusals = 3
        const locked = new Fake.Refusal(status.UNAVAILABLE, "ref mine locked for 1ms: unavailable")
        fake.onWrite = () => (refusals-- > 0 ? locked : undefined)
        assert.deepInclude(yield* write(Stream.make(blob(10)), { ref: "mine" }), expectedOf(blob(10)))
        refusals = Number.POSITIVE_INFINITY
        const error = yield* Effect.flip(write(Stream.make(blob(11)), { ref: "mine" }))
        assert.strictEqual(error.reason._tag, "Unavailable")
      }).pipe(Effect.scoped),
    20_000
  )

  const faults: ReadonlyArray<readonly [string, Fake.WriteFault]> = [
    ["an error", new Fake.Refusal(status.UNKNOWN, "input/output error")],
    ["an end without a commit", "end"]
  ]
  it.live.each(faults)("throws its own ingest away after %s in the middle", ([, fault]) =>
    Effect.gen(function* () {
      const { fake, rpcs, write } = yield* store
      fake.onWrite = (message) => (message.offset >= 2 * mib ? fault : undefined)
      const error = yield* Effect.flip(write(Stream.make(blob(4 * mib))))
      assert.strictEqual(error._tag, "ContainerdError")
      assert.include(rpcs(), "Content.Abort")
      assert.strictEqual(fake.ingests.size, 0)
    }).pipe(Effect.scoped)
  )

  it.live("keeps the failure of the data its own, and throws the ingest away", () =>
    Effect.gen(function* () {
      const { fake, write } = yield* store
      const data = Stream.concat(Stream.make(blob(2 * mib)), Stream.fail("torn" as const))
      assert.strictEqual(yield* Effect.flip(write(data)), "torn")
      assert.strictEqual(fake.ingests.size, 0)
    }).pipe(Effect.scoped)
  )

  it.live("throws the ingest away when it is interrupted", () =>
    Effect.gen(function* () {
      const { fake, write } = yield* store
      const fiber = yield* Effect.forkChild(write(Stream.concat(Stream.make(blob(2 * mib)), Stream.never)))
      yield* Fake.until("data", () => fake.ingests.size === 1 && fake.maxUnanswered > 0)
      yield* Fiber.interrupt(fiber)
      assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(fiber)))
      assert.strictEqual(fake.ingests.size, 0)
    }).pipe(Effect.scoped)
  )

  it.live("fails when the connection breaks, and the next write works", () =>
    Effect.gen(function* () {
      const { fake, write } = yield* store
      fake.onWrite = (message) => (message.offset >= 2 * mib ? 10_000 : undefined)
      const fiber = yield* Effect.forkChild(write(Stream.make(blob(4 * mib))))
      yield* Fake.until("data", () => fake.writes.some(({ offset }) => offset >= 2 * mib))
      yield* fake.dropConnections
      const error = yield* Effect.flip(Fiber.join(fiber))
      assert.strictEqual(error.reason._tag, "Unavailable")
      fake.onWrite = () => undefined
      assert.deepInclude(yield* write(Stream.make(blob(10))), expectedOf(blob(10)))
    }).pipe(Effect.scoped)
  )

  it.live("is never more than a window ahead of a slow daemon", () =>
    Effect.gen(function* () {
      const { fake, write } = yield* store
      let [taken, handled, ahead] = [0, 0, 0]
      fake.onWrite = (message) => {
        handled = message.offset + message.dataSize
        return 5
      }
      const data = Stream.range(1, 1600).pipe(
        Stream.map(() => blob(64 * 1024)),
        Stream.tap((chunk) =>
          Effect.sync(() => {
            taken += chunk.length
            ahead = Math.max(ahead, taken - handled)
          })
        )
      )
      assert.strictEqual((yield* write(data)).size, 100 * mib)
      // Eight without an answer, one that waits to be sent, one that is being filled.
      assert.isAtMost(ahead, 10 * mib)
      assert.isAtLeast(ahead, 4 * mib)
    }).pipe(Effect.scoped)
  )
})
