/** What the suites about commits share: base images, changed containers, and what is there before and after. */
import { chmodSync, mkdirSync, rmSync, symlinkSync } from "node:fs"
import { join } from "node:path"
import { gunzipSync, zstdDecompressSync } from "node:zlib"
import { assert } from "@effect/vitest"
import { Effect, Option, type Scope, Stream } from "effect"
import {
  Archive,
  Commit,
  type Containerd,
  Containers,
  ContentStore,
  type Descriptor,
  Differ,
  Digest,
  ImageConfig,
  Images,
  Leases,
  Manifest,
  MediaType
} from "effect-containerd"
import * as Tars from "../layer/Tars.ts"
import * as Trees from "../layer/Trees.ts"
import { collect, image, leased, readAll, unique, write } from "./Cases.ts"
import { type Change, file, makeSnapshots, type SnapshotTraits } from "./Snapshots.ts"

export interface CommitTraits<R> extends SnapshotTraits {
  /** Makes a container of an image, which does not run, and gives its id: the given one, if any. It goes with the scope. */
  readonly container: (
    image: string,
    id?: string
  ) => Effect.Effect<string, unknown, Containerd.Services | R | Scope.Scope>
}

const baseCreated = "2024-01-02T03:04:05Z"

/** The files of a base image. */
const baseFiles: Change = (dir) => {
  for (const path of ["etc", "data/dir"]) mkdirSync(join(dir, path), { recursive: true })
  file("etc/passwd", "root:x:0:0:root:/:/bin/sh\n")(dir)
  file("etc/group", "root:x:0:\n")(dir)
  for (const path of ["data/change", "data/delete", "data/dir/file"]) file(path, path)(dir)
  // Cases delete blobs, so that they must not share any.
  file("unique", unique("base"))(dir)
}

/** One thing of each kind. */
export const someChange: Change = (dir) => {
  file("data/change", "changed")(dir)
  for (const path of ["data/delete", "data/dir"]) rmSync(join(dir, path), { recursive: true })
  mkdirSync(join(dir, "data/dir/new"), { recursive: true })
  file("data/dir/new/file", unique("file"))(dir)
  symlinkSync("nowhere", join(dir, "data/link"))
  chmodSync(join(dir, "etc/group"), 0o600)
}

export const deleteImage = (name: string) => Effect.ignore(Images.Images.use((images) => images.delete(name)))

export const baseImage = (platform?: string) =>
  Effect.gen(function* () {
    const name = `localhost/${unique("base")}:1`
    const directory = yield* Trees.temporary
    baseFiles(directory)
    const config = { Env: ["A=1"], Cmd: ["sleep", "1"], Labels: { l: "1" } }
    const options = { name, config, created: baseCreated, platform }
    yield* Effect.acquireRelease(Archive.fromDirectory(directory, options), () => deleteImage(name))
    return name
  })

/** A commit whose images go with the scope. */
export const commit = (options: Commit.CommitOptions) =>
  Effect.acquireRelease(Commit.commit(options), ({ images }) => Effect.forEach(images, ({ name }) => deleteImage(name)))

export const refusal = (options: Commit.CommitOptions) => Effect.flip(Commit.commit(options))
export const refusalTag = (options: Commit.CommitOptions) => Effect.map(refusal(options), ({ reason }) => reason._tag)

const documentsAt = Effect.fnUntraced(function* (target: Descriptor.Descriptor) {
  const manifest = yield* Effect.fromResult(Manifest.decode(yield* ContentStore.readBytes(target), target.mediaType))
  const config = yield* Effect.fromResult(
    ImageConfig.decode(yield* ContentStore.readBytes(manifest.value.config), manifest.value.config.mediaType)
  )
  return { manifest: manifest.value, config: config.value, layers: manifest.value.layers ?? [] }
})

export const documentsOf = (name: string) =>
  Effect.flatMap(
    Images.Images.use((images) => images.get(name)),
    ({ target }) => documentsAt(target)
  )

export const tarOf = (descriptor: Descriptor.Descriptor) =>
  Effect.map(readAll(descriptor), (blob) => {
    if (descriptor.mediaType.endsWith("gzip")) return gunzipSync(blob)
    return descriptor.mediaType.endsWith("zstd") ? zstdDecompressSync(blob) : Buffer.from(blob)
  })

/** The entries of the new layer, the root directory's left out (Differences). */
export const entriesOf = Effect.fnUntraced(function* ({ layer }: Commit.Committed) {
  if (Option.isNone(layer)) return []
  const entries = Tars.decode(yield* tarOf(layer.value.descriptor))
  return entries
    .map((entry) => ({ ...entry, path: entry.path.replace(/^\.\//, "").replace(/\/$/, "") }))
    .filter(({ path }) => path !== "" && path !== ".")
})

/** The names in the new layer. */
export const pathsOf = (committed: Commit.Committed) =>
  Effect.map(entriesOf(committed), (entries) => entries.map(({ path }) => path).sort())

/** Every blob is there and is what its descriptor says, and every layer is what the config says. */
export const wholeManifest = Effect.fnUntraced(function* (target: Descriptor.Descriptor) {
  const documents = yield* documentsAt(target)
  for (const descriptor of [documents.manifest.config, ...documents.layers]) {
    const { digest, size } = descriptor
    const blob = yield* readAll(descriptor)
    assert.deepStrictEqual({ digest: Digest.fromBytes(blob), size: blob.length }, { digest, size })
  }
  const diffIds = yield* Effect.forEach(documents.layers, (one) =>
    Effect.map(tarOf(one), (tar) => Digest.fromBytes(tar))
  )
  assert.deepStrictEqual(ImageConfig.diffIds(documents.config), diffIds)
  return documents
})

export const wholeImage = (name: string) =>
  Effect.flatMap(
    Images.Images.use((images) => images.get(name)),
    ({ target }) => wholeManifest(target)
  )

/** The same image, as Docker's documents say it. */
export const dockerImage = Effect.fnUntraced(function* (name: string) {
  const { layers, manifest } = yield* documentsOf(name)
  const config = { ...manifest.config, mediaType: MediaType.dockerConfig }
  const retyped = layers.map((one) => ({ ...one, mediaType: MediaType.dockerLayerGzip }))
  const mediaType = MediaType.dockerManifest
  const document = { schemaVersion: 2, mediaType, config, layers: retyped }
  const labels = Object.fromEntries(
    [config, ...retyped].map(({ digest }, i) => [`containerd.io/gc.ref.content.${i}`, digest])
  )
  const target = yield* Effect.uninterruptible(
    leased(Effect.flatMap(write(Buffer.from(JSON.stringify(document)), { mediaType, labels }), (one) => image(one)))
  )
  return yield* (yield* Images.Images).get(target)
})

export const chainOf = (committed: Commit.Committed) => Option.getOrElse(committed.chainId, () => "")

const makeInventory = (snapshots: ReturnType<typeof makeSnapshots>["snapshots"]) =>
  Effect.gen(function* () {
    const store = yield* ContentStore.ContentStore
    const found = yield* Stream.runCollect((yield* snapshots).list())
    return {
      leases: (yield* (yield* Leases.Leases).list()).map(({ id }) => id),
      images: (yield* (yield* Images.Images).list()).map((image) => image.name).sort(),
      blobs: (yield* Stream.runCollect(store.list())).map(({ digest }) => digest).sort(),
      ingests: yield* store.ingests,
      snapshots: found.map((info) => `${info.kind} ${info.name}`).sort()
    }
  })

export const makeCommits = <R>(traits: CommitTraits<R>) => {
  const made = makeSnapshots(traits)
  const { snapshots, tree, within } = made
  const look = <A>(snapshot: string, f: (dir: string) => A) => leased(made.look(snapshot, f))

  const mountsOf = (id: string) =>
    Effect.gen(function* () {
      const { snapshotKey } = yield* (yield* Containers.Containers).get(id)
      return yield* (yield* snapshots).mounts(snapshotKey)
    })

  const see = <A>(id: string, f: (dir: string) => A) => Effect.flatMap(mountsOf(id), (mounts) => within(mounts, f))
  const change = (id: string, f: Change) => see(id, f)

  /** A container of the image, after a change. */
  const changedOf = (base: string, f: Change = someChange, id?: string) =>
    Effect.tap(traits.container(base, id), (made) => change(made, f))

  /** A container of a base image of its own, after a change. */
  const changed = (f: Change = someChange) =>
    Effect.gen(function* () {
      const base = yield* baseImage()
      return { base, id: yield* changedOf(base, f) }
    })

  const inventory = makeInventory(snapshots)
  const settled = Effect.andThen(collect, inventory)

  /** Nothing is left of what a case makes, when its scope is closed. */
  const clean = <A, E2, R2>(self: Effect.Effect<A, E2, R2>) =>
    Effect.gen(function* () {
      const before = yield* settled
      yield* Effect.scoped(self)
      assert.deepStrictEqual(yield* settled, before)
    })

  /** The layers of an image, extracted once more into one snapshot. */
  const rebuilt = (image: string) =>
    Effect.gen(function* () {
      const differ = yield* Differ.Differ
      const target = yield* (yield* snapshots).prepare({ key: unique("rebuilt"), parent: "" })
      for (const one of (yield* documentsOf(image)).layers) yield* differ.apply(one, target.mounts)
      return yield* within(target.mounts, tree)
    }).pipe(Effect.scoped, leased)

  return { snapshots, tree, look, see, change, changed, changedOf, inventory, settled, clean, rebuilt }
}
