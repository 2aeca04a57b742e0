/**
 * What every differ promises: a layer holds the change and nothing else, and applied to what the change began with it
 * gives what it ended with (OCI image spec, layer.md; the cases of containerd's `archive` and `continuity/fs/fstest`
 * tests, as far as our interface can ask for them).
 */
import { execFileSync } from "node:child_process"
import {
  chmodSync,
  existsSync,
  lchownSync,
  linkSync,
  lstatSync,
  mkdirSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync
} from "node:fs"
import { join } from "node:path"
import { gunzipSync, gzipSync, zstdCompressSync, zstdDecompressSync } from "node:zlib"
import { assert, layer as withLayer } from "@effect/vitest"
import { Effect, Fiber, type Layer, Schedule, Stream } from "effect"
import {
  ContentStore,
  type Descriptor,
  Differ,
  Digest,
  Leases,
  MediaType,
  type Mount,
  Layer as OciLayer,
  type Snapshotter
} from "effect-containerd"
import * as TarRewrite from "../../src/layer/TarRewrite.ts"
import * as Whiteout from "../../src/layer/Whiteout.ts"
import * as Tars from "../layer/Tars.ts"
import * as Trees from "../layer/Trees.ts"
import { collect, hasBlob, leased, leasedAs, randomBytes, readAll, reason, unique, write } from "./Cases.ts"
import { isOther, type Key } from "./Differences.ts"
import { type Change, file, listing, makeSnapshots, type SnapshotTraits, treeOf } from "./Snapshots.ts"
import { differs, title } from "./Title.ts"

const { bytes, end } = Tars
const { directory, hardLink, regular, symlink, whiteout } = Trees

const { ociLayer, ociLayerGzip, ociLayerZstd } = MediaType

const tar = (...entries: ReadonlyArray<Uint8Array>): Buffer => bytes(...entries, end)

/** What the changes begin with. */
const lower: Change = (dir) => {
  mkdirSync(join(dir, "d/sub"), { recursive: true })
  mkdirSync(join(dir, "e"))
  for (const path of ["d/1", "d/sub/2", "e/1", "e/2", "f", "g", "gone"]) file(path, path)(dir)
  linkSync(join(dir, "f"), join(dir, "f2"))
  symlinkSync("d", join(dir, "link"))
}

const remove = (dir: string, ...paths: ReadonlyArray<string>) => {
  for (const path of paths) rmSync(join(dir, path), { recursive: true })
}

/** Names of any bytes but `/` and NUL. */
const oddNames: Change = (dir) => {
  for (const name of [
    " ",
    "-rf",
    "ünïcödé 文件",
    "a\nb",
    "a\\b",
    "\\xff",
    "*",
    '"',
    "%s",
    "n".repeat(255),
    ".wh",
    ".whx"
  ]) {
    file(name, name)(dir)
    mkdirSync(join(dir, "d", name))
  }
  Trees.place(dir, regular(Buffer.from([0x66, 0xff, 0xfe, 0x01]), "bytes"))
}

const longPath: Change = (dir) => {
  const path = Array.from({ length: 5 }, (_, i) => String(i).repeat(100)).join("/")
  mkdirSync(join(dir, path), { recursive: true })
  file(`${path}/f`, "deep")(dir)
  symlinkSync(path, join(dir, "to"))
}

const replaced: Change = (dir) => {
  remove(dir, "f", "d", "link")
  mkdirSync(join(dir, "f"))
  file("f/in", "in")(dir)
  file("d", "a file")(dir)
  mkdirSync(join(dir, "link"))
}

const changes: ReadonlyArray<readonly [string, Change]> = [
  [
    "a new file, also an empty one and one in a new directory",
    (dir) => {
      mkdirSync(join(dir, "new/er"), { recursive: true })
      for (const path of ["new/er/file", "d/file"]) file(path, path)(dir)
      file("empty", "")(dir)
    }
  ],
  [
    "other content, also of the same size",
    (dir) => {
      file("d/1", "longer than before")(dir)
      file("g", "G")(dir)
    }
  ],
  ["the removal of files and directories", (dir) => remove(dir, "gone", "d/1", "e")],
  [
    "modes, those above 0777, too",
    (dir) => {
      chmodSync(join(dir, "f"), 0o400)
      chmodSync(join(dir, "g"), 0o4755)
      chmodSync(join(dir, "d"), 0o1777)
    }
  ],
  [
    "symlinks: new, to nowhere, to somewhere else",
    (dir) => {
      remove(dir, "link")
      symlinkSync("e", join(dir, "link"))
      symlinkSync("../../nowhere", join(dir, "d/nowhere"))
      symlinkSync("/d/1", join(dir, "absolute"))
    }
  ],
  [
    "hard links: of new files, and one more of an old one",
    (dir) => {
      file("d/one", "linked")(dir)
      linkSync(join(dir, "d/one"), join(dir, "two"))
      linkSync(join(dir, "f"), join(dir, "e/f3"))
    }
  ],
  ["a change through one of two hard links", file("f2", "both")],
  ["another type in the place of a file, a directory, a symlink", replaced],
  ["an empty directory", (dir) => mkdirSync(join(dir, "d/empty"))],
  [
    "a directory that was removed and made again shows nothing old",
    (dir) => {
      remove(dir, "d")
      mkdirSync(join(dir, "d/sub"), { recursive: true })
      file("d/sub/other", "new")(dir)
    }
  ],
  ["names of any bytes", oddNames],
  ["paths that no plain tar header can hold", longPath],
  ["FIFOs", (dir) => void execFileSync("mkfifo", [join(dir, "fifo")])],
  [
    "times: the first second, and beyond 2038",
    (dir) => {
      utimesSync(join(dir, "f"), 0, 0)
      utimesSync(join(dir, "g"), 2_500_000_000, 2_500_000_000)
    }
  ]
]

const changesOfRoot: ReadonlyArray<readonly [string, Change]> = [
  [
    "owners, of links, too",
    (dir) => {
      lchownSync(join(dir, "g"), 1234, 5678)
      lchownSync(join(dir, "d"), 70_000, 3_000_000)
      lchownSync(join(dir, "link"), 1, 2)
    }
  ],
  [
    "devices",
    (dir) => {
      execFileSync("mknod", [join(dir, "char"), "c", "1", "3"])
      execFileSync("mknod", [join(dir, "d/block"), "b", "300", "7"])
    }
  ],
  [
    "capabilities",
    (dir) => {
      Trees.place(dir, withXattr("security.capability", Tars.capabilities[2], regular("g", "new")))
      assert.include(treeOf(dir)["/g"]?.xattrs, "security.capability")
    }
  ]
]

const withXattr = (name: string, value: Uint8Array | string, entry: Uint8Array) =>
  Trees.withPax({ [`SCHILY.xattr.${name}`]: value }, entry)

const whiteoutTimes = (layer: Uint8Array) =>
  Tars.decode(layer)
    .filter(({ path }) => Whiteout.is(Buffer.from(path, "latin1")))
    .map(({ rest }) => Number.parseInt(rest.slice(136, 147), 8))

const withoutTimes = (layer: Uint8Array) => Tars.run(TarRewrite.rewrite(Whiteout.timeless), layer)

const decompressed = (mediaType: string, blob: Uint8Array): Uint8Array => {
  if (mediaType === ociLayer) return blob
  return mediaType === ociLayerGzip ? gunzipSync(blob) : zstdDecompressSync(blob)
}

export const differSuite = <E>(
  name: string,
  layer: Layer.Layer<ContentStore.ContentStore | Differ.Differ | Leases.Leases | Snapshotter.Snapshotters, E>,
  traits: SnapshotTraits
): void => {
  const { root } = traits
  const { commit, look, snapshots, tree, within } = makeSnapshots(traits)
  const other = (key: Key) => isOther(key, traits)

  /** A child of the parent after the change, not committed, and its difference. */
  const changed = (parent: string, change: Change) =>
    Effect.gen(function* () {
      const { prepare, view } = yield* snapshots
      const upper = yield* prepare({ key: unique("upper"), parent })
      yield* within(upper.mounts, change)
      const base = yield* view({ key: unique("lower"), parent })
      return { lower: base.mounts, upper: upper.mounts }
    })

  const diff = (
    of: { readonly lower: ReadonlyArray<Mount.Mount>; readonly upper: ReadonlyArray<Mount.Mount> },
    mediaType = ociLayer
  ) =>
    Effect.flatMap(Differ.Differ, (differ) =>
      Effect.map(differ.diff({ ...of, mediaType }), ({ descriptor }) => descriptor)
    )

  const layerOf = (parent: string, change: Change) => Effect.scoped(Effect.flatMap(changed(parent, change), diff))

  /** What a new child of the parent shows after the layers, and what the differ said of them. */
  const applied = <A>(parent: string, layers: ReadonlyArray<Descriptor.Descriptor>, see: (dir: string) => A) =>
    Effect.gen(function* () {
      const differ = yield* Differ.Differ
      const target = yield* (yield* snapshots).prepare({ key: unique("target"), parent })
      const said = yield* Effect.forEach(layers, (one) => differ.apply(one, target.mounts))
      return { said, seen: yield* within(target.mounts, see) }
    }).pipe(Effect.scoped)

  /** What is there after tars that somebody else wrote, one for each layer. */
  const extracted = <A>(parent: string, see: (dir: string) => A, ...tars: ReadonlyArray<Uint8Array>) =>
    Effect.gen(function* () {
      const layers = yield* Effect.forEach(tars, (one) => write(one, { mediaType: ociLayer }))
      return (yield* applied(parent, layers, see)).seen
    })

  const refused = (...entries: ReadonlyArray<Uint8Array>) =>
    Effect.gen(function* () {
      const blob = yield* write(tar(...entries), { mediaType: ociLayer })
      return yield* reason(applied("", [blob], listing))
    }).pipe(leased)

  withLayer(layer, { excludeTestServices: true })(title("differ", name), (it) => {
    const roundTrip = ([, change]: readonly [string, Change]) =>
      Effect.gen(function* () {
        const base = yield* commit("", lower)
        const both = yield* changed(base, change)
        const upper = yield* within(both.upper, tree)
        assert.deepStrictEqual((yield* applied(base, [yield* diff(both)], tree)).seen, upper)
      }).pipe(Effect.scoped, leased)

    it.effect.each(changes)("comes through: %s", roundTrip)
    for (const kind of changesOfRoot) it.effect.runIf(root)(`comes through: ${kind[0]}`, () => roundTrip(kind))

    it.effect("a diff changes neither side", () =>
      Effect.gen(function* () {
        const both = yield* changed(yield* commit("", lower), replaced)
        const sides = Effect.all([within(both.lower, treeOf), within(both.upper, treeOf)])
        const before = yield* sides
        yield* diff(both)
        assert.deepStrictEqual(yield* sides, before)
      }).pipe(Effect.scoped, leased)
    )

    it.effect("without a lower, the layer is the whole tree", () =>
      Effect.gen(function* () {
        const both = yield* changed("", lower)
        const upper = yield* within(both.upper, tree)
        assert.deepStrictEqual((yield* applied("", [yield* diff(both)], tree)).seen, upper)
        assert.deepStrictEqual((yield* applied("", [yield* diff({ ...both, lower: [] })], tree)).seen, upper)
      }).pipe(Effect.scoped, leased)
    )

    it.effect("the difference of two committed snapshots, through views", () =>
      Effect.gen(function* () {
        const { view } = yield* snapshots
        const base = yield* commit("", lower)
        const top = yield* commit(base, replaced)
        const [from, to] = [
          yield* view({ key: unique("v"), parent: base }),
          yield* view({ key: unique("v"), parent: top })
        ]
        const blob = yield* diff({ lower: from.mounts, upper: to.mounts })
        assert.deepStrictEqual((yield* applied(base, [blob], listing)).seen, yield* look(top, listing))
      }).pipe(Effect.scoped, leased)
    )

    it.effect("a layer names what changed, with the directories that lead there, and nothing else", () =>
      Effect.gen(function* () {
        const base = yield* commit("", lower)
        const blob = yield* layerOf(base, (dir) => {
          file("d/sub/new", "new")(dir)
          remove(dir, "e/1")
        })
        const names = Tars.decode(yield* readAll(blob)).map(({ path }) => path)
        assert.deepStrictEqual(
          names.filter((path) => path !== "./"),
          ["d/", "d/sub/", "d/sub/new", "e/", "e/.wh.1"]
        )
      }).pipe(leased)
    )

    const written = (mediaType: string, base: string, both: Parameters<typeof diff>[0]) =>
      Effect.gen(function* () {
        const blob = yield* diff(both, mediaType)
        const stored = yield* readAll(blob)
        assert.deepStrictEqual({ ...blob }, { mediaType, digest: Digest.fromBytes(stored), size: stored.length })
        const diffId = Digest.fromBytes(decompressed(mediaType, stored))
        const { labels } = yield* (yield* ContentStore.ContentStore).info(blob.digest)
        assert.deepStrictEqual(labels, mediaType === ociLayer ? {} : { [OciLayer.uncompressedLabel]: diffId })
        assert.strictEqual((yield* applied(base, [blob], listing)).said[0]?.digest, diffId)
      })

    const mediaTypes = [
      ["tar", ociLayer, ""],
      ["gzip", ociLayerGzip, ""],
      ["zstd", ociLayerZstd, differs("zstdIsWritten")]
    ] as const
    for (const [what, mediaType, difference] of mediaTypes) {
      it.effect(`a layer is written as ${what}, says what it is, and with its label what is in it${difference}`, () =>
        Effect.gen(function* () {
          const base = yield* commit("", lower)
          const both = yield* changed(base, file("new", "x".repeat(100_000)))
          const possible = what !== "zstd" || !other("zstdIsWritten")
          assert.strictEqual(yield* (yield* Differ.Differ).supports(mediaType), possible)
          if (possible) yield* written(mediaType, base, both)
          else assert.strictEqual(yield* reason(diff(both, mediaType)), "Unimplemented")
        }).pipe(Effect.scoped, leased)
      )
    }

    const unknown = ["application/x", MediaType.dockerLayerGzip, `${ociLayerGzip}x`]
    it.effect.each(unknown)("layers are not written as %s: Unimplemented, and nothing is left", (mediaType) =>
      Effect.gen(function* () {
        const { supports } = yield* Differ.Differ
        assert.isFalse(yield* supports(mediaType))
        const both = yield* changed("", lower)
        assert.strictEqual(yield* reason(diff(both, mediaType)), "Unimplemented")
        assert.deepStrictEqual(yield* (yield* ContentStore.ContentStore).ingests, [])
      }).pipe(Effect.scoped, leased)
    )

    it.effect("no change is the empty layer, also where something came and went", () =>
      Effect.gen(function* () {
        const base = yield* commit("", lower)
        const blob = yield* layerOf(base, (dir) => {
          listing(dir)
          mkdirSync(join(dir, "passing"))
          remove(dir, "passing")
        })
        assert.deepStrictEqual({ ...blob }, { mediaType: ociLayer, digest: OciLayer.emptyDiffId, size: 1024 })
        assert.strictEqual((yield* diff({ lower: [], upper: [] })).digest, OciLayer.emptyDiffId)
        const zipped = yield* diff({ lower: [], upper: [] }, ociLayerGzip)
        const { labels } = yield* (yield* ContentStore.ContentStore).info(zipped.digest)
        assert.strictEqual(labels[OciLayer.uncompressedLabel], OciLayer.emptyDiffId)
        assert.deepStrictEqual((yield* applied("", [blob], listing)).seen, {})
      }).pipe(leased)
    )

    it.effect("the same change is the same layer, but for the times of whiteouts", () =>
      Effect.gen(function* () {
        const both = yield* changed(yield* commit("", lower), (dir) => remove(dir, "gone", "d/1", "e"))
        const read = Effect.flatMap(diff(both), (blob) => readAll(blob))
        const [one, two] = yield* Effect.all([read, read], { concurrency: 2 })
        assert.deepStrictEqual(yield* withoutTimes(one), yield* withoutTimes(two))
      }).pipe(Effect.scoped, leased)
    )

    it.effect(`whiteouts have the time 0${differs("whiteoutsHaveTimes")}`, () =>
      Effect.gen(function* () {
        const base = yield* commit("", lower)
        const times = whiteoutTimes(yield* readAll(yield* layerOf(base, (dir) => remove(dir, "gone", "e"))))
        if (other("whiteoutsHaveTimes")) for (const time of times) assert.approximately(time, Date.now() / 1000, 60)
        else assert.deepStrictEqual(times, [0, 0])
        assert.lengthOf(times, 2)
      }).pipe(leased)
    )

    it.effect(`fractions of a second come through${differs("timesAreWhole")}`, () =>
      Effect.gen(function* () {
        const { seen } = yield* applied(
          "",
          [
            yield* layerOf("", (dir) => {
              file("f", "x")(dir)
              utimesSync(join(dir, "f"), 1_700_000_000.5, 1_700_000_000.5)
            })
          ],
          (dir) => statSync(join(dir, "f")).mtimeMs
        )
        assert.strictEqual(seen, other("timesAreWhole") ? 1_700_000_000_000 : 1_700_000_000_500)
      }).pipe(leased)
    )

    const attributes = (...names: ReadonlyArray<string>) =>
      Effect.gen(function* () {
        const both = yield* changed("", (dir) => {
          for (const one of names) Trees.place(dir, withXattr(one, "value", regular(one, "x")))
        })
        const xattrs = (dir: string) => names.map((one) => treeOf(dir)[`/${one}`]?.xattrs)
        const all = names.map((one) => `SCHILY.xattr.${one}=value`)
        assert.deepStrictEqual(yield* within(both.upper, xattrs), all)
        assert.deepStrictEqual(
          (yield* applied("", [yield* diff(both)], xattrs)).seen,
          other("attributesAreCarried") ? names.map(() => "") : all
        )
      }).pipe(Effect.scoped, leased)

    it.effect(`extended attributes of users come through${differs("attributesAreCarried")}`, () =>
      attributes("user.one", "user.two")
    )
    it.effect.runIf(root)(`extended attributes of root come through${differs("attributesAreCarried")}`, () =>
      attributes("trusted.one")
    )

    it.effect(`the mode of the root directory comes through${differs("rootIsNamed")}`, () =>
      Effect.gen(function* () {
        const blob = yield* layerOf(yield* commit("", lower), (dir) => chmodSync(dir, 0o710))
        const names = Tars.decode(yield* readAll(blob)).map(({ path }) => path)
        assert.deepStrictEqual(names, other("rootIsNamed") ? [] : ["./"])
        const mode = (dir: string) => (statSync(dir).mode & 0o777).toString(8)
        const foreign = tar(directory("./", { mode: 0o701 }), regular("f"))
        assert.strictEqual(yield* extracted("", mode, foreign), other("rootIsNamed") ? "755" : "701")
      }).pipe(leased)
    )

    it.effect("the blob is under the lease, and garbage when that ends", () =>
      Effect.gen(function* () {
        const written = yield* leasedAs((id) =>
          Effect.gen(function* () {
            const blobs = yield* Effect.forEach([ociLayer, ociLayerGzip], (mediaType) =>
              Effect.scoped(Effect.flatMap(changed("", file("f", unique("f"))), (both) => diff(both, mediaType)))
            )
            yield* collect
            const held = yield* (yield* Leases.Leases).resources(id)
            for (const blob of blobs) {
              assert.isTrue(yield* hasBlob(blob))
              assert.deepInclude(held, { type: "content", id: blob.digest })
            }
            return blobs
          })
        )
        yield* collect
        for (const blob of written) assert.isFalse(yield* hasBlob(blob))
      })
    )

    it.effect("under a lease that is gone nothing is written", () =>
      leasedAs((id) =>
        Effect.gen(function* () {
          const both = yield* changed("", file("f", "x"))
          yield* Leases.Leases.use((leases) => leases.delete(id))
          assert.strictEqual(yield* reason(diff(both)), "NotFound")
          assert.deepStrictEqual(yield* (yield* ContentStore.ContentStore).ingests, [])
        }).pipe(Effect.scoped)
      )
    )

    it.effect("an interrupted diff leaves no ingest and no blob", () =>
      Effect.gen(function* () {
        const store = yield* ContentStore.ContentStore
        const digests = Effect.map(Stream.runCollect(store.list()), (all) => all.map(({ digest }) => digest).sort())
        const both = yield* changed("", (dir) => {
          for (let i = 0; i < 24; i++) file(`f${i}`, Buffer.from(randomBytes(1_000_000)).toString("latin1"))(dir)
        })
        yield* collect
        const before = yield* digests
        for (const wait of [0, 5, 50]) {
          const fiber = yield* Effect.forkChild(diff(both, ociLayerGzip), { startImmediately: true })
          yield* Effect.sleep(wait)
          yield* Fiber.interrupt(fiber)
          const exit = yield* Fiber.await(fiber)
          assert.strictEqual(exit._tag, "Failure")
          // A daemon notices at the end of the file that it is reading.
          yield* Effect.map(store.ingests, (left) => assert.deepStrictEqual(left, [])).pipe(
            Effect.sandbox,
            Effect.retry({ schedule: Schedule.spaced("50 millis"), times: 200 })
          )
          assert.deepStrictEqual(yield* digests, before)
        }
      }).pipe(Effect.scoped, leased)
    )

    const small = tar(directory("d/"), regular("d/f", "small"))
    const forms: ReadonlyArray<readonly [string, string, Uint8Array]> = [
      ["a tar", ociLayer, small],
      ["gzip", ociLayerGzip, gzipSync(small)],
      ["zstd", ociLayerZstd, zstdCompressSync(small)],
      ["Docker's tar", MediaType.dockerLayer, small],
      ["Docker's gzip", MediaType.dockerLayerGzip, gzipSync(small)],
      ["Docker's tar that is compressed, as old pushes have it", MediaType.dockerLayer, gzipSync(small)],
      ["gzip in several members", ociLayerGzip, bytes(gzipSync(small.subarray(0, 700)), gzipSync(small.subarray(700)))],
      [
        "zstd in several frames",
        ociLayerZstd,
        bytes(zstdCompressSync(small.subarray(0, 700)), zstdCompressSync(small.subarray(700)))
      ]
    ]
    it.effect.each(forms)("applies %s, and gives the digest and the size of the tar in it", ([, mediaType, blob]) =>
      Effect.gen(function* () {
        const { said, seen } = yield* applied("", [yield* write(blob, { mediaType })], listing)
        assert.deepStrictEqual(seen, { d: "/", "d/f": "small" })
        assert.deepStrictEqual(
          { ...said[0] },
          { mediaType: ociLayer, digest: Digest.fromBytes(small), size: small.length }
        )
      }).pipe(leased)
    )

    it.effect("what follows the end of the tar counts for its digest, and for nothing else", () =>
      Effect.gen(function* () {
        const padded = bytes(small, Buffer.alloc(8192), randomBytes(700))
        const { said, seen } = yield* applied("", [yield* write(padded, { mediaType: ociLayer })], listing)
        assert.deepStrictEqual(seen, { d: "/", "d/f": "small" })
        assert.strictEqual(said[0]?.digest, Digest.fromBytes(padded))
      }).pipe(leased)
    )

    it.effect("whiteouts take away what is below, and a whiteout of nothing is none", () =>
      Effect.gen(function* () {
        const base = yield* commit("", lower)
        const layer = tar(
          whiteout(".wh.gone"),
          whiteout(".wh.link"),
          whiteout(".wh.nothing"),
          whiteout("e/.wh.1"),
          whiteout(".wh.d")
        )
        assert.deepStrictEqual(yield* extracted(base, listing, layer), {
          e: "/",
          "e/2": "e/2",
          f: "f",
          f2: "f",
          g: "g"
        })
      }).pipe(leased)
    )

    it.effect("an opaque directory shows what its own layer puts there, before the mark and after it", () =>
      Effect.gen(function* () {
        const base = yield* commit("", lower)
        const layer = tar(
          directory("d/"),
          regular("d/a", "a"),
          whiteout("d/.wh..wh..opq"),
          directory("d/sub/"),
          regular("d/sub/b", "b")
        )
        const seen = yield* extracted(base, listing, layer)
        const below = Object.fromEntries(Object.entries(seen).filter(([path]) => path.startsWith("d")))
        assert.deepStrictEqual(below, { d: "/", "d/a": "a", "d/sub": "/", "d/sub/b": "b" })
      }).pipe(leased)
    )

    it.effect("what is there is replaced, but a directory by a directory keeps what is in it", () =>
      Effect.gen(function* () {
        const base = yield* commit("", lower)
        const layer = tar(
          ...[directory("f/"), regular("f/in", "in"), regular("d", "file"), directory("link/"), symlink("gone", "g")],
          directory("e/", { mode: 0o711 })
        )
        const see = (dir: string) => ({ all: listing(dir), mode: (lstatSync(join(dir, "e")).mode & 0o777).toString(8) })
        const all = {
          d: "file",
          e: "/",
          "e/1": "e/1",
          "e/2": "e/2",
          f: "/",
          "f/in": "in",
          f2: "f",
          g: "g",
          gone: "-> g",
          link: "/"
        }
        assert.deepStrictEqual(yield* extracted(base, see, layer), { all, mode: "711" })
      }).pipe(leased)
    )

    it.effect("hard links lead to files of their layer", () =>
      Effect.gen(function* () {
        const layer = tar(regular("new", "new"), hardLink("d/new", "new"))
        const seen = yield* extracted(yield* commit("", lower), treeOf, layer)
        assert.strictEqual(seen["/new"]?.links, "/d/new /new")
      }).pipe(leased)
    )

    it.effect(`hard links lead to files of the layers below${differs("linksReachBelow")}`, () =>
      Effect.gen(function* () {
        const blob = yield* write(tar(hardLink("d/g", "g")), { mediaType: ociLayer })
        const links = applied(yield* commit("", lower), [blob], (dir) => treeOf(dir)["/g"]?.links)
        if (other("linksReachBelow")) assert.strictEqual(yield* reason(links), "Unknown")
        else assert.strictEqual((yield* links).seen, "/d/g /g")
      }).pipe(leased)
    )

    it.effect("parents that no layer names are made", () =>
      Effect.gen(function* () {
        const mode = (dir: string) => (statSync(join(dir, "a/b")).mode & 0o777).toString(8)
        assert.strictEqual(yield* extracted("", mode, tar(regular("a/b/c", "c"))), "755")
      }).pipe(leased)
    )

    it.effect("names with ./ and without are the same, and // is /", () =>
      Effect.gen(function* () {
        const layer = tar(directory("./"), directory("./d/"), regular("./d//f", "f"), hardLink("./d/g", "./d/f"))
        assert.deepStrictEqual(yield* extracted("", listing, layer), { d: "/", "d/f": "f", "d/g": "f" })
      }).pipe(leased)
    )

    it.effect.each(["ustar", "gnu", "pax"] as const)("long names and ids as %s writes them", (dialect) =>
      Effect.gen(function* () {
        const long = dialect === "ustar" ? "l".repeat(80) : "l".repeat(250)
        const entry = (path: string, type: string, link = "") => ({
          ...{ path: bytes(path), type, link: bytes(link), content: bytes(type === "0" ? "x" : ""), xattrs: [] },
          ...{ uid: 0, gid: 0 }
        })
        const entries = [entry(`d/${long}/f`, "0"), entry("s", "2", `d/${long}/f`), entry("h", "1", `d/${long}/f`)]
        const layer = tar(...entries.map((one) => Tars.encode(one, dialect)))
        const expected = { d: "/", [`d/${long}`]: "/", [`d/${long}/f`]: "x", h: "x", s: `-> d/${long}/f` }
        assert.deepStrictEqual(yield* extracted("", listing, layer), expected)
      }).pipe(leased)
    )

    it.effect("owners that nobody here can give are in the next layer all the same", () =>
      Effect.gen(function* () {
        const blob = yield* write(tar(regular("f", "x", { uid: 1234, gid: 5678 })), { mediaType: ociLayer })
        const { prepare } = yield* snapshots
        const target = yield* prepare({ key: unique("target"), parent: "" })
        yield* (yield* Differ.Differ).apply(blob, target.mounts)
        const entries = Tars.decode(yield* readAll(yield* diff({ lower: [], upper: target.mounts })))
        const found = entries.filter(({ path }) => path === "f").map(({ gid, uid }) => [uid, gid])
        assert.deepStrictEqual(found, [[1234, 5678]])
      }).pipe(Effect.scoped, leased)
    )

    it.effect("layers one on the other in one snapshot are the same as each in its own", () =>
      Effect.gen(function* () {
        const base = yield* commit("", lower)
        const top = yield* commit(base, replaced)
        const layers = [
          yield* layerOf("", lower),
          yield* layerOf(base, replaced),
          yield* layerOf(top, file("f/in", "last"))
        ]
        const expected = { ...(yield* look(top, listing)), "f/in": "last" }
        assert.deepStrictEqual((yield* applied("", layers, listing)).seen, expected)
      }).pipe(leased)
    )

    it.effect("one layer into two snapshots at once", () =>
      Effect.gen(function* () {
        const blob = yield* layerOf("", lower)
        const [one, two] = yield* Effect.all([applied("", [blob], listing), applied("", [blob], listing)], {
          concurrency: 2
        })
        assert.deepStrictEqual(one, two)
        assert.strictEqual(one.seen["d/sub/2"], "d/sub/2")
      }).pipe(leased)
    )

    it.effect("a blob that is not there is NotFound, and a view takes no layer", () =>
      Effect.gen(function* () {
        const missing = { mediaType: ociLayer, digest: Digest.fromBytes(randomBytes(10)), size: 10 }
        assert.strictEqual(yield* reason(applied("", [missing], listing)), "NotFound")
        const base = yield* commit("", lower)
        const view = yield* (yield* snapshots).view({ key: unique("view"), parent: base })
        const blob = yield* write(small, { mediaType: ociLayer })
        yield* Effect.flip((yield* Differ.Differ).apply(blob, view.mounts))
        assert.notProperty(yield* look(base, listing), "d/f")
      }).pipe(Effect.scoped, leased)
    )

    const large = tar(regular("f", "x".repeat(3000)))
    const damaged: ReadonlyArray<readonly [string, Uint8Array]> = [
      ["a tar that ends in a file", large.subarray(0, 2000)],
      ["a tar that ends in a header", large.subarray(0, 300)],
      ["gzip that is cut off", gzipSync(randomTar()).subarray(0, 1500)],
      ["gzip with other bytes in it", gzipSync(randomTar()).fill(7, 1000, 1100)],
      ["a header whose checksum is wrong", bytes(large).fill("y", 0, 1)],
      ["what is no tar at all", bytes("no tar ".repeat(200))]
    ]
    it.effect.each(damaged)(`is InvalidArgument: %s${differs("damageIsInvalid")}`, ([, blob]) =>
      Effect.gen(function* () {
        const stored = yield* write(blob, { mediaType: ociLayer })
        assert.strictEqual(
          yield* reason(applied("", [stored], listing)),
          other("damageIsInvalid") ? "Unknown" : "InvalidArgument"
        )
      }).pipe(leased)
    )

    it.effect(`is InvalidArgument: a hard link to nothing${differs("damageIsInvalid")}`, () =>
      Effect.map(refused(hardLink("l", "nothing")), (tag) =>
        assert.strictEqual(tag, other("damageIsInvalid") ? "Unknown" : "InvalidArgument")
      )
    )

    it.effect("a symlink in a name begins at the root of the layer's directory, not of the machine", () =>
      Effect.gen(function* () {
        const place = unique("never")
        const layer = tar(directory("d/"), symlink("s", `/${place}`), directory(`${place}/`), regular("s/f", "inside"))
        assert.strictEqual((yield* extracted("", listing, layer))[`${place}/f`], "inside")
        assert.isFalse(existsSync(`/${place}`))
      }).pipe(leased)
    )

    it.effect(`is InvalidArgument: a name that changes its type in one layer${differs("typesStay")}`, () =>
      Effect.gen(function* () {
        const entries = [directory("d/"), regular("d/f", "x"), regular("d", "y")]
        if (!other("typesStay")) assert.strictEqual(yield* refused(...entries), "InvalidArgument")
        else assert.deepStrictEqual(yield* extracted("", listing, tar(...entries)), { d: "y" })
      }).pipe(leased)
    )

    const escapes: ReadonlyArray<readonly [string, ReadonlyArray<Uint8Array>]> = [
      ["absolute", [regular("/escaped", "x")]],
      ["above the root", [regular("../../../../../../escaped", "x")]],
      ["led out by a symlink", [symlink("s", "../../../../../.."), regular("s/escaped", "x")]]
    ]
    it.effect.each(escapes)(
      `is InvalidArgument, and gets nowhere: a name that is %s${differs("climbersAreRefused")}`,
      ([, entries]) =>
        Effect.gen(function* () {
          if (!other("climbersAreRefused")) {
            assert.strictEqual(yield* refused(...entries), "InvalidArgument")
          } else {
            assert.strictEqual((yield* extracted("", listing, tar(...entries)))["escaped"], "x")
          }
          assert.isFalse(existsSync("/escaped"))
        }).pipe(leased)
    )
  })
}

/** Several KiB that do not compress. */
function randomTar(): Buffer {
  return tar(regular("r", randomBytes(4000)))
}
