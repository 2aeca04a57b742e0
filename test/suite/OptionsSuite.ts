/**
 * What the options of a commit do on every backend. Rules that need no container are tested where they are
 * (`test/commit`), what only a running one shows there, too. Every case ends with the inventory with which it began.
 */
import { linkSync, lstatSync, mkdirSync, readFileSync, rmSync, utimesSync } from "node:fs"
import { join } from "node:path"
import { assert, layer as withLayer } from "@effect/vitest"
import { Context, Effect, Layer, Option, Result } from "effect"
import {
  Change,
  Commit,
  type Containerd,
  ContentStore,
  type Descriptor,
  ImageConfig,
  Images,
  Index,
  MediaType,
  Platform,
  Timestamp
} from "effect-containerd"
import type { Decoded } from "../layer/Tars.ts"
import { collect, hasBlob, readAll, unique } from "./Cases.ts"
import * as Commits from "./Commits.ts"
import { commit, documentsOf, entriesOf, pathsOf, refusal, refusalTag, wholeImage } from "./Commits.ts"
import { isOther } from "./Differences.ts"
import { type Change as Files, file, listing } from "./Snapshots.ts"
import { differs, title } from "./Title.ts"

/** Images that no case changes, and that are unpacked already. */
class Bases extends Context.Service<
  Bases,
  {
    readonly oci: string
    readonly docker: string
    /** Of another platform, one that this host runs, too: `ctr` makes containers of no others. */
    readonly foreign: string
  }
>()("suite/Bases") {}

const foreignPlatform = process.arch === "arm64" ? "linux/arm/v7" : "linux/386"

const created = "2025-06-07T08:09:10.123456789Z"
const time = Result.getOrThrow(Timestamp.parse(created))
const createdSeconds = Timestamp.toUnix(time).seconds

/** What the bytes are, whatever anybody says of them. */
const compressionOf = (blob: Uint8Array): MediaType.Compression | "none of these" => {
  const start = Buffer.from(blob.subarray(0, 4)).toString("hex")
  if (start.startsWith("1f8b")) return "gzip"
  if (start === "28b52ffd") return "zstd"
  return Buffer.from(blob.subarray(257, 262)).toString() === "ustar" ? "uncompressed" : "none of these"
}

/** Whole seconds. */
const timeOf = ({ records, rest }: Decoded): number => {
  const precise = records.find((record) => record.startsWith("mtime="))
  if (precise !== undefined) return Math.floor(Number(precise.slice("mtime=".length)))
  return Number.parseInt(rest.slice(136, 147), 8)
}

const setTime = (path: string, seconds: number): Files => {
  return (dir) => utimesSync(join(dir, path), seconds, seconds)
}

const isWhiteout = (path: string) => /(^|\/)\.wh\./.test(path)

/** A file with three names, and things to leave out. */
const manyThings: Files = (dir) => {
  for (const path of ["cache/x", "logs/deep"]) mkdirSync(join(dir, path), { recursive: true })
  for (const path of ["cache/x/y", "cache/z.log", "logs/deep/one.log", "keep", "data/a"]) file(path, path)(dir)
  for (const path of ["data/b", "data/c"]) linkSync(join(dir, "data/a"), join(dir, path))
  rmSync(join(dir, "data/delete"))
}
const manyPaths = [
  ...["cache", "cache/x", "cache/x/y", "cache/z.log", "data", "data/.wh.delete", "data/a", "data/b", "data/c"],
  ...["keep", "logs", "logs/deep", "logs/deep/one.log"]
]

/** The name of an index that is not there yet, and goes with the scope. */
const newIndexName = Effect.acquireRelease(
  Effect.sync(() => `docker.io/suite/${unique("index")}:1`),
  Commits.deleteImage
)

const manifestsOf = Effect.fnUntraced(function* (name: string) {
  const { target } = yield* (yield* Images.Images).get(name)
  const index = yield* Effect.fromResult(Index.decode(yield* ContentStore.readBytes(target), target.mediaType))
  return index.value.manifests ?? []
})

const platformsOf = (manifests: ReadonlyArray<Descriptor.Descriptor>) =>
  manifests.map(({ platform }) => (platform === undefined ? "" : Platform.format(platform))).sort()

export const optionsSuite = <E, R>(
  name: string,
  layer: Layer.Layer<Containerd.Services | R, E>,
  traits: Commits.CommitTraits<R>
): void => {
  const { change, changedOf, clean, inventory, look, rebuilt, see, settled, tree } = Commits.makeCommits(traits)

  const makeBases = Effect.gen(function* () {
    const oci = yield* Commits.baseImage()
    const docker = (yield* Commits.dockerImage(oci)).name
    const foreign = yield* Commits.baseImage(foreignPlatform)
    for (const image of [oci, docker, foreign]) yield* Effect.scoped(traits.container(image))
    return { oci, docker, foreign }
  })
  const withBases = Layer.effect(Bases, makeBases).pipe(Layer.provideMerge(layer))

  /** A container of the base, after a change. */
  const changed = (f?: Files) => Effect.flatMap(Bases, ({ oci }) => changedOf(oci, f))

  /** The snapshot of the image holds what its layers say. */
  const snapshotIsLayers = Effect.fnUntraced(function* (committed: Commit.Committed) {
    const shown = yield* look(Commits.chainOf(committed), tree)
    assert.deepStrictEqual(yield* rebuilt(committed.image.name), shown)
    return shown
  })

  /** And these are what the container holds. */
  const holds = Effect.fnUntraced(function* (committed: Commit.Committed, id: string) {
    assert.deepStrictEqual(yield* snapshotIsLayers(committed), yield* see(id, tree))
  })

  withLayer(withBases, { excludeTestServices: true })(title("commit options", name), (it) => {
    const typesOf = (format: MediaType.Format, compression: MediaType.Compression) => [
      ...[MediaType.manifest(format), MediaType.config(format)],
      ...[MediaType.layer(format, "gzip"), MediaType.layer(format, compression)]
    ]

    /** Of one side, and the bytes are what the types say. */
    const hasForm = Effect.fnUntraced(function* (
      options: Commit.CommitOptions,
      format: MediaType.Format,
      compression: MediaType.Compression
    ) {
      const { image } = yield* commit({ ...options, format, compression })
      const { layers, manifest } = yield* wholeImage(image.name)
      const types = [image.target, manifest.config, ...layers].map(({ mediaType }) => mediaType)
      assert.deepStrictEqual(types, typesOf(format, compression))
      const blobs = yield* Effect.forEach(layers, (one) => readAll(one))
      assert.deepStrictEqual(blobs.map(compressionOf), ["gzip", compression])
    })

    for (const compression of ["gzip", "uncompressed"] as const) {
      it.effect(`format: OCI's and Docker's, of parents of either, with a layer that is ${compression}`, () =>
        Effect.gen(function* () {
          const { docker, oci } = yield* Bases
          for (const parent of [oci, docker]) {
            const options = { container: yield* changedOf(parent), name: unique("app") }
            for (const format of ["oci", "docker"] as const) yield* hasForm(options, format, compression)
          }
        }).pipe(clean)
      )
    }

    it.effect(`format: with a layer that is zstd only OCI's, of parents of either${differs("zstdIsWritten")}`, () =>
      Effect.gen(function* () {
        const { docker, oci } = yield* Bases
        for (const parent of [oci, docker]) {
          const options = { container: yield* changedOf(parent), name: unique("app") }
          const zstd = { ...options, compression: "zstd" } as const
          const { message, reason } = yield* refusal({ ...zstd, format: "docker" })
          assert.deepInclude(reason, { _tag: "InvalidOption", option: "compression" })
          assert.include(message, "give the compression gzip")
          if (!isOther("zstdIsWritten", traits)) yield* hasForm(options, "oci", "zstd")
          else assert.strictEqual(yield* refusalTag({ ...zstd, format: "oci" }), "UnsupportedCompression")
        }
      }).pipe(clean)
    )

    it.effect("compressionLevel: other bytes of the same layer, the same ones each time", () =>
      Effect.gen(function* () {
        const text = Array.from({ length: 30_000 }, (_, i) => String((i * 7919) % 10_007)).join(" ")
        const container = yield* changed(file("text", text))
        const layerAt = (compressionLevel: number) =>
          Effect.map(commit({ container, name: unique("app"), compressionLevel }), (committed) =>
            Option.getOrThrow(committed.layer)
          )
        const [fast, best] = [yield* layerAt(1), yield* layerAt(9)]
        assert.strictEqual(fast.diffId, best.diffId)
        assert.notStrictEqual(best.descriptor.size, fast.descriptor.size)
        assert.deepStrictEqual(yield* layerAt(9), best)
      }).pipe(clean)
    )

    it.effect("name: several records of one image, each with the labels; `replaced` is what each stood for", () =>
      Effect.gen(function* () {
        const images = yield* Images.Images
        const container = yield* changed()
        const [a, b, c] = [unique("a"), unique("b"), unique("c")]
        const full = (one: string) => `docker.io/library/${one}:latest`
        const first = yield* commit({ container, name: [a, b, a] })
        assert.deepStrictEqual(
          first.images.map((one) => one.name),
          [full(a), full(b)]
        )
        yield* change(container, file("second", "2"))
        const labels = { "suite/l": "1" }
        const second = yield* commit({ container, name: [b, c, a], labels })
        assert.deepStrictEqual(second.replaced, first.images.toReversed())
        for (const one of [a, b, c]) {
          assert.deepStrictEqual(yield* images.get(full(one)), { name: full(one), target: second.image.target, labels })
        }
      }).pipe(clean)
    )

    it.effect(
      "createdBy, and history: kept, or left out with the parent's; buildah created-by, history.bats, umoci history flags",
      () =>
        Effect.gen(function* () {
          const { oci } = yield* Bases
          const container = yield* changed()
          const parent = ImageConfig.history((yield* documentsOf(oci)).config)
          const options = { container, created, createdBy: "the suite" }
          const kept = yield* commit({ ...options, name: unique("app"), history: "keep" })
          assert.deepStrictEqual(ImageConfig.history((yield* documentsOf(kept.image.name)).config), [
            ...parent,
            { created: time, created_by: "the suite" }
          ])
          const omitted = yield* commit({ ...options, name: unique("app"), history: "omit" })
          assert.notProperty((yield* wholeImage(omitted.image.name)).config, "history")
        }).pipe(clean)
    )

    it.effect("annotations: of this manifest only, and only where there is a place for them", () =>
      Effect.gen(function* () {
        const { docker } = yield* Bases
        const annotations = { "org.example.a": "é" }
        const { image } = yield* commit({ container: yield* changed(), name: unique("app"), annotations })
        assert.deepStrictEqual((yield* documentsOf(image.name)).manifest.annotations, annotations)
        const child = yield* commit({ container: yield* changedOf(image.name, file("f", "f")), name: unique("app") })
        assert.notProperty((yield* documentsOf(child.image.name)).manifest, "annotations")
        const ofDocker = { container: yield* changedOf(docker), name: unique("app"), annotations }
        const { message, reason } = yield* refusal(ofDocker)
        assert.deepInclude(reason, { _tag: "InvalidOption", option: "annotations" })
        assert.include(message, "give the format oci")
        const asOci = yield* commit({ ...ofDocker, format: "oci" })
        assert.deepStrictEqual((yield* documentsOf(asOci.image.name)).manifest.annotations, annotations)
      }).pipe(clean)
    )

    it.effect(
      "created and rewriteTimestamp: neither layer nor snapshot is younger, and what is older stays; buildah timestamps, umoci source_date_epoch.bats",
      () =>
        Effect.gen(function* () {
          const [old, young] = [1_000_000_000, 2_000_000_000]
          const container = yield* changed((dir) => {
            Commits.someChange(dir)
            for (const path of ["old", "young"]) file(path, path)(dir)
            linkSync(join(dir, "young"), join(dir, "data/dir/new/young"))
            setTime("old", old)(dir)
            setTime("young", young)(dir)
          })
          const options = { container, name: unique("app"), created, rewriteTimestamp: true }
          const committed = yield* commit(options)
          const entries = yield* entriesOf(committed)
          const times = new Map(entries.map((entry) => [entry.path, timeOf(entry)]))
          assert.isAtMost(Math.max(...times.values()), createdSeconds)
          assert.deepStrictEqual([times.get("old"), times.get("young")], [old, createdSeconds])
          // The native snapshotter gives the directories of its copies the time of the copy.
          const files = entries.filter(({ path, type }) => type !== "5" && !isWhiteout(path)).map(({ path }) => path)
          const seconds = (dir: string) =>
            files.map((path) => [path, Math.floor(lstatSync(join(dir, path)).mtimeMs / 1000)] as const)
          const shown = yield* look(Commits.chainOf(committed), seconds)
          assert.deepStrictEqual(
            shown,
            files.map((path) => [path, times.get(path) ?? -1] as const)
          )
          yield* snapshotIsLayers(committed)
          assert.deepStrictEqual((yield* commit(options)).image.target, committed.image.target)
          const asItIs = yield* commit({ ...options, name: unique("app"), rewriteTimestamp: false })
          assert.include((yield* entriesOf(asItIs)).map(timeOf), young)
        }).pipe(clean)
    )

    /** A container of a committed image, in which things of that layer and of the base are gone. */
    const second = Effect.gen(function* () {
      const first = yield* commit({ container: yield* changed(), name: unique("first") })
      const id = yield* changedOf(first.image.name, (dir) => {
        for (const path of ["data/link", "data/dir/new/file", "data/change"]) rmSync(join(dir, path))
        file("top", "top")(dir)
      })
      return { id, first }
    })

    it.effect(
      "squash: one layer holds the whole tree, and every other step of the history is an empty one; podman and buildah --squash",
      () =>
        Effect.gen(function* () {
          const { first, id } = yield* second
          const committed = yield* commit({ container: id, name: unique("app"), squash: true })
          const { config, layers } = yield* wholeImage(committed.image.name)
          assert.deepStrictEqual(layers, [Option.getOrThrow(committed.layer).descriptor])
          const paths = yield* pathsOf(committed)
          assert.deepStrictEqual(paths, Object.keys(yield* see(id, listing)).sort())
          yield* holds(committed, id)
          const parent = ImageConfig.history((yield* documentsOf(first.image.name)).config)
          const steps = ImageConfig.history(config)
          assert.deepStrictEqual(
            steps.slice(0, -1),
            parent.map((step) => ({ ...step, empty_layer: true }))
          )
          assert.notProperty(steps.at(-1), "empty_layer")
        }).pipe(clean)
    )

    it.effect("squash 1: the last layer and the new one are one, without what the first of them had added", () =>
      Effect.gen(function* () {
        const { oci } = yield* Bases
        const { id } = yield* second
        const committed = yield* commit({ container: id, name: unique("app"), squash: 1 })
        const { config, layers } = yield* wholeImage(committed.image.name)
        assert.deepStrictEqual(layers.slice(0, -1), (yield* documentsOf(oci)).layers)
        assert.lengthOf(layers, 2)
        assert.deepStrictEqual(
          ImageConfig.history(config).map(({ empty_layer }) => empty_layer === true),
          [false, true, false]
        )
        // The base has these two, and no link.
        const deleted = (yield* pathsOf(committed)).filter((path) => /\.wh\.[^.]/.test(path))
        assert.includeMembers(deleted, ["data/.wh.change", "data/.wh.delete"])
        assert.notInclude(deleted, "data/.wh.link")
        yield* holds(committed, id)
      }).pipe(clean)
    )

    /** One life of a container: it is made of the image, changed, committed and removed. */
    const life = (container: string, image: string, f: Files, options: Partial<Commit.CommitOptions>) =>
      Effect.gen(function* () {
        const id = yield* changedOf(image, f, container)
        const committed = yield* Commit.commit({ container: id, ...options })
        const held = yield* see(id, tree)
        assert.deepStrictEqual(yield* look(Commits.chainOf(committed), tree), held)
        return { committed, held }
      }).pipe(Effect.scoped)

    it.effect("replaceTop: a container that is committed and made anew, again and again, keeps one layer", () =>
      Effect.gen(function* () {
        const { oci } = yield* Bases
        const base = yield* documentsOf(oci)
        const container = unique("container")
        const saved = yield* Effect.acquireRelease(
          Effect.sync(() => `localhost/${unique("saved")}:1`),
          Commits.deleteImage
        )
        const options = { name: saved, replaceTop: true }
        for (const round of [1, 2, 3, 4, 5]) {
          const f: Files = (dir) => {
            file(`round-${round}`, unique("round"))(dir)
            if (round === 1) for (const path of ["data/passing", "data/stays"]) file(path, path)(dir)
            if (round === 2) rmSync(join(dir, "data/passing"))
          }
          const made = yield* life(container, round === 1 ? oci : saved, f, options)
          if (round === 5) assert.deepStrictEqual(yield* rebuilt(saved), made.held)
          const { config, layers } = yield* wholeImage(saved)
          assert.deepStrictEqual(layers.slice(0, -1), base.layers)
          assert.lengthOf(layers, base.layers.length + 1)
          assert.lengthOf(ImageConfig.history(config), ImageConfig.history(base.config).length + 1)
          const rounds = Array.from({ length: round }, (_, i) => `round-${i + 1}`)
          assert.deepStrictEqual(yield* pathsOf(made.committed), [
            ...["data", ...(round === 1 ? ["data/passing"] : []), "data/stays"],
            ...rounds
          ])
        }
        const others = [
          { container: unique("other"), options },
          { container, options: { name: saved } }
        ]
        for (const [i, other] of others.entries()) {
          yield* life(other.container, saved, file(`other-${i}`, "o"), other.options)
          assert.lengthOf((yield* wholeImage(saved)).layers, base.layers.length + 2 + i)
        }
      }).pipe(clean)
    )

    it.effect("maxLayers and maxSize: more is refused before anything is made, and the message says what to do", () =>
      Effect.gen(function* () {
        const container = yield* changed(file("big", "x".repeat(100_000)))
        const before = yield* settled
        const tooMany = yield* refusal({ container, name: unique("app"), maxLayers: 1 })
        assert.strictEqual(tooMany.reason._tag, "TooManyLayers")
        assert.match(tooMany.message, /would have 2 layers, and at most 1 are allowed: squash them, .* or allow more$/)
        const tooLarge = yield* refusal({ container, name: unique("app"), maxSize: 99_999 })
        assert.strictEqual(tooLarge.reason._tag, "TooLarge")
        const [, written = ""] = /written (\d+) bytes, and at most 99999 .*: remove .*, or allow more$/.exec(
          tooLarge.message
        ) ?? [tooLarge.message]
        const size = Number(written)
        assert.isAtLeast(size, 100_000)
        assert.strictEqual(yield* refusalTag({ container, name: unique("app"), maxSize: size - 1 }), "TooLarge")
        assert.deepStrictEqual(yield* inventory, before)
        const { image } = yield* commit({ container, name: unique("app"), maxLayers: 2, maxSize: size })
        yield* wholeImage(image.name)
      }).pipe(clean)
    )

    /** The names that are left, where the snapshot holds what the layer says. */
    const leftBy = Effect.fnUntraced(function* (container: string, options: Partial<Commit.CommitOptions>) {
      const committed = yield* commit({ container, name: unique("app"), ...options })
      yield* wholeImage(committed.image.name)
      return { paths: yield* pathsOf(committed), shown: yield* snapshotIsLayers(committed), committed }
    })

    const without = (gone: RegExp) => manyPaths.filter((path) => !gone.test(path))

    it.effect("exclude: files, directories with all that is below, globs, and deletions", () =>
      Effect.gen(function* () {
        const container = yield* changed(manyThings)
        const left = (...exclude: ReadonlyArray<string>) =>
          Effect.map(leftBy(container, { exclude }), ({ paths }) => paths)
        assert.deepStrictEqual(yield* left("nothing"), manyPaths)
        assert.deepStrictEqual(yield* left("/keep", "cache/"), without(/^(keep|cache.*)$/))
        assert.deepStrictEqual(yield* left("**/*.log", "cache/*/y"), without(/\.log$|^cache\/x\/y$/))
        const { paths, shown } = yield* leftBy(container, { exclude: ["data/del*"] })
        assert.deepStrictEqual(paths, without(/delete/))
        // The base's file is there again.
        assert.property(shown, "/data/delete")
      }).pipe(clean)
    )

    it.effect("exclude: of a file with several names the content stays under the next one", () =>
      Effect.gen(function* () {
        const container = yield* changed(manyThings)
        const { committed, paths } = yield* leftBy(container, { exclude: ["data/a"] })
        assert.deepStrictEqual(paths, without(/^data\/a$/))
        const chainId = Commits.chainOf(committed)
        const contents = yield* look(chainId, (dir) =>
          ["b", "c"].map((one) => readFileSync(join(dir, "data", one), "utf8"))
        )
        assert.deepStrictEqual(contents, ["data/a", "data/a"])
        const [b, c] = yield* look(chainId, (dir) => ["b", "c"].map((one) => lstatSync(join(dir, "data", one)).ino))
        assert.strictEqual(b, c)
      }).pipe(clean)
    )

    it.effect("exclude: that next name may be in a directory that is new in the place of a file", () =>
      Effect.gen(function* () {
        const container = yield* changed((dir) => {
          rmSync(join(dir, "data/delete"))
          mkdirSync(join(dir, "data/delete"))
          file("data/a", "a")(dir)
          linkSync(join(dir, "data/a"), join(dir, "data/delete/b"))
        })
        const { committed, paths } = yield* leftBy(container, { exclude: ["data/a"] })
        assert.includeMembers([...paths], ["data/delete", "data/delete/b"])
        assert.propertyVal(yield* look(Commits.chainOf(committed), listing), "data/delete/b", "a")
      }).pipe(clean)
    )

    it.effect("include: what matches and the directories that lead there, less what is excluded", () =>
      Effect.gen(function* () {
        const container = yield* changed(manyThings)
        const left = (include: ReadonlyArray<string>, exclude: ReadonlyArray<string> = []) =>
          Effect.map(leftBy(container, { include, exclude }), ({ paths }) => paths)
        assert.deepStrictEqual(yield* left(["logs", "data/delete"]), [
          ...["data", "data/.wh.delete", "logs", "logs/deep", "logs/deep/one.log"]
        ])
        assert.deepStrictEqual(yield* left(["**/*.log"], ["logs"]), ["cache", "cache/z.log"])
      }).pipe(clean)
    )

    it.effect("exclude, include: no layer where nothing is left of it", () =>
      Effect.gen(function* () {
        const { oci } = yield* Bases
        const container = yield* changed(manyThings)
        for (const options of [{ exclude: ["**"] }, { include: ["no/such/file"] }]) {
          const { committed } = yield* leftBy(container, options)
          assert.deepStrictEqual(committed.layer, Option.none())
          const { config, layers } = yield* documentsOf(committed.image.name)
          assert.deepStrictEqual(layers, (yield* documentsOf(oci)).layers)
          assert.isTrue(ImageConfig.history(config).at(-1)?.empty_layer)
        }
      }).pipe(clean)
    )

    it.effect(`stubs: empty files and directories where something is mounted${differs("nothingIsMounted")}`, () =>
      Effect.gen(function* () {
        const container = yield* changed((dir) => {
          for (const path of [".dockerenv", "etc/other"]) file(path, "")(dir)
          for (const path of ["proc", "sys/own"]) mkdirSync(join(dir, path), { recursive: true })
        })
        const all = [".dockerenv", "etc", "etc/other", "proc", "sys", "sys/own"]
        assert.deepStrictEqual((yield* leftBy(container, { stubs: "keep" })).paths, all)
        const { paths } = yield* leftBy(container, {})
        const isLeftOut = isOther("nothingIsMounted", traits)
        assert.deepStrictEqual(paths, isLeftOut ? ["etc", "etc/other", "sys", "sys/own"] : all)
      }).pipe(clean)
    )

    it.effect("manifest: a new index, an entry for each platform, the last one of each, which keeps its image", () =>
      Effect.gen(function* () {
        const { foreign } = yield* Bases
        const manifest = yield* newIndexName
        const container = yield* changed()
        const first = yield* commit({ container, manifest })
        assert.deepStrictEqual(first.index, Option.some(yield* (yield* Images.Images).get(manifest)))
        const { config } = yield* documentsOf(first.image.name)
        const platform = ImageConfig.platform(config)
        assert.deepStrictEqual(yield* manifestsOf(manifest), [{ ...first.image.target, platform }])

        const other = yield* commit({ container: yield* changedOf(foreign), manifest })
        yield* change(container, file("second", unique("second")))
        const last = yield* commit({ container, manifest })
        const entries = yield* manifestsOf(manifest)
        assert.deepStrictEqual(platformsOf(entries), [Platform.format(platform), foreignPlatform].sort())
        assert.deepStrictEqual(
          entries.map(({ digest }) => digest),
          [other.image.target.digest, last.image.target.digest]
        )
        // An index is all that refers to them.
        for (const { image } of [first, other, last]) yield* Commits.deleteImage(image.name)
        yield* collect
        for (const entry of entries) yield* Commits.wholeManifest(entry)
        assert.isFalse(yield* hasBlob(first.image.target))
      }).pipe(clean)
    )

    it.effect("manifest: two commits at once are both in the index", () =>
      Effect.gen(function* () {
        const { foreign, oci } = yield* Bases
        const manifest = yield* newIndexName
        const containers = [yield* changedOf(oci), yield* changedOf(foreign)]
        const committed = yield* Effect.forEach(containers, (container) => commit({ container, manifest }), {
          concurrency: "unbounded"
        })
        const entries = yield* manifestsOf(manifest)
        assert.sameMembers(
          entries.map(({ digest }) => digest),
          committed.map(({ image }) => image.target.digest)
        )
        assert.lengthOf(entries, 2)
      }).pipe(clean)
    )

    it.effect("manifest: an image is no index, and is left alone", () =>
      Effect.gen(function* () {
        const { oci } = yield* Bases
        const container = yield* changed()
        const before = yield* settled
        const error = yield* refusal({ container, name: unique("app"), manifest: oci })
        assert.deepInclude(error.reason, { _tag: "InvalidOption", option: "manifest" })
        assert.include(error.message, `${oci} is a single image, to which none can be added: give another name`)
        assert.deepStrictEqual(yield* inventory, before)
      }).pipe(clean)
    )

    const configOf = (options: Commit.CommitOptions) =>
      Effect.flatMap(commit(options), ({ image }) => Effect.map(documentsOf(image.name), ({ config }) => config.config))

    it.effect("changes: one after the other, on what the parent runs; a malformed one is refused with its place", () =>
      Effect.gen(function* () {
        const container = yield* changed()
        const changes = ["ENV B=$A\nWORKDIR /w", Change.unsetLabel("l"), Change.cmd(["run"])]
        assert.deepStrictEqual(yield* configOf({ container, name: unique("app"), changes }), {
          Env: ["A=1", "B=1"],
          Cmd: ["run"],
          WorkingDir: "/w"
        })
        const before = yield* settled
        const error = yield* refusal({ container, name: unique("app"), changes: ["USER u\nEXPOSE 80 90/x"] })
        assert.deepInclude(error.reason, { _tag: "InvalidOption", option: "changes" })
        assert.strictEqual(error.step, "options")
        assert.include(error.message, "(line 2, column 11): EXPOSE")
        assert.deepStrictEqual(yield* inventory, before)
      }).pipe(clean)
    )

    it.effect(
      "config: filled from the container's, from its image's or its spec's, or from nothing; podman --config",
      () =>
        Effect.gen(function* () {
          const container = yield* changed()
          const config = { Env: ["B=2"], User: "u" }
          const of = (options: Partial<Commit.CommitOptions>) =>
            configOf({ container, name: unique("app"), ...options })
          const [Cmd, Labels] = [["sleep", "1"], { l: "1" }]
          assert.deepStrictEqual<unknown>(yield* of({ config }), { ...config, Env: ["B=2", "A=1"], Cmd, Labels })
          const containerConfig = { Cmd: ["theirs"], WorkingDir: "/theirs" }
          assert.deepStrictEqual<unknown>(yield* of({ config, containerConfig }), { ...config, ...containerConfig })
          assert.deepStrictEqual<unknown>(yield* of({ config, mergeConfig: false }), config)
          const changes = ["CMD []", "USER w"]
          assert.deepStrictEqual<unknown>(yield* of({ config, changes }), { Env: ["B=2", "A=1"], Labels, User: "w" })
          assert.deepStrictEqual<unknown>(yield* of({ config, changes, mergeConfig: false }), { ...config, User: "w" })
          const fromSpec = yield* of({ configFrom: "container" })
          assert.deepInclude(fromSpec, { Cmd, Labels, WorkingDir: "/" })
          assert.include(fromSpec?.Env ?? [], "A=1")
          // The image says nothing of a directory.
          assert.notProperty(yield* of({ configFrom: "image" }), "WorkingDir")
        }).pipe(clean)
    )
  })
}
