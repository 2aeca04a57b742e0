/** What the tests of images and containers share. */
import { mkdirSync } from "node:fs"
import { join } from "node:path"
import { Effect, Stream } from "effect"
import {
  type Archive,
  Containers,
  ContentStore,
  type Descriptor,
  Embedded,
  type ImageConfig,
  Images,
  Leases,
  MediaType,
  Snapshotter
} from "effect-containerd"
import * as ImageDocuments from "../../src/core/ImageDocuments.ts"
import { Database } from "../../src/embedded/Database.ts"
import * as Tars from "../layer/Tars.ts"
import * as Trees from "../layer/Trees.ts"
import { leased, unique } from "../suite/Cases.ts"
import * as Layout from "../suite/Layout.ts"

/** Everything there is: equal before and after means that nothing is left. */
export const inventory = Effect.gen(function* () {
  const { paths } = yield* Database
  const containers = yield* Stream.runCollect((yield* Containers.Containers).list())
  const leases = yield* (yield* Leases.Leases).list()
  const images = yield* (yield* Images.Images).list()
  return {
    containers: containers.map(({ id }) => id),
    files: Layout.files(paths.root),
    images: images.map(({ name, target }) => `${name} ${target.digest}`),
    leases: leases.map(({ id }) => id)
  }
})

export interface ImageOptions {
  readonly config?: ImageConfig.ContainerConfig
  /** As a config says it. */
  readonly platform?: { readonly os: string; readonly architecture: string }
}

const host = { os: "linux", architecture: process.arch === "x64" ? "amd64" : process.arch }

const writeImage = Effect.fnUntraced(function* (tars: ReadonlyArray<Uint8Array>, options: ImageOptions) {
  const store = yield* ContentStore.ContentStore
  const json = (mediaType: string, value: unknown) =>
    store.writeBytes(Buffer.from(JSON.stringify(value)), { mediaType })
  const layers = yield* Effect.forEach(tars, (tar) => store.writeBytes(tar, { mediaType: MediaType.ociLayer }))
  const config = yield* json(MediaType.ociConfig, {
    ...(options.platform ?? host),
    config: options.config ?? {},
    rootfs: { type: "layers", diff_ids: layers.map(({ digest }) => digest) }
  })
  const mediaType = MediaType.ociManifest
  const target = yield* json(mediaType, { schemaVersion: 2, mediaType, config, layers })
  return { config, layers, target }
})

/** An image of such layers, the lowest first, as another tool might have left it. Made without any code for layers. */
export const imageOfTars = (name: string, tars: ReadonlyArray<Uint8Array>, options: ImageOptions = {}) =>
  writeImage(tars, options).pipe(
    Effect.tap(({ target }) => Images.put({ name, target, labels: {} })),
    leased
  )

export const tar = (...entries: ReadonlyArray<Uint8Array>): Uint8Array => Tars.bytes(...entries, Tars.end)

/** The same content for several platforms under one name; each has a file that names it. */
export const indexOf = (name: string, platforms: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const store = yield* ContentStore.ContentStore
    const all = yield* Effect.forEach(platforms, (text) => {
      const [os = "", architecture = ""] = text.split("/")
      const platform = { os, architecture }
      return Effect.map(writeImage([tar(Trees.regular("platform", text))], { platform }), (image) => ({
        ...image,
        platform
      }))
    })
    const mediaType = MediaType.ociIndex
    const manifests = all.map(({ platform, target }) => ({ ...target, platform }))
    const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, manifests }))
    yield* Images.put({ name, target: yield* store.writeBytes(bytes, { mediaType }), labels: {} })
    return all
  }).pipe(leased)

/** An image of a tree that such entries make. */
export const imageOfEntries = Effect.fnUntraced(function* (
  name: string,
  entries: ReadonlyArray<Uint8Array>,
  options: Omit<Archive.DirectoryOptions, "name"> = {}
) {
  const directory = join(yield* Trees.temporary, "tree")
  mkdirSync(directory)
  return yield* Embedded.fromDirectory(Trees.place(directory, ...entries), { name, ...options })
}, Effect.scoped)

/** The documents of an image for one platform. */
export const documentsOf = Effect.fnUntraced(function* (target: Descriptor.Descriptor) {
  const { config, manifest } = yield* ImageDocuments.read(target)
  return { config: config.value, manifest: manifest.value }
})

/** What a committed snapshot holds. */
export const snapshotTree = (name: string) =>
  Effect.gen(function* () {
    const snapshots = (yield* Snapshotter.Snapshotters).get("directory")
    const { mounts } = yield* snapshots.view({ key: unique("tree"), parent: name })
    return Trees.read(mounts[0]?.source ?? "")
  }).pipe(Effect.scoped, leased)

export const blobPath = (root: string, { digest }: Pick<Descriptor.Descriptor, "digest">) =>
  join(root, "blobs", ...digest.split(":"))
