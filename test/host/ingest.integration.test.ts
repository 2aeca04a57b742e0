import { createHash, randomBytes, randomUUID } from "node:crypto"
import { assert, layer } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Stream } from "effect"
import { Containerd, ContentStore, Leases } from "effect-containerd"
import * as Connection from "effect-containerd/containerd/Connection"
import { services } from "effect-containerd/containerd/Wire"
import { type RunningContainerd, versions } from "../support/Containerd.ts"
import { describeDaemons } from "../support/Daemons.ts"
import * as Host from "../support/Host.ts"
import * as Inventory from "../support/Inventory.ts"

const mib = 1024 * 1024
const mediaType = "application/octet-stream"

/** Chunks of a size that fits nothing. */
const chunked = (bytes: Uint8Array, size = 77_777) =>
  Stream.fromIterable(
    Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) => bytes.subarray(i * size, (i + 1) * size))
  )

const digestOf = (bytes: Uint8Array) => `sha256:${createHash("sha256").update(bytes).digest("hex")}`

/** A store whose calls are counted, and whose daemon may tell another directory than its own. */
const storeOn = ({ address }: RunningContainerd, root?: string) => {
  const sent = { bytes: 0 }
  const isWrite = (request: unknown): request is { readonly data: Uint8Array } =>
    typeof request === "object" && request !== null && "data" in request && request.data instanceof Uint8Array
  const decorated = Effect.map(Connection.Connection, (real): Connection.Connection["Service"] => ({
    ...real,
    unary: (method, request, limit) => {
      const answer = real.unary(method, request, limit)
      if (root === undefined || method.path !== services().introspection.Plugins.path) return answer
      return Effect.tap(answer, (told) =>
        Effect.sync(() => {
          if (typeof told !== "object" || told === null || !("plugins" in told) || !Array.isArray(told.plugins)) return
          for (const plugin of told.plugins) Object.assign(plugin.exports, { root })
        })
      )
    },
    duplex: (method) =>
      Effect.tap(real.duplex(method), (call) =>
        Effect.sync(() => {
          const write = call.write.bind(call)
          call.write = (request: Parameters<typeof write>[0]) => {
            if (isWrite(request)) sent.bytes += request.data.length
            return write(request)
          }
        })
      )
  }))
  const connection = Layer.effect(Connection.Connection, decorated).pipe(
    Layer.provide(Connection.layer({ address, namespace: "default", timeout: "10 seconds" }))
  )
  return { sent, layer: Containerd.layerOver(connection) }
}

interface How {
  readonly root?: string
  readonly chunk?: number
}

const written = Effect.fnUntraced(function* (
  containerd: RunningContainerd,
  bytes: Uint8Array,
  { chunk, root }: How = {}
) {
  const { layer, sent } = storeOn(containerd, root)
  return yield* Effect.gen(function* () {
    const store = yield* ContentStore.ContentStore
    const leases = yield* Leases.Leases
    const lease = yield* Leases.scoped({ id: `ingest-${randomUUID()}` })
    const descriptor = yield* store
      .write(chunked(bytes, chunk), { mediaType, labels: { "test.label": "yes" } })
      .pipe(Effect.provideService(Leases.Lease, lease))
    yield* Inventory.collectGarbage(containerd)
    const { labels, size } = yield* store.info(descriptor.digest)
    const held = yield* leases.resources(lease.id)
    const content = yield* Stream.mkUint8Array(store.read(descriptor.digest))
    return {
      descriptor,
      labels,
      size,
      held,
      content: digestOf(content),
      ingests: yield* store.ingests,
      sent: sent.bytes
    }
  }).pipe(Effect.scoped, Effect.provide(layer, { local: true }))
})

const isRight = (made: Effect.Success<ReturnType<typeof written>>, bytes: Uint8Array) => {
  const digest = digestOf(bytes)
  const { descriptor } = made
  assert.deepStrictEqual(
    [descriptor.mediaType, String(descriptor.digest), descriptor.size],
    [mediaType, digest, bytes.length]
  )
  assert.deepStrictEqual([made.content, made.size], [digest, bytes.length])
  assert.deepStrictEqual(made.labels, { "test.label": "yes" })
  assert.deepInclude(made.held, { type: "content", id: digest })
  assert.deepStrictEqual(made.ingests, [])
}

for (const version of versions) {
  describeDaemons(`big content on containerd ${version}`, () => {
    layer(Host.layer(version), { excludeTestServices: true })((it) => {
      it.effect("goes through the daemon's own file, with its digest, its labels and its lease", () =>
        Effect.gen(function* () {
          const { containerd } = yield* Host.Host
          const bytes = randomBytes(20 * mib + 12_345)
          const made = yield* written(containerd, bytes)
          isRight(made, bytes)
          // All but the first message.
          assert.isAtMost(made.sent, mib)
          const crumbs = randomBytes(3 * mib)
          const other = yield* written(containerd, crumbs, { chunk: 333 })
          isRight(other, crumbs)
          assert.isAtMost(other.sent, mib)
          // What is there already is adopted, as by any other write.
          isRight(yield* written(containerd, bytes), bytes)
        })
      )

      it.effect("goes through the call where that file is not seen, and when it is small", () =>
        Effect.gen(function* () {
          const { containerd } = yield* Host.Host
          for (const root of ["/nowhere", "/proc", containerd.directory]) {
            const bytes = randomBytes(3 * mib)
            const made = yield* written(containerd, bytes, { root })
            isRight(made, bytes)
            assert.strictEqual(made.sent, bytes.length)
          }
          const small = randomBytes(1000)
          const made = yield* written(containerd, small)
          isRight(made, small)
          assert.strictEqual(made.sent, small.length)
        })
      )

      it.effect("leaves no ingest when it is interrupted or fails in the middle", () =>
        Effect.gen(function* () {
          const { containerd } = yield* Host.Host
          const before = yield* Inventory.take(containerd)
          const bytes = chunked(randomBytes(10 * mib))
          const write = Effect.fnUntraced(function* <E>(data: Stream.Stream<Uint8Array, E>) {
            const store = yield* ContentStore.ContentStore
            const lease = yield* Leases.scoped({ id: `ingest-${randomUUID()}` })
            return yield* store.write(data, { mediaType }).pipe(Effect.provideService(Leases.Lease, lease))
          }, Effect.scoped)
          const reached = yield* Deferred.make<void>()
          const stall = Stream.fromEffectDrain(Effect.andThen(Deferred.succeed(reached, undefined), Effect.never))
          const fiber = yield* Effect.forkChild(write(Stream.concat(bytes, stall)))
          yield* Deferred.await(reached)
          assert.lengthOf((yield* containerd.ctr(["content", "active"])).trim().split("\n"), 2)
          yield* Fiber.interrupt(fiber)
          assert.deepStrictEqual(yield* Inventory.take(containerd), before)

          const error = yield* Effect.flip(write(Stream.concat(bytes, Stream.fail("the source broke" as const))))
          assert.strictEqual(error, "the source broke")
          assert.deepStrictEqual(yield* Inventory.take(containerd), before)
        })
      )
    })
  })
}
