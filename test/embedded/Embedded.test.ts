import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Layer, Stream } from "effect"
import {
  type ContainerdError,
  Containers,
  ContentStore,
  Descriptor,
  Images,
  Introspection,
  MediaType,
  Namespaces,
  Snapshotter,
  Tasks
} from "effect-containerd"
import type { Database } from "../../src/embedded/Database.ts"
import * as Embedded from "../../src/embedded/Embedded.ts"
import * as EmbeddedContainers from "../../src/embedded/EmbeddedContainers.ts"
import { collect, hasBlob, leased, randomBytes, reason, write } from "../suite/Cases.ts"
import * as Layout from "../suite/Layout.ts"
import * as Root from "./Root.ts"

const open = (root: string) => Effect.scoped(Effect.asVoid(Layer.build(Embedded.layer({ root }))))
const failure = (root: string) =>
  Effect.map(Effect.flip(open(root)), ({ message, reason }) => `${reason._tag} ${message}`)

describe("opening", () => {
  it.live("makes a new or an empty directory a layout, with its state out of other users' reach", () =>
    Effect.gen(function* () {
      const root = join(yield* Root.directory, "some", "where")
      yield* open(root)
      assert.deepStrictEqual(Layout.problems(root), [])
      assert.deepStrictEqual(readdirSync(root).sort(), [".effect-containerd", "blobs", "index.json", "oci-layout"])
      assert.strictEqual(statSync(join(root, ".effect-containerd")).mode & 0o777, 0o700)
      yield* open(root)
    })
  )

  it.live("finishes what was cut off at any file", () =>
    Effect.gen(function* () {
      for (const last of ["blobs", ".effect-containerd", "index.json"]) {
        const root = yield* Root.directory
        mkdirSync(join(root, "blobs"))
        if (last !== "blobs") mkdirSync(join(root, ".effect-containerd"))
        if (last === "index.json") writeFileSync(join(root, last), '{"schemaVersion":2,"manifests":[],"kept":1}')
        yield* open(root)
        assert.deepStrictEqual(Layout.problems(root), [])
        if (last === "index.json") assert.include(readFileSync(join(root, last), "utf8"), '"kept":1')
      }
    })
  )

  it.live("many times at once gives one layout", () =>
    Effect.gen(function* () {
      const root = yield* Root.directory
      yield* Effect.all(
        Array.from({ length: 8 }, () => open(root)),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(Layout.problems(root), [])
    })
  )

  it.live("refuses a directory that holds something else, and touches nothing", () =>
    Effect.gen(function* () {
      const root = yield* Root.directory
      writeFileSync(join(root, "letter.txt"), "dear")
      assert.match(yield* failure(root), /^FailedPrecondition .*neither empty nor an OCI image layout.*letter\.txt/)
      assert.deepStrictEqual(readdirSync(root), ["letter.txt"])
    })
  )

  it.live("refuses a layout of another version, and one whose marker is no JSON", () =>
    Effect.gen(function* () {
      for (const marker of ['{"imageLayoutVersion":"2.0.0"}', "layout", "{}"]) {
        const root = yield* Root.directory
        writeFileSync(join(root, "oci-layout"), marker)
        assert.match(yield* failure(root), /^FailedPrecondition .*oci-layout/)
      }
    })
  )

  it.live("refuses a state database that is damaged, and one that a newer version wrote", () =>
    Effect.gen(function* () {
      const root = yield* Root.directory
      mkdirSync(join(root, ".effect-containerd"))
      const database = join(root, ".effect-containerd", "state.db")
      writeFileSync(database, "no database ".repeat(1000))
      assert.match(yield* failure(root), /^FailedPrecondition .*state database is damaged/)

      const newer = yield* Root.directory
      yield* open(newer)
      const db = new DatabaseSync(join(newer, ".effect-containerd", "state.db"))
      db.exec("insert into migrations values (1000, '')")
      db.close()
      assert.match(yield* failure(newer), /^FailedPrecondition .*version 1000/)
    })
  )

  it.live("says where a file is in the way", () =>
    Effect.gen(function* () {
      const root = join(yield* Root.directory, "file")
      writeFileSync(root, "")
      assert.match(yield* failure(root), /^AlreadyExists .*file/)
      assert.match(yield* failure(join(root, "below")), /^FailedPrecondition .*below/)
    })
  )

  it.live("two roots in one program are two", () =>
    Effect.gen(function* () {
      const [outer, inner] = [yield* Root.directory, yield* Root.directory]
      const blob = yield* leased(write(randomBytes(10), { labels: { "containerd.io/gc.root": "1" } })).pipe(
        Effect.provide(Embedded.layer({ root: inner })),
        Effect.tap((written) => Effect.map(hasBlob(written), (there) => assert.isFalse(there))),
        Effect.provide(Embedded.layer({ root: outer }))
      )
      assert.isTrue(yield* Effect.provide(hasBlob(blob), Embedded.layer({ root: inner })))
    })
  )

  it.live("finds its root in the environment", () =>
    Effect.gen(function* () {
      const home = yield* Root.directory
      const openIn = (env: Record<string, string>) =>
        Effect.scoped(Layer.build(Embedded.layerConfig)).pipe(
          Effect.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env })))
        )
      yield* openIn({ EFFECT_CONTAINERD_ROOT: join(home, "given"), XDG_DATA_HOME: home })
      assert.deepStrictEqual(readdirSync(home), ["given"])
      yield* openIn({ XDG_DATA_HOME: home })
      assert.deepStrictEqual(Layout.problems(join(home, "effect-containerd")), [])
    })
  )
})

const annotation = "org.opencontainers.image.ref.name"

/** A layout as umoci and skopeo write it: no labels, keys of their own, names as they like them. */
const foreignLayout = Effect.gen(function* () {
  const root = yield* Root.directory
  mkdirSync(join(root, "blobs/sha256"), { recursive: true })
  const put = (mediaType: string, value: unknown): Descriptor.Descriptor => {
    const bytes = Buffer.from(JSON.stringify(value))
    const descriptor = Descriptor.of(mediaType, bytes)
    writeFileSync(join(root, "blobs", ...descriptor.digest.split(":")), bytes)
    return descriptor
  }
  const layer = put(MediaType.ociLayer, "layer")
  const config = put(MediaType.ociConfig, { architecture: "amd64" })
  const document = { schemaVersion: 2, mediaType: MediaType.ociManifest, config, layers: [layer] }
  const manifest = put(MediaType.ociManifest, document)
  const other = put(MediaType.ociManifest, { ...document, layers: [] })
  const nested = put(MediaType.ociIndex, { schemaVersion: 2, manifests: [other] })
  const garbage = put(MediaType.ociLayer, "garbage")
  const entries = [
    {
      ...manifest,
      annotations: { [annotation]: "v1", "org.example": "kept" },
      platform: { architecture: "arm64", os: "linux" },
      "x-entry": 1
    },
    { ...nested, annotations: { [annotation]: "multi" } },
    other
  ]
  const index = { schemaVersion: 2, "x-index": { big: 1 }, manifests: entries, annotations: { "org.example": "index" } }
  writeFileSync(join(root, "index.json"), JSON.stringify(index))
  writeFileSync(join(root, "oci-layout"), '{"imageLayoutVersion": "1.0.0"}')
  return { root, entries, layer, config, manifest, nested, other, garbage }
})

const readIndex = (root: string): unknown => JSON.parse(readFileSync(join(root, "index.json"), "utf8"))

describe("what another tool wrote", () => {
  it.live("are images: by their reference, else by their digest", () =>
    Effect.gen(function* () {
      const { config, manifest, nested, other, root } = yield* foreignLayout
      yield* Effect.gen(function* () {
        const images = yield* Images.Images
        const all = yield* images.list()
        assert.deepStrictEqual(
          all.map(({ name, target }) => [name, target.digest]),
          [
            ["v1", manifest.digest],
            ["multi", nested.digest],
            [other.digest, other.digest]
          ]
        )
        assert.deepStrictEqual((yield* images.get("v1")).target.annotations, { "org.example": "kept" })
        const bytes = yield* ContentStore.readBytes(config)
        assert.strictEqual(Buffer.from(bytes).toString(), '{"architecture":"amd64"}')
      }).pipe(Effect.provide(Embedded.layer({ root })))
    })
  )

  it.live("stays as it is, keys that we do not know included, whatever we write", () =>
    Effect.gen(function* () {
      const { entries, manifest, root } = yield* foreignLayout
      yield* Effect.gen(function* () {
        const images = yield* Images.Images
        const image = { name: "docker.io/library/app:v2", target: manifest, labels: {} }
        yield* images.create(image)
        yield* images.update({ ...image, labels: { a: "b" } })
        assert.deepStrictEqual(readIndex(root), {
          schemaVersion: 2,
          manifests: [
            ...entries,
            {
              ...manifest,
              annotations: {
                "io.containerd.image.name": image.name,
                [annotation]: "v2",
                "effect-containerd/labels": '{"a":"b"}'
              }
            }
          ],
          annotations: { "org.example": "index" },
          "x-index": { big: 1 }
        })
        yield* images.delete(image.name)
        yield* images.delete("multi")
        assert.deepInclude(readIndex(root), { manifests: [entries[0], entries[2]] })
      }).pipe(Effect.provide(Embedded.layer({ root })))
    })
  )

  it.live("is not collected: an image holds what its documents name, and what nobody names is kept for a day", () =>
    Effect.gen(function* () {
      const { garbage, layer, manifest, nested, other, root } = yield* foreignLayout
      const there = (blob: Descriptor.Descriptor) => existsSync(join(root, "blobs", ...blob.digest.split(":")))
      yield* Effect.gen(function* () {
        const store = yield* ContentStore.ContentStore
        for (const blob of [layer, manifest, nested, other]) yield* store.info(blob.digest)
        assert.deepStrictEqual((yield* Embedded.gc()).items, [])
        // Once it has a record it is like any other.
        yield* store.info(garbage.digest)
        const { bytes, items } = yield* Embedded.gc()
        assert.deepStrictEqual(items, [{ kind: "blob", id: garbage.digest, size: garbage.size }])
        assert.strictEqual(bytes, garbage.size)
        assert.isFalse(there(garbage))
        yield* (yield* Images.Images).delete("v1")
        yield* Embedded.gc()
        assert.deepStrictEqual([layer, manifest, nested, other].map(there), [false, false, true, true])
      }).pipe(Effect.provide(Embedded.layer({ root })))
    })
  )

  it.live("that is no index is refused, and not overwritten", () =>
    Effect.gen(function* () {
      const root = yield* Root.directory
      yield* open(root)
      writeFileSync(join(root, "index.json"), "{}")
      yield* Effect.gen(function* () {
        const images = yield* Images.Images
        const target = Descriptor.of(MediaType.ociManifest, randomBytes(5))
        for (const call of [
          images.list(),
          images.create({ name: "a", target, labels: {} }),
          images.delete("a"),
          Embedded.gc()
        ]) {
          assert.strictEqual(
            yield* reason(Effect.asVoid<unknown, ContainerdError.ContainerdError, Database>(call)),
            "FailedPrecondition"
          )
        }
      }).pipe(Effect.provide(Embedded.layer({ root })))
      assert.strictEqual(readFileSync(join(root, "index.json"), "utf8"), "{}")
    })
  )
})

describe("the reference that tools for layouts use", () => {
  const refNames = (names: ReadonlyArray<string>) =>
    Effect.gen(function* () {
      const root = yield* Root.directory
      const target = Descriptor.of(MediaType.ociManifest, randomBytes(5))
      const found: Array<string> = []
      yield* Effect.gen(function* () {
        const images = yield* Images.Images
        for (const name of names) yield* images.create({ name, target, labels: {} })
        const text = readFileSync(join(root, "index.json"), "utf8")
        found.push(...[...text.matchAll(/ref\.name":"([^"]+)"/g)].map(([, ref = ""]) => ref))
      }).pipe(Effect.provide(Embedded.layer({ root })))
      return found
    })

  it.live("is the tag, else the full name, else one of letters and digits; never one twice", () =>
    Effect.gen(function* () {
      const refs = yield* refNames([
        "docker.io/library/app:1",
        "docker.io/library/other:1",
        "docker.io/library/no-tag",
        `ghcr.io/a/b@sha256:${"0".repeat(64)}`,
        "docker.io/library/app:a__b",
        "free text ü"
      ])
      assert.deepStrictEqual(refs.slice(0, 4), [
        "1",
        "docker.io/library/other:1",
        "docker.io/library/no-tag",
        `ghcr.io/a/b@sha256:${"0".repeat(64)}`
      ])
      assert.match(refs[4] ?? "", /^docker-io-library-app-a-b-[0-9a-f]{12}$/)
      assert.match(refs[5] ?? "", /^free-text-[0-9a-f]{12}$/)
    })
  )
})

describe("the small services", () => {
  it.live("one namespace: calls in another are refused", () =>
    Effect.gen(function* () {
      const images = yield* Images.Images
      const namespaces = yield* Namespaces.Namespaces
      assert.strictEqual(yield* namespaces.current, "default")
      assert.deepStrictEqual(yield* namespaces.list, [{ name: "default", labels: {} }])
      const elsewhere = Effect.provideService(images.list(), Namespaces.CurrentNamespace, "k8s.io")
      assert.strictEqual(yield* reason(elsewhere), "Unimplemented")
      const here = Effect.provideService(images.list(), Namespaces.CurrentNamespace, "default")
      assert.deepStrictEqual(yield* here, [])
    }).pipe(Effect.provide(Root.layer))
  )

  it.live("no tasks: nothing runs, nothing can be paused, a resume is done already", () =>
    Effect.gen(function* () {
      const tasks = yield* Tasks.Tasks
      assert.deepStrictEqual(yield* tasks.get("c"), { status: "none", pid: 0 })
      assert.strictEqual(yield* reason(Effect.scoped(tasks.paused("c"))), "FailedPrecondition")
      yield* tasks.resume("c")
      assert.match(yield* (yield* Introspection.Introspection).version, /^embedded \(SQLite 3\./)
    }).pipe(Effect.provide(Root.layer))
  )

  it.live("a container record keeps its snapshot, and is found by filter", () =>
    Effect.gen(function* () {
      const containers = yield* Containers.Containers
      const all = yield* Snapshotter.Snapshotters
      assert.strictEqual(yield* all.defaultName, "directory")
      const snapshots = all.get("directory")
      const container = {
        id: "c",
        labels: { l: "1" },
        image: "docker.io/library/app:1",
        runtime: "none",
        snapshotter: "directory",
        snapshotKey: "key",
        spec: new Uint8Array([1, 2])
      }
      yield* Effect.gen(function* () {
        const active = yield* snapshots.prepare({ key: "key", parent: "" })
        yield* EmbeddedContainers.create(container)
        yield* active.handOver
      }).pipe(Effect.scoped, leased)
      assert.strictEqual(yield* reason(EmbeddedContainers.create(container)), "AlreadyExists")
      assert.deepStrictEqual(yield* containers.get("c"), container)
      const found = (filter: string) => Effect.map(Stream.runCollect(containers.list([filter])), (some) => some.length)
      assert.deepStrictEqual(
        [
          yield* found("image==docker.io/library/app:1"),
          yield* found("labels.l==2"),
          yield* found("runtime.name==none")
        ],
        [1, 0, 1]
      )
      yield* collect
      assert.strictEqual((yield* snapshots.stat("key")).kind, "active")
      yield* EmbeddedContainers.remove("c")
      assert.strictEqual(yield* reason(containers.get("c")), "NotFound")
      yield* collect
      assert.strictEqual(yield* reason(snapshots.stat("key")), "NotFound")
    }).pipe(Effect.provide(Root.layer))
  )
})
