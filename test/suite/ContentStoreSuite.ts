/**
 * What every content store promises. The cases are those of containerd's own `content/testsuite`, as far as our
 * interface can ask for them, and what the interface's prose says beyond it.
 */
import { assert, layer as withLayer } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, type Layer, Stream } from "effect"
import { ContentStore, Digest, Leases } from "effect-containerd"
import { collect, inPieces, leased, leasedAs, randomBytes, readAll, reason, unique, write } from "./Cases.ts"
import { title } from "./Title.ts"

const equal = (actual: Uint8Array, expected: Uint8Array) => assert.isTrue(Buffer.from(actual).equals(expected))
const expectedOf = (bytes: Uint8Array) => ({ digest: Digest.fromBytes(bytes), size: bytes.length })
const offsetOf = (ref: string) =>
  ContentStore.ContentStore.use(({ ingests }) =>
    Effect.map(ingests, (all) => all.find((ingest) => ingest.ref === ref)?.offset)
  )

const MiB = 1024 * 1024

/** Writes the first bytes of a blob under that name, and then fails. What is on its way then, some MiB, may be lost. */
const interrupted = (bytes: Uint8Array, size: number, ref: string) =>
  ContentStore.ContentStore.use((store) =>
    store.write(Stream.concat(inPieces(bytes.subarray(0, size), MiB / 4), Stream.fail("cut off" as const)), {
      mediaType: "application/octet-stream",
      ref
    })
  ).pipe(
    Effect.exit,
    Effect.map((exit) => assert.deepStrictEqual(exit, Exit.fail("cut off")))
  )

export const contentStoreSuite = <E>(
  name: string,
  layer: Layer.Layer<ContentStore.ContentStore | Leases.Leases, E>
): void =>
  withLayer(layer, { excludeTestServices: true })(title("content store", name), (it) => {
    it.effect("a stream becomes a blob, named by the digest of its bytes (Writer)", () =>
      Effect.gen(function* () {
        const bytes = randomBytes(300_001)
        const descriptor = yield* write(bytes, { mediaType: "text/x" })
        assert.deepStrictEqual({ ...descriptor }, { mediaType: "text/x", ...expectedOf(bytes) })
        equal(yield* readAll(descriptor), bytes)
        const store = yield* ContentStore.ContentStore
        assert.deepStrictEqual(yield* store.info(descriptor.digest), { ...expectedOf(bytes), labels: {} })
        assert.deepStrictEqual(yield* store.ingests, [])
      }).pipe(leased)
    )

    it.effect("20 MiB come back as they went, whatever the sizes of the pieces", () =>
      Effect.gen(function* () {
        const bytes = randomBytes(20 * 1024 * 1024 + 7)
        const store = yield* ContentStore.ContentStore
        for (const size of [9973, 3 * 1024 * 1024 + 1]) {
          const descriptor = yield* store.write(inPieces(bytes, size), { mediaType: "text/x" })
          equal(yield* readAll(descriptor), bytes)
          yield* store.delete(descriptor.digest)
        }
      }).pipe(leased)
    )

    it.effect.each([0, 1])("%d bytes are a blob, too (SmallBlob)", (size) =>
      Effect.gen(function* () {
        const store = yield* ContentStore.ContentStore
        const bytes = randomBytes(size)
        for (const written of [
          yield* write(bytes),
          yield* store.writeBytes(bytes, { mediaType: "application/octet-stream" })
        ]) {
          assert.strictEqual(written.digest, Digest.fromBytes(bytes))
          equal(yield* readAll(written), bytes)
        }
      }).pipe(leased)
    )

    it.effect("an offset skips what comes before; the end is empty, beyond it is an error", () =>
      Effect.gen(function* () {
        const bytes = randomBytes(2_500_000)
        const descriptor = yield* write(bytes)
        for (const offset of [1, 1_048_576, 2_499_999, 2_500_000]) {
          equal(yield* readAll(descriptor, offset), bytes.subarray(offset))
        }
        assert.strictEqual(yield* reason(readAll(descriptor, 2_500_001)), "OutOfRange")
      }).pipe(leased)
    )

    it.effect("a blob that is not there is NotFound, and its deletion success", () =>
      Effect.gen(function* () {
        const store = yield* ContentStore.ContentStore
        const digest = Digest.fromBytes(randomBytes(10))
        assert.strictEqual(yield* reason(store.info(digest)), "NotFound")
        assert.strictEqual(yield* reason(Stream.runDrain(store.read(digest))), "NotFound")
        assert.strictEqual(yield* reason(store.setLabels(digest, { a: "b" })), "NotFound")
        yield* store.delete(digest)
      })
    )

    it.effect("a deleted blob is gone at once, and can be written again", () =>
      Effect.gen(function* () {
        const store = yield* ContentStore.ContentStore
        const bytes = randomBytes(1000)
        const { digest } = yield* write(bytes, { labels: { "suite/old": "1" } })
        yield* store.delete(digest)
        assert.strictEqual(yield* reason(store.info(digest)), "NotFound")
        const again = yield* write(bytes)
        assert.deepStrictEqual((yield* store.info(digest)).labels, {})
        yield* collect
        equal(yield* readAll(again), bytes)
      }).pipe(leased)
    )

    it.effect("what is there already is success: labels are added, and the lease holds it (CommitExists)", () =>
      Effect.gen(function* () {
        const store = yield* ContentStore.ContentStore
        const leases = yield* Leases.Leases
        const bytes = randomBytes(5000)
        const first = yield* write(bytes, { labels: { "suite/a": "1", "suite/b": "1" } })
        yield* leasedAs((id) =>
          Effect.gen(function* () {
            const labels = { "suite/b": "2", "suite/c": "3" }
            assert.deepStrictEqual(yield* write(bytes, { labels }), first)
            assert.deepStrictEqual((yield* store.info(first.digest)).labels, { "suite/a": "1", ...labels })
            assert.deepInclude(yield* leases.resources(id), { type: "content", id: first.digest })
          })
        )
      }).pipe(leased)
    )

    it.effect("two who write the same blob at once both succeed", () =>
      Effect.gen(function* () {
        const bytes = randomBytes(500_000)
        const all = yield* Effect.all(
          [1, 2, 3].map(() => write(bytes)),
          { concurrency: "unbounded" }
        )
        for (const descriptor of all) equal(yield* readAll(descriptor), bytes)
      }).pipe(leased)
    )

    it.effect("a blob that is expected and there saves the upload: the data is not asked for", () =>
      Effect.gen(function* () {
        const store = yield* ContentStore.ContentStore
        const bytes = randomBytes(1000)
        yield* write(bytes)
        const unread = Stream.die("was read")
        const again = yield* store.write(unread, { mediaType: "text/x", expected: expectedOf(bytes) })
        assert.strictEqual(again.digest, Digest.fromBytes(bytes))
      }).pipe(leased)
    )

    it.effect("other bytes than expected are refused, and nothing of them stays (CommitErrorState)", () =>
      Effect.gen(function* () {
        const store = yield* ContentStore.ContentStore
        const [bytes, other] = [randomBytes(5000), randomBytes(5000)]
        for (const wrong of [other, bytes.subarray(1), Buffer.concat([bytes, other])]) {
          assert.strictEqual(yield* reason(write(wrong, { expected: expectedOf(bytes) })), "FailedPrecondition")
          assert.strictEqual(yield* reason(store.info(Digest.fromBytes(wrong))), "NotFound")
        }
        assert.strictEqual(yield* reason(store.info(Digest.fromBytes(bytes))), "NotFound")
        assert.deepStrictEqual(yield* store.ingests, [])
      }).pipe(leased)
    )

    it.effect("labels: set with the write, one by one later; an empty value removes one (Labels)", () =>
      Effect.gen(function* () {
        const store = yield* ContentStore.ContentStore
        const { digest } = yield* write(randomBytes(100), { labels: { "a.b/c.d": "1", keep: "é", empty: "" } })
        const labels = Effect.map(store.info(digest), (info) => info.labels)
        assert.deepStrictEqual(yield* labels, { "a.b/c.d": "1", keep: "é" })
        yield* store.setLabels(digest, { "a.b/c.d": "", added: "2" })
        assert.deepStrictEqual(yield* labels, { keep: "é", added: "2" })
        const large = store.setLabels(digest, { large: "x".repeat(4096) })
        assert.strictEqual(yield* reason(large), "InvalidArgument")
        assert.deepStrictEqual(yield* labels, { keep: "é", added: "2" })
      }).pipe(leased)
    )

    it.effect("filters: by label and digest, with and, or, not, presence and regular expression", () =>
      Effect.gen(function* () {
        const store = yield* ContentStore.ContentStore
        const [x, y] = [unique("x"), unique("y")]
        const one = yield* write(randomBytes(11), { labels: { "suite/run": x, "suite/n": "one" } })
        const two = yield* write(randomBytes(12), { labels: { "suite/run": x, "suite/n": "two" } })
        const three = yield* write(randomBytes(13), { labels: { "suite/run": y } })
        const found = (...filters: ReadonlyArray<string>) =>
          Effect.map(Stream.runCollect(store.list(filters)), (all) => all.map(({ size }) => size).sort())
        assert.deepStrictEqual(yield* found(`labels."suite/run"==${x}`), [11, 12])
        assert.deepStrictEqual(yield* found(`labels."suite/run"==${x},labels."suite/n"==two`), [12])
        assert.deepStrictEqual(yield* found(`labels."suite/run"==${x},labels."suite/n"!=two`), [11])
        assert.deepStrictEqual(yield* found(`labels."suite/n"==one`, `labels."suite/run"==${y}`), [11, 13])
        assert.deepStrictEqual(yield* found(`labels."suite/n",labels."suite/run"=="${x}"`), [11, 12])
        assert.deepStrictEqual(yield* found(`labels."suite/n"~="^(one|t.o)$",labels."suite/run"==${x}`), [11, 12])
        assert.deepStrictEqual(yield* found(`digest==${three.digest}`), [13])
        assert.deepStrictEqual(yield* found(`nothing==${three.digest}`), [])
        assert.includeMembers(yield* found(), [one.size, two.size, three.size])
        assert.strictEqual(yield* reason(found("labels.=")), "InvalidArgument")
      }).pipe(leased)
    )

    it.effect("a named write that was cut off stays, and says how far it came (UpdateStatus)", () =>
      Effect.gen(function* () {
        const ref = unique("ref")
        yield* interrupted(randomBytes(20 * MiB), 20 * MiB, ref)
        const offset = yield* offsetOf(ref)
        assert.isTrue(offset !== undefined && offset >= 8 * MiB && offset <= 20 * MiB, `${offset}`)
        yield* ContentStore.ContentStore.use((store) => store.abort(ref))
        assert.isUndefined(yield* offsetOf(ref))
      }).pipe(leased)
    )

    const cuts = [0, 1, MiB, 2.5 * MiB, 4 * MiB - 1, 4 * MiB]
    it.effect.each(cuts)("a write that was cut off after %d of 4194304 bytes goes on there (Resume)", (cut) =>
      Effect.gen(function* () {
        const [ref, bytes] = [unique("ref"), randomBytes(4 * MiB)]
        yield* interrupted(bytes, cut, ref)
        const descriptor = yield* write(bytes, { ref })
        assert.strictEqual(descriptor.digest, Digest.fromBytes(bytes))
        equal(yield* readAll(descriptor), bytes)
        assert.isUndefined(yield* offsetOf(ref))
      }).pipe(leased)
    )

    it.effect("a resumed write is hashed from the beginning: other bytes before are noticed (ResumeDiscard)", () =>
      Effect.gen(function* () {
        const store = yield* ContentStore.ContentStore
        const [ref, bytes] = [unique("ref"), randomBytes(20 * MiB)]
        yield* interrupted(randomBytes(20 * MiB), 19 * MiB, ref)
        assert.strictEqual(yield* reason(write(bytes, { ref, expected: expectedOf(bytes) })), "FailedPrecondition")
        yield* store.abort(ref)
        yield* write(bytes, { ref, expected: expectedOf(bytes) })
      }).pipe(leased)
    )

    it.effect("a write that was refused can be committed as what it is, without its data (ResumeCopy)", () =>
      Effect.gen(function* () {
        const store = yield* ContentStore.ContentStore
        const [ref, bytes] = [unique("ref"), randomBytes(10_000)]
        const wrong = { ...expectedOf(randomBytes(10)), size: bytes.length }
        assert.strictEqual(yield* reason(write(bytes, { ref, expected: wrong })), "FailedPrecondition")
        const unread = Stream.die("was read")
        const written = yield* store.write(unread, { mediaType: "text/x", ref, expected: expectedOf(bytes) })
        equal(yield* readAll(written), bytes)
      }).pipe(leased)
    )

    it.effect("a ref has one writer at a time: the other is Unavailable, the first goes on", () =>
      Effect.gen(function* () {
        const store = yield* ContentStore.ContentStore
        const [ref, bytes] = [unique("ref"), randomBytes(10_000)]
        const [started, go] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
        const slow = Stream.concat(
          Stream.make(bytes.subarray(0, 10)),
          Stream.unwrap(
            Deferred.succeed(started, undefined).pipe(
              Effect.andThen(Deferred.await(go)),
              Effect.as(Stream.make(bytes.subarray(10)))
            )
          )
        )
        const first = yield* Effect.forkChild(store.write(slow, { mediaType: "text/x", ref }))
        yield* Deferred.await(started)
        assert.strictEqual(yield* reason(write(bytes, { ref })), "Unavailable")
        yield* Deferred.succeed(go, undefined)
        assert.strictEqual((yield* Fiber.join(first)).digest, Digest.fromBytes(bytes))
      }).pipe(leased)
    )

    it.effect.each(["failure", "defect", "interruption"] as const)(
      "a nameless write leaves no ingest on %s",
      (ending) =>
        Effect.gen(function* () {
          const store = yield* ContentStore.ContentStore
          const started = yield* Deferred.make<void>()
          const last = { failure: Effect.fail("no" as const), defect: Effect.die("no"), interruption: Effect.never }[
            ending
          ]
          const data = Stream.concat(
            Stream.make(randomBytes(1000)),
            Stream.fromEffect(Effect.andThen(Deferred.succeed(started, undefined), last))
          )
          const fiber = yield* Effect.forkChild(store.write(data, { mediaType: "text/x" }))
          yield* Deferred.await(started)
          if (ending === "interruption") yield* Fiber.interrupt(fiber)
          const exit = yield* Fiber.await(fiber)
          assert.isTrue(Exit.isFailure(exit))
          if (ending === "failure") assert.deepStrictEqual(exit, Exit.fail("no" as const))
          assert.deepStrictEqual(yield* store.ingests, [])
        }).pipe(leased)
    )

    it.effect("an abort of what is not there is success", () =>
      ContentStore.ContentStore.use((store) => store.abort(unique("ref")))
    )

    it.effect("under a lease that is gone nothing is written", () =>
      leasedAs((id) =>
        Effect.gen(function* () {
          const store = yield* ContentStore.ContentStore
          const leases = yield* Leases.Leases
          yield* leases.delete(id)
          const bytes = randomBytes(100)
          assert.strictEqual(yield* reason(write(bytes)), "NotFound")
          assert.strictEqual(yield* reason(store.writeBytes(bytes, { mediaType: "text/x" })), "NotFound")
          assert.strictEqual(yield* reason(store.info(Digest.fromBytes(bytes))), "NotFound")
        })
      )
    )

    it.effect("an ingest goes with its lease", () =>
      Effect.gen(function* () {
        const ref = unique("ref")
        yield* leased(interrupted(randomBytes(2 * MiB), 2 * MiB, ref))
        yield* collect
        assert.isUndefined(yield* offsetOf(ref))
      })
    )

    it.effect("a reader keeps what it reads, although it is deleted and collected meanwhile", () =>
      Effect.gen(function* () {
        const store = yield* ContentStore.ContentStore
        const bytes = randomBytes(8 * 1024 * 1024)
        const { digest } = yield* write(bytes)
        let size = 0
        yield* Stream.runForEach(store.read(digest), (chunk) => {
          const first = size === 0
          size += chunk.length
          return first ? Effect.andThen(store.delete(digest), collect) : Effect.void
        })
        assert.strictEqual(size, bytes.length)
      }).pipe(leased)
    )
  })
