/** Memory that is used again is written before other bytes come into its place. */
import { createHash } from "node:crypto"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { Containerd as Client, ContentStore, Leases } from "effect-containerd"
import * as DirectoryDiff from "../../src/layer/DirectoryDiff.ts"
import { writeLayer } from "../../src/layer/WriteLayer.ts"
import { compressible } from "../layer/Compressible.ts"
import * as Containerd from "../support/Containerd.ts"
import { describeDaemons } from "../support/Daemons.ts"

const mib = 1024 * 1024

/** 100 MiB in files of every size. */
const tree = Effect.acquireRelease(
  Effect.sync(() => {
    const root = mkdtempSync(join(tmpdir(), "effect-containerd-large-"))
    for (let i = 0; i < 100; i++) {
      const size = [5000, 40_000, 700_000, 1_400_000, 3_100_000][i % 5] ?? 0
      writeFileSync(join(root, `file-${i}`), compressible(size + 7 * i).subarray(7 * i))
    }
    return root
  }),
  (root) => Effect.sync(() => rmSync(root, { recursive: true }))
)

for (const version of Containerd.versions) {
  describeDaemons(`containerd ${version}`, () => {
    it.live(
      "gets the bytes of an uncompressed layer, whose memory comes back",
      () =>
        Effect.gen(function* () {
          const upper = yield* tree
          const daemon = yield* Containerd.start(version)
          yield* Effect.gen(function* () {
            const tar = DirectoryDiff.diff({ lower: undefined, upper })
            const buffers = new Set<ArrayBufferLike>()
            const watched = Stream.map(tar, (bytes) => {
              if (bytes.buffer.byteLength === mib) buffers.add(bytes.buffer)
              return bytes
            })
            const { descriptor, diffId } = yield* writeLayer(watched, { compression: "uncompressed" })
            const hash = createHash("sha256")
            const store = yield* ContentStore.ContentStore
            yield* Stream.runForEach(store.read(descriptor.digest), (bytes) => Effect.sync(() => hash.update(bytes)))
            assert.strictEqual(`sha256:${hash.digest("hex")}`, diffId)
            assert.strictEqual(descriptor.digest, diffId)
            assert.isAbove(buffers.size, 1)
            assert.isBelow(buffers.size, 16)
          }).pipe(
            Effect.provideServiceEffect(Leases.Lease, Leases.scoped({ id: "lease" })),
            Effect.scoped,
            Effect.provide(Client.layer({ address: daemon.address }))
          )
        }).pipe(Effect.scoped),
      60_000
    )
  })
}
