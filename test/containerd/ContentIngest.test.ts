import { createHash } from "node:crypto"
import { assert, describe, it } from "@effect/vitest"
import { status } from "@grpc/grpc-js"
import { Duration, Effect, Exit, Fiber, Layer, Schema, Stream } from "effect"
import { TestClock } from "effect/testing"
import { Containerd, ContentStore, Digest, Leases } from "effect-containerd"
import { services } from "../../src/containerd/Wire.ts"
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
  /** The messages of a write, without what a test does not care for. */
  const messages = () => fake.writes.map(({ action, dataSize, offset }) => [action, offset, dataSize])
  return { content, fake, write, writeBytes, rpcs, messages }
})

const mib = 1024 * 1024
const blob = (size: number, fill = 7) => new Uint8Array(size).fill(fill)
const ingest = () => ({ hash: createHash("sha256"), size: 0, total: 0, locked: false })
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
        assert.strictEqual(fake.writes.at(-1)?.action, "COMMIT")
        assert.isTrue(fake.leased.has(descriptor.digest))
      }).pipe(Effect.scoped),
    { arbitrary: { runs: 25 } }
  )

  it.live("opens with its status, commits at the true offset, and lets the daemon end the call", () =>
    Effect.gen(function* () {
      const { fake, messages, rpcs, write } = yield* store
      yield* write(Stream.make(blob(2 * mib + 5)), { labels: { k: "v" } })
      assert.deepStrictEqual(messages(), [
        ["STAT", 0, 0],
        ["WRITE", 0, mib],
        ["WRITE", mib, mib],
        ["WRITE", 2 * mib, 5],
        ["STAT", 0, 0],
        ["COMMIT", 2 * mib + 5, 0]
      ])
      assert.deepInclude(fake.writes.at(-1), { total: 2 * mib + 5, expected: "", labels: { k: "v" } })
      assert.match(fake.writes[0]?.ref ?? "", /^effect-containerd-/)
      assert.deepStrictEqual(new Set(rpcs()), new Set(["Content.Write", "Introspection.Plugins"]))
      assert.strictEqual(fake.ingests.size, 0)
      yield* Effect.sleep("20 millis")
      assert.deepStrictEqual(fake.cancelled, [])
    }).pipe(Effect.scoped)
  )

  it.live("of what is no more than a message sends one", () =>
    Effect.gen(function* () {
      const { fake, messages, write } = yield* store
      assert.deepInclude(yield* write(Stream.empty), expectedOf(blob(0)))
      const labels = { k: "v" }
      yield* write(Stream.make(blob(mib - 3), blob(3)), { labels: () => labels })
      assert.deepStrictEqual(messages(), [
        ["COMMIT", 0, 0],
        ["COMMIT", 0, mib]
      ])
      assert.deepInclude(fake.writes[1], { total: mib, labels })
    }).pipe(Effect.scoped)
  )

  it.live("of the empty blob that may be begun sends no data, and commits", () =>
    Effect.gen(function* () {
      const { messages, write } = yield* store
      const empty = new Uint8Array()
      assert.deepInclude(yield* write(Stream.make(empty, empty), { ref: "begun" }), expectedOf(empty))
      assert.deepStrictEqual(messages(), [
        ["STAT", 0, 0],
        ["STAT", 0, 0],
        ["COMMIT", 0, 0]
      ])
    }).pipe(Effect.scoped)
  )

  it.live("joins many single bytes in moments", () =>
    Effect.gen(function* () {
      const { messages, write } = yield* store
      const bytes = blob(mib / 4)
      const singles = Array.from(bytes, (_, i) => bytes.subarray(i, i + 1))
      const [duration, written] = yield* Effect.timed(write(Stream.fromIterable(singles)))
      assert.deepInclude(written, expectedOf(bytes))
      assert.deepStrictEqual(messages(), [["COMMIT", 0, mib / 4]])
      assert.isBelow(Duration.toSeconds(duration), 4)
    }).pipe(Effect.scoped)
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
      // The rest of a message is its envelope.
      assert.isTrue(fake.writes.every(({ dataSize, wireSize }) => wireSize - dataSize < 200))
    }).pipe(Effect.scoped)
  )

  it.live("writes a document with one message", () =>
    Effect.gen(function* () {
      const { fake, messages, rpcs, writeBytes } = yield* store
      const bytes = blob(1234)
      const { digest } = yield* writeBytes(bytes, { a: "b" })
      assert.deepStrictEqual(rpcs(), ["Content.Write"])
      assert.deepStrictEqual(messages(), [["COMMIT", 0, 1234]])
      assert.deepInclude(fake.writes[0], { total: 1234, labels: { a: "b" } })
      yield* Effect.sleep("20 millis")
      assert.deepStrictEqual(fake.cancelled, [])
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
        assert.deepStrictEqual(
          fake.requests(services().content.Update).map(({ updateMask }) => updateMask?.paths),
          [["labels.wrong", "labels.lacks"]]
        )
        assert.deepStrictEqual(fake.blobs.get(digest)?.labels, labels)
      }).pipe(Effect.scoped)
  )

  it.live("of a blob that exists with all of its labels changes none", () =>
    Effect.gen(function* () {
      const { fake, rpcs, write } = yield* store
      const bytes = blob(100)
      fake.blobs.set(expectedOf(bytes).digest, { size: 100, labels: { has: "it", more: "too" } })
      yield* write(Stream.make(bytes), { labels: { has: "it" } })
      assert.deepStrictEqual(
        rpcs().filter((rpc) => rpc !== "Content.Write"),
        ["Leases.AddResource", "Content.Info"]
      )
    }).pipe(Effect.scoped)
  )

  it.live("of a blob that appears at the last moment adopts it", () =>
    Effect.gen(function* () {
      const { fake, rpcs, write } = yield* store
      const bytes = blob(3 * mib)
      const { digest } = expectedOf(bytes)
      fake.onWrite = ({ action }) => {
        if (action === "COMMIT") fake.blobs.set(digest, { size: bytes.length, labels: {} })
        return undefined
      }
      const written = yield* write(Stream.make(bytes), { labels: { k: "v" }, expected: expectedOf(bytes) })
      assert.deepInclude(written, expectedOf(bytes))
      assert.deepStrictEqual(fake.blobs.get(digest)?.labels, { k: "v" })
      assert.deepStrictEqual(rpcs().slice(-3), ["Leases.AddResource", "Content.Info", "Content.Update"])
    }).pipe(Effect.scoped)
  )

  it.live("of a blob that exists and is collected before the lease has it fails", () =>
    Effect.gen(function* () {
      const { fake, write } = yield* store
      const bytes = blob(100)
      fake.blobs.set(expectedOf(bytes).digest, { size: 100, labels: {} })
      fake.reply(services().leases.AddResource, () => {
        fake.blobs.clear()
        return { answers: [{}] }
      })
      const error = yield* Effect.flip(write(Stream.make(bytes)))
      assert.deepStrictEqual([error.method, error.reason._tag], ["Content.Info", "NotFound"])
    }).pipe(Effect.scoped)
  )

  it.live("refuses any other content than the expected one, and throws it away", () =>
    Effect.gen(function* () {
      const { fake, write } = yield* store
      const others = [blob(100, 2), blob(99), blob(101), new Uint8Array()]
      for (const bytes of others) {
        const error = yield* Effect.flip(write(Stream.make(bytes), { expected: expectedOf(blob(100)) }))
        assert.strictEqual(error.reason._tag, "FailedPrecondition")
      }
      assert.deepStrictEqual([fake.blobs.size, fake.ingests.size], [0, 0])
    }).pipe(Effect.scoped)
  )

  it.live("of an expected blob that exists sends no data, and neither does one that another namespace shares", () =>
    Effect.gen(function* () {
      const { fake, write } = yield* store
      const [here, there] = [blob(3 * mib, 1), blob(3 * mib, 2)]
      fake.blobs.set(expectedOf(here).digest, { size: here.length, labels: {} })
      fake.shared.set(expectedOf(there).digest, { size: there.length, labels: {} })
      for (const bytes of [here, there]) {
        const untouched = Stream.die(new Error("the data was read"))
        assert.deepInclude(yield* write(untouched, { expected: expectedOf(bytes) }), expectedOf(bytes))
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
      // Nothing at all would be a valid commit, of the empty blob.
      for (const short of [blob(10), new Uint8Array()]) {
        const error = yield* Effect.flip(write(Stream.make(short), { ref: "mine" }))
        assert.strictEqual(error.reason._tag, "OutOfRange")
        yield* Fake.until("the lock to go", () => fake.ingests.get("mine")?.locked === false)
      }
      assert.deepStrictEqual([fake.ingests.get("mine")?.size, fake.blobs.size], [2 * mib, 0])
    }).pipe(Effect.scoped)
  )

  it.live("goes on in the middle of a message, and commits what is there already", () =>
    Effect.gen(function* () {
      const { fake, messages, write } = yield* store
      const bytes = blob(mib + 700)
      fake.onWrite = (message) => (message.action === "COMMIT" ? new Fake.Refusal(status.UNKNOWN, "no") : undefined)
      for (const size of [1000, bytes.length]) {
        yield* Effect.flip(write(Stream.make(bytes.subarray(0, size)), { ref: "mine" }))
        yield* Fake.until("the lock to go", () => fake.ingests.get("mine")?.locked === false)
        assert.strictEqual(fake.ingests.get("mine")?.size, size)
      }
      assert.deepStrictEqual(messages().slice(-4), [
        ["WRITE", 1000, mib - 1000],
        ["WRITE", mib, 700],
        ["STAT", 0, 0],
        ["COMMIT", bytes.length, 0]
      ])
      fake.onWrite = () => undefined
      assert.deepInclude(yield* write(Stream.make(bytes), { ref: "mine" }), expectedOf(bytes))
      assert.deepStrictEqual(messages().slice(-3), [
        ["STAT", 0, 0],
        ["STAT", 0, 0],
        ["COMMIT", bytes.length, 0]
      ])
    }).pipe(Effect.scoped)
  )

  it.live(
    "waits for a ref that is locked",
    () =>
      Effect.gen(function* () {
        const { fake, rpcs, write } = yield* store
        const holder = yield* Effect.forkChild(
          write(Stream.concat(Stream.make(blob(2 * mib)), Stream.never), { ref: "mine" })
        )
        yield* Fake.until("the lock", () => fake.ingests.get("mine")?.locked === true)
        const waiter = yield* Effect.forkChild(write(Stream.make(blob(3 * mib)), { ref: "mine" }))
        yield* Fake.until("attempts", () => fake.writes.filter(({ ref }) => ref === "mine").length >= 4)
        yield* Fiber.interrupt(holder)
        assert.deepInclude(yield* Fiber.join(waiter), expectedOf(blob(3 * mib)))
        assert.notInclude(rpcs(), "Content.Abort")
      }).pipe(Effect.scoped),
    20_000
  )

  // The waits are the program's, so a test clock makes them short.
  it.effect("gives up on a ref that stays locked", () =>
    Effect.gen(function* () {
      const { fake, rpcs, write } = yield* store
      fake.onWrite = () => new Fake.Refusal(status.UNAVAILABLE, "ref mine locked for 1ms: unavailable")
      const fiber = yield* Effect.forkChild(Effect.flip(write(Stream.make(blob(11)), { ref: "mine" })))
      for (let attempt = 1; attempt <= 10; attempt++) {
        yield* TestClock.withLive(Fake.until(`attempt ${attempt}`, () => fake.writes.length === attempt))
        // The answer to it must have come before the clock is moved.
        yield* TestClock.withLive(Effect.sleep("20 millis"))
        yield* TestClock.adjust("10 seconds")
      }
      const error = yield* Fiber.join(fiber)
      assert.strictEqual(error.reason._tag, "Unavailable")
      assert.include(error.message, "locked")
      assert.strictEqual(fake.writes.length, 10)
      assert.notInclude(rpcs(), "Content.Abort")
    }).pipe(Effect.scoped)
  )

  it.live("does not try again when it is the daemon that is not there", () =>
    Effect.gen(function* () {
      const { fake, write } = yield* store
      fake.onWrite = () => new Fake.Refusal(status.UNAVAILABLE, "the shim is gone: unavailable")
      const error = yield* Effect.flip(write(Stream.make(blob(11)), { ref: "mine" }))
      assert.strictEqual(error.reason._tag, "Unavailable")
      assert.strictEqual(fake.writes.length, 1)
    }).pipe(Effect.scoped)
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

  const atCommit: ReadonlyArray<readonly [string, Fake.WriteFault, string]> = [
    ["NotFound", new Fake.Refusal(status.NOT_FOUND, "lease does not exist: not found"), "NotFound"],
    ["Unknown", new Fake.Refusal(status.UNKNOWN, "rename: no such file or directory"), "Unknown"],
    ["the end of the call", "end", "Unknown"]
  ]
  it.live.each(atCommit)("throws its own ingest away after %s instead of a commit", ([, fault, tag]) =>
    Effect.gen(function* () {
      const { fake, rpcs, write, writeBytes } = yield* store
      fake.onWrite = ({ action, dataSize }, index) => {
        if (action !== "COMMIT") return undefined
        // What the daemon leaves behind when it takes the data of a document and then cannot commit it.
        if (dataSize > 0) fake.ingests.set(fake.writes[index]?.ref ?? "", { ...ingest(), size: dataSize })
        return fault
      }
      for (const failing of [writeBytes(blob(10), {}), write(Stream.make(blob(10)))]) {
        const error = yield* Effect.flip(failing)
        assert.deepStrictEqual([error.method, error.reason._tag], ["Content.Write", tag])
        assert.strictEqual(rpcs().at(-1), "Content.Abort")
        assert.deepStrictEqual([fake.ingests.size, fake.blobs.size], [0, 0])
        fake.writes.length = 0
      }
    }).pipe(Effect.scoped)
  )

  it.live("never throws away an ingest that has a name", () =>
    Effect.gen(function* () {
      const { fake, rpcs, write } = yield* store
      const torn = Stream.concat(Stream.make(blob(2 * mib)), Stream.fail("torn" as const))
      assert.strictEqual(yield* Effect.flip(write(torn, { ref: "torn" })), "torn")
      fake.onWrite = ({ action }) => (action === "COMMIT" ? new Fake.Refusal(status.UNKNOWN, "no") : undefined)
      yield* Effect.flip(write(Stream.make(blob(10)), { ref: "refused" }))
      const fiber = yield* Effect.forkChild(
        write(Stream.concat(Stream.make(blob(2 * mib)), Stream.never), { ref: "interrupted" })
      )
      yield* Fake.until("data", () => (fake.ingests.get("interrupted")?.size ?? 0) > 0)
      yield* Fiber.interrupt(fiber)
      yield* Fake.until("the locks to go", () => [...fake.ingests.values()].every(({ locked }) => !locked))
      assert.sameMembers([...fake.ingests.keys()], ["torn", "refused", "interrupted"])
      assert.notInclude(rpcs(), "Content.Abort")
    }).pipe(Effect.scoped)
  )

  it.live("keeps the failure of the data its own, and throws the ingest away", () =>
    Effect.gen(function* () {
      const { fake, write } = yield* store
      const data = Stream.concat(Stream.make(blob(3 * mib)), Stream.fail("torn" as const))
      assert.strictEqual(yield* Effect.flip(write(data)), "torn")
      assert.strictEqual(fake.ingests.size, 0)
    }).pipe(Effect.scoped)
  )

  it.live("throws the ingest away when it is interrupted", () =>
    Effect.gen(function* () {
      const { fake, write } = yield* store
      // So that the daemon is still at it when the interruption comes.
      fake.onWrite = ({ action }) => (action === "WRITE" ? 100 : undefined)
      const fiber = yield* Effect.forkChild(write(Stream.concat(Stream.make(blob(3 * mib)), Stream.never)))
      yield* Fake.until("data", () => fake.ingests.size === 1 && fake.maxUnanswered > 0)
      yield* Fiber.interrupt(fiber)
      assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(fiber)))
      assert.strictEqual(fake.ingests.size, 0)
      yield* Fake.until("the cancellation", () => fake.cancelled.length === 1)
      assert.deepStrictEqual(fake.cancelled, ["Content.Write"])
    }).pipe(Effect.scoped)
  )

  it.live("throws the ingest of a document away when it is interrupted", () =>
    Effect.gen(function* () {
      const { fake, rpcs, writeBytes } = yield* store
      fake.onWrite = () => 100
      const fiber = yield* Effect.forkChild(writeBytes(blob(10), {}))
      yield* Fake.until("the message", () => fake.writes.length === 1)
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(rpcs().at(-1), "Content.Abort")
      assert.deepStrictEqual(fake.requests(services().content.Abort), [{ ref: fake.writes[0]?.ref ?? "" }])
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

  it.live("fails as Unavailable, whatever was under way when the connection broke", () =>
    Effect.gen(function* () {
      const { fake, write } = yield* store
      for (let i = 0; i < 10; i++) {
        const before = fake.writes.length
        const data = Stream.forever(Stream.make(blob(mib)))
        const fiber = yield* Effect.forkChild(Effect.flip(write(data)))
        yield* Fake.until("data", () => fake.writes.length > before + i)
        yield* fake.dropConnections
        assert.strictEqual((yield* Fiber.join(fiber)).reason._tag, "Unavailable")
      }
    }).pipe(Effect.scoped)
  )

  it.live("is never more than a window ahead of a slow daemon", () =>
    Effect.gen(function* () {
      const { fake, write } = yield* store
      let [taken, handled, ahead] = [0, 0, 0]
      fake.onWrite = (message) => {
        handled = message.offset + message.dataSize
        // Long enough at first to fill the window, however busy the machine is.
        return message.offset === 0 ? 1000 : 5
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
      assert.strictEqual(fake.maxUnanswered, 8)
    }).pipe(Effect.scoped)
  )

  it.live(
    "of 300 MB holds only a part of them in memory",
    () =>
      Effect.gen(function* () {
        const { fake, write } = yield* store
        // Slower than the client, so that what is not held back piles up.
        fake.onWrite = () => 1
        const chunk = blob(mib)
        const used = () => process.memoryUsage().arrayBuffers
        const before = used()
        let most = 0
        const data = Stream.range(1, 300).pipe(
          Stream.map(() => chunk),
          Stream.tap(() => Effect.sync(() => (most = Math.max(most, used() - before))))
        )
        assert.strictEqual((yield* write(data)).size, 300 * mib)
        assert.isBelow(most / mib, 120)
      }).pipe(Effect.scoped),
    20_000
  )
})

describe("labels", () => {
  it.live("are set one by one, and to set none leaves all as they are", () =>
    Effect.gen(function* () {
      const { content, fake, rpcs } = yield* store
      const { digest } = expectedOf(blob(1))
      fake.blobs.set(digest, { size: 1, labels: { a: "1", "b.c/d": "2" } })
      yield* content.setLabels(digest, { "b.c/d": "3", e: "4" })
      yield* content.setLabels(digest, {})
      assert.deepStrictEqual(fake.blobs.get(digest)?.labels, { a: "1", "b.c/d": "3", e: "4" })
      assert.deepStrictEqual(rpcs(), ["Content.Update", "Content.Info"])
    }).pipe(Effect.scoped)
  )
})
