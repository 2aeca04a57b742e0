/**
 * A program that makes images, one after the other: `writerProgram.ts ROOT COUNT NAME`. Each has a layer, a config, a manifest,
 * a snapshot that is a child of the one before, and a name that it takes over from the one before.
 */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { Effect, Stream } from "effect"
import { ContentStore, Images, Leases, MediaType, Snapshotter } from "effect-containerd"
import * as Embedded from "../../src/embedded/Embedded.ts"

const [root = "", count = "", name = ""] = process.argv.slice(2)

const random = (size: number) => crypto.getRandomValues(new Uint8Array(size))

const writeImage = Effect.fnUntraced(function* (chainId: string) {
  const store = yield* ContentStore.ContentStore
  const parts = Stream.fromIterable(Array.from({ length: 40 }, () => random(60_000)))
  const layer = yield* store.write(parts, { mediaType: MediaType.ociLayer })
  const config = yield* store.writeBytes(Buffer.from(JSON.stringify({ chainId })), {
    mediaType: MediaType.ociConfig,
    labels: { "containerd.io/gc.ref.snapshot.directory": chainId }
  })
  const document = { schemaVersion: 2, mediaType: MediaType.ociManifest, config, layers: [layer] }
  return yield* store.writeBytes(Buffer.from(JSON.stringify(document)), {
    mediaType: MediaType.ociManifest,
    labels: { "containerd.io/gc.ref.content.config": config.digest, "containerd.io/gc.ref.content.l.0": layer.digest }
  })
})

const makeOne = (parent: string) =>
  Effect.gen(function* () {
    const snapshots = (yield* Snapshotter.Snapshotters).get("directory")
    const chainId = `chain-${crypto.randomUUID()}`
    const active = yield* snapshots.prepare({ key: `extract-${chainId}`, parent })
    writeFileSync(join(active.mounts[0]?.source ?? "", chainId), random(5000))
    yield* active.commit(chainId)
    const target = yield* writeImage(chainId)
    yield* Images.put({ name: `docker.io/test/${name}:1`, target, labels: { chain: chainId } })
    return chainId
  }).pipe(Effect.scoped, Leases.withLease({ id: `writer-${crypto.randomUUID()}` }))

const program = Effect.gen(function* () {
  let parent = ""
  for (let i = 0; i < Number(count); i++) {
    // From then on it may be killed.
    if (i === 1) yield* Effect.sync(() => process.stdout.write("ready\n"))
    // Where several take part in a name, the snapshots of the one before may be gone.
    parent = yield* makeOne(i % 5 === 0 || name === "shared" ? "" : parent)
  }
})

await Effect.runPromise(Effect.provide(program, Embedded.layer({ root })))
