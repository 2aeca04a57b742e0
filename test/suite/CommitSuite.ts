/**
 * What a commit promises on every backend (docs/architecture.md): the container is not running, for what a running one
 * asks for only containerd can show (`test/commit`). Every case ends with the inventory with which it began.
 */
import { assert, layer as withLayer } from "@effect/vitest"
import { Cause, Deferred, Effect, Fiber, type Layer, Option } from "effect"
import {
  Commit,
  type Containerd,
  ContainerdError,
  ContentStore,
  Differ,
  ImageConfig,
  Images,
  Leases,
  MediaType
} from "effect-containerd"
import * as Recover from "../../src/commit/Recover.ts"
import * as ProcessOwner from "../../src/internal/ProcessOwner.ts"
import * as Tars from "../layer/Tars.ts"
import { collect, exists, hasBlob, image, unique } from "./Cases.ts"
import {
  baseImage,
  type CommitTraits,
  chainOf,
  commit,
  deleteImage,
  dockerImage,
  documentsOf,
  makeCommits,
  refusal,
  refusalTag,
  someChange,
  tarOf,
  wholeImage
} from "./Commits.ts"
import { isOther } from "./Differences.ts"
import { file, listing } from "./Snapshots.ts"
import { differs, title } from "./Title.ts"

const created = "2025-06-07T08:09:10.123456789Z"

const failure = new ContainerdError.ContainerdError({
  method: "suite",
  reason: new ContainerdError.Unknown({ message: "no such luck" })
})

/** Takes one service the ability to do something. */
type Wreck = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, Containerd.Services | R>

export const commitSuite = <E, R>(
  name: string,
  layer: Layer.Layer<Containerd.Services | R, E>,
  traits: CommitTraits<R>
): void => {
  const { container: makeContainer, snapshotter } = traits
  const { change, changed, clean, inventory, look, rebuilt, see, settled, snapshots, tree } = makeCommits(traits)

  withLayer(layer, { excludeTestServices: true })(title("commit", name), (it) => {
    it.effect("the image has the layers of its parent and one more, and every blob is what it says", () =>
      Effect.gen(function* () {
        const { base, id } = yield* changed()
        const committed = yield* commit({ container: id, name: unique("app") })
        const [parent, image] = [yield* wholeImage(base), yield* wholeImage(committed.image.name)]
        assert.deepStrictEqual(image.layers.slice(0, -1), parent.layers)
        assert.deepStrictEqual(image.layers.at(-1), Option.getOrThrow(committed.layer).descriptor)
        assert.deepStrictEqual(ImageConfig.diffIds(image.config), [
          ...ImageConfig.diffIds(parent.config),
          Option.getOrThrow(committed.layer).diffId
        ])
        assert.strictEqual(Option.getOrThrow(committed.parent).name, base)
        assert.deepStrictEqual([committed.snapshotter, committed.pausedMs], [snapshotter, 0])
      }).pipe(clean)
    )

    it.effect("config and history: the parent's, and what this commit adds", () =>
      Effect.gen(function* () {
        const { base, id } = yield* changed()
        const options = { author: "A <a@example.org>", message: "the <first> & only", created }
        const committed = yield* commit({ container: id, name: unique("app"), ...options })
        const [parent, image] = [yield* documentsOf(base), yield* documentsOf(committed.image.name)]
        const { author, message: comment } = options
        const history = [...ImageConfig.history(parent.config), { created, created_by: "sleep 1", author, comment }]
        const rootfs = { type: "layers", diff_ids: ImageConfig.diffIds(image.config) }
        assert.deepStrictEqual<object>({ ...image.config }, { ...parent.config, created, author, rootfs, history })
        const child = yield* commit({ container: yield* makeContainer(committed.image.name), name: unique("app") })
        const inherited = (yield* documentsOf(child.image.name)).config
        assert.strictEqual(inherited.author, author)
        assert.approximately(Date.parse(inherited.created ?? ""), Date.now(), 60_000)
      }).pipe(clean)
    )

    it.effect("the snapshot of the image holds what the container holds, and so do its layers (law 4)", () =>
      Effect.gen(function* () {
        const { id } = yield* changed()
        const container = yield* see(id, tree)
        const committed = yield* commit({ container: id, name: unique("app") })
        assert.deepStrictEqual(yield* look(chainOf(committed), tree), container)
        assert.deepStrictEqual(yield* rebuilt(committed.image.name), container)
        assert.deepStrictEqual(yield* see(id, tree), container)
      }).pipe(clean)
    )

    it.effect("nothing changed: no layer is added, and the history says so; umoci repack.bats empty diff", () =>
      Effect.gen(function* () {
        const { base, id } = yield* changed(() => {})
        const parent = yield* documentsOf(base)
        for (const compression of ["gzip", "uncompressed"] as const) {
          const committed = yield* commit({ container: id, name: unique("app"), compression })
          const image = yield* wholeImage(committed.image.name)
          assert.deepStrictEqual(committed.layer, Option.none())
          assert.deepStrictEqual(image.layers, parent.layers)
          assert.isTrue(ImageConfig.history(image.config).at(-1)?.empty_layer)
          assert.strictEqual((yield* (yield* snapshots).stat(chainOf(committed))).kind, "committed")
        }
      }).pipe(clean)
    )

    it.effect("a name is normalised, and an image that had it is replaced and given back", () =>
      Effect.gen(function* () {
        const images = yield* Images.Images
        const { id } = yield* changed()
        const short = unique("app")
        const first = yield* commit({ container: id, name: short })
        assert.strictEqual(first.image.name, `docker.io/library/${short}:latest`)
        assert.deepStrictEqual(first.replaced, [])
        yield* change(id, file("second", "2"))
        const second = yield* commit({ container: id, name: short })
        assert.deepStrictEqual(second.replaced, [first.image])
        assert.deepStrictEqual(yield* images.get(first.image.name), second.image)
      }).pipe(clean)
    )

    it.effect("a replaced image is kept without its name when that is asked for", () =>
      Effect.gen(function* () {
        const { id } = yield* changed()
        const short = unique("app")
        const first = yield* commit({ container: id, name: short })
        yield* change(id, file("second", "2"))
        yield* commit({ container: id, name: short, keepReplaced: true })
        const kept = `moby-dangling@${first.image.target.digest}`
        yield* collect
        yield* wholeImage(kept)
        yield* (yield* Images.Images).delete(kept)
      }).pipe(clean)
    )

    it.effect("without a name the image is a dangling one", () =>
      Effect.gen(function* () {
        const { id } = yield* changed()
        const { image } = yield* commit({ container: id })
        assert.strictEqual(image.name, `moby-dangling@${image.target.digest}`)
        yield* wholeImage(image.name)
      }).pipe(clean)
    )

    it.effect("labels are those of the record", () =>
      Effect.gen(function* () {
        const { id } = yield* changed()
        const labels = { "suite/l": "é" }
        const { image } = yield* commit({ container: id, name: unique("app"), labels })
        assert.deepStrictEqual((yield* (yield* Images.Images).get(image.name)).labels, labels)
      }).pipe(clean)
    )

    it.effect("the same container and the same time give the same image, so that a retry is free", () =>
      Effect.gen(function* () {
        const { id } = yield* changed()
        const options = { container: id, name: unique("app"), created }
        const first = yield* commit(options)
        const before = yield* settled
        const second = yield* commit(options)
        assert.deepStrictEqual([second.image, second.layer, second.config], [first.image, first.layer, first.config])
        assert.deepStrictEqual(second.replaced, [])
        assert.deepStrictEqual(yield* settled, before)
      }).pipe(clean)
    )

    it.effect(
      "a chain of three: containers of committed images, and containers that go on; umoci refresh-bundle, podman rmi chains",
      () =>
        Effect.gen(function* () {
          const { base, id } = yield* changed()
          let [container, layers] = [id, (yield* documentsOf(base)).layers.length]
          for (const step of ["one", "two", "three"]) {
            yield* change(container, file(`data/${step}`, step))
            const { chainId, image } = yield* commit({ container, name: unique("chain") })
            layers += 1
            assert.lengthOf((yield* wholeImage(image.name)).layers, layers)
            container = yield* makeContainer(image.name)
            assert.deepStrictEqual(yield* see(container, tree), yield* look(Option.getOrThrow(chainId), tree))
          }
          assert.includeMembers(Object.keys(yield* see(container, listing)), [
            "data/one",
            "data/two",
            "data/three",
            "data/link"
          ])
          // The first container is what it was: one layer over its own base.
          const again = yield* commit({ container: id, name: unique("chain") })
          assert.lengthOf((yield* wholeImage(again.image.name)).layers, 2)
        }).pipe(clean)
    )

    const compressions: ReadonlyArray<readonly [MediaType.Compression, string, string]> = [
      ["gzip", "application/vnd.oci.image.layer.v1.tar+gzip", ""],
      ["uncompressed", "application/vnd.oci.image.layer.v1.tar", ""],
      ["zstd", "application/vnd.oci.image.layer.v1.tar+zstd", differs("zstdIsWritten")]
    ]
    for (const [compression, mediaType, difference] of compressions) {
      it.effect(`the new layer is ${compression} where that is asked for${difference}`, () =>
        Effect.gen(function* () {
          const { id } = yield* changed()
          const options = { container: id, name: unique("app"), compression }
          if (compression !== "zstd" || !isOther("zstdIsWritten", traits)) {
            const { image } = yield* commit(options)
            assert.strictEqual((yield* wholeImage(image.name)).layers.at(-1)?.mediaType, mediaType)
            assert.deepStrictEqual(yield* rebuilt(image.name), yield* see(id, tree))
          } else {
            assert.strictEqual(yield* refusalTag(options), "UnsupportedCompression")
          }
        }).pipe(clean)
      )
    }

    it.effect("the media types are those of the parent: Docker's stay Docker's", () =>
      Effect.gen(function* () {
        const { name, target } = yield* dockerImage(yield* baseImage())
        const id = yield* makeContainer(name)
        yield* change(id, someChange)
        const committed = yield* commit({ container: id, name: unique("app") })
        const { layers, manifest } = yield* wholeImage(committed.image.name)
        const types = [committed.image.target, manifest.config, ...layers].map(({ mediaType }) => mediaType)
        const { dockerConfig, dockerLayerGzip } = MediaType
        assert.deepStrictEqual(types, [target.mediaType, dockerConfig, dockerLayerGzip, dockerLayerGzip])
        assert.deepStrictEqual(yield* rebuilt(committed.image.name), yield* see(id, tree))
      }).pipe(clean)
    )

    it.effect("ids are mapped to those of the container, and one that has none is refused", () =>
      Effect.gen(function* () {
        const { id } = yield* changed()
        const shifted = [{ containerId: 1000, hostId: 0, size: 65_536 }]
        const { layer } = yield* commit({ container: id, name: unique("app"), idMap: { uids: shifted, gids: shifted } })
        const entries = Tars.decode(yield* tarOf(Option.getOrThrow(layer).descriptor))
        const owners = entries.filter(({ path }) => path === "data/dir/new/file").map(({ gid, uid }) => [uid, gid])
        assert.deepStrictEqual(owners, [[1000, 1000]])
        const elsewhere = [{ containerId: 0, hostId: 100_000, size: 10 }]
        const options = { container: id, name: unique("app"), idMap: { uids: elsewhere, gids: elsewhere } }
        assert.strictEqual((yield* refusal(options)).step, "unremap")
      }).pipe(clean)
    )

    it.effect("a build step: no name, the builder's config and instruction", () =>
      Effect.gen(function* () {
        const { base, id } = yield* changed()
        const config = { Env: ["STEP=1"], Cmd: ["true"] }
        const committed = yield* Effect.acquireRelease(
          Commit.commitBuildStep({ container: id, config, createdBy: "RUN step" }),
          ({ image }) => deleteImage(image.name)
        )
        assert.match(committed.image.name, /^moby-dangling@sha256:/)
        const image = yield* wholeImage(committed.image.name)
        assert.deepStrictEqual(image.config.config, config)
        assert.strictEqual(ImageConfig.history(image.config).at(-1)?.created_by, "RUN step")
        assert.strictEqual(image.config.architecture, (yield* documentsOf(base)).config.architecture)
      }).pipe(clean)
    )

    const ids = [{ containerId: 0, hostId: 0, size: 0 }]
    const bad: ReadonlyArray<readonly [string, Partial<Commit.CommitOptions>]> = [
      ["container", { container: "" }],
      ["name", { name: "UPPER" }],
      ["name", { name: `app@sha256:${"0".repeat(64)}` }],
      ["created", { created: "yesterday" }],
      ["platform", { platform: "linux/" }],
      ["parent", { parent: "" }],
      ["snapshotter", { snapshotter: "" }],
      ["idMap", { idMap: { uids: ids, gids: ids } }]
    ]
    it.effect("an option that is not well formed is refused, and named", () =>
      Effect.gen(function* () {
        const { id } = yield* changed()
        const before = yield* settled
        for (const [option, options] of bad) {
          const error = yield* refusal({ container: id, name: unique("app"), ...options })
          assert.deepInclude(error.reason, { _tag: "InvalidOption", option })
          assert.strictEqual(error.step, "options")
        }
        assert.deepStrictEqual(yield* inventory, before)
      }).pipe(clean)
    )

    it.effect("what is not there is told apart: container, parent image, snapshotter; podman: no such container", () =>
      Effect.gen(function* () {
        const { base, id } = yield* changed()
        const unknown = yield* refusal({ container: unique("nobody") })
        assert.strictEqual(unknown.reason._tag, "ContainerNotFound")
        assert.include(unknown.message, unknown.container)
        assert.strictEqual(yield* refusalTag({ container: id, parent: "localhost/nothing:1" }), "ParentNotFound")
        assert.strictEqual(yield* refusalTag({ container: id, snapshotter: "no-such" }), "SnapshotNotFound")
        yield* (yield* Images.Images).delete(base)
        assert.strictEqual(yield* refusalTag({ container: id }), "ParentNotFound")
      }).pipe(clean)
    )

    it.effect("an image that the container does not stand on is not its parent", () =>
      Effect.gen(function* () {
        const images = yield* Images.Images
        const { base, id } = yield* changed()
        const other = yield* baseImage()
        assert.strictEqual(yield* refusalTag({ container: id, parent: other }), "ParentMismatch")
        // The name was given to another image since.
        const { target } = yield* images.get(base)
        yield* image(target)
        yield* images.update({ ...(yield* images.get(other)), name: base })
        assert.strictEqual(yield* refusalTag({ container: id, name: unique("app") }), "ParentMismatch")
        yield* images.update({ name: base, target, labels: {} })
        yield* commit({ container: id, name: unique("app") })
      }).pipe(clean)
    )

    it.effect("a parent with missing blobs is refused with their list, unless that is allowed", () =>
      Effect.gen(function* () {
        const { base, id } = yield* changed()
        const { layers, manifest } = yield* documentsOf(base)
        // One that was read for an earlier commit can be gone, too.
        yield* commit({ container: id, name: unique("app") })
        const digests = [manifest.config, ...layers].map(({ digest }) => digest)
        for (const digest of digests) yield* (yield* ContentStore.ContentStore).delete(digest)
        const error = yield* refusal({ container: id, name: unique("app") })
        assert.deepInclude(error.reason, { _tag: "ParentIncomplete", missing: digests })
        const { chainId, image } = yield* commit({ container: id, name: unique("app"), allowMissingParents: true })
        assert.lengthOf((yield* documentsOf(image.name)).layers, layers.length + 1)
        assert.deepStrictEqual(yield* look(Option.getOrThrow(chainId), tree), yield* see(id, tree))
      }).pipe(clean)
    )

    it.effect("one commit of a container at a time, and others beside it", () =>
      Effect.gen(function* () {
        const [one, two] = [yield* changed(), yield* changed()]
        const [held, go] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
        const first = yield* commit({ container: one.id, name: unique("app") }).pipe(
          Effect.provideService(Commit.Progress, (event) =>
            event._tag === "StepStarted" && event.step === "diff"
              ? Effect.andThen(Deferred.succeed(held, undefined), Deferred.await(go))
              : Effect.void
          ),
          Effect.forkChild
        )
        yield* Deferred.await(held)
        const busy = yield* refusal({ container: one.id, name: unique("app") })
        assert.deepStrictEqual([busy.reason._tag, busy.isRetryable], ["ContainerBusy", true])
        yield* commit({ container: two.id, name: unique("app") })
        yield* Deferred.succeed(go, undefined)
        yield* wholeImage((yield* Fiber.join(first)).image.name)
      }).pipe(clean)
    )

    it.effect("the lease of a commit whose process lives is left alone, that of a dead one is taken over", () =>
      Effect.gen(function* () {
        const leases = yield* Leases.Leases
        const { id } = yield* changed()
        const options = { container: id, name: unique("app") }
        const leaseOf = (owner: string) =>
          leases.create({
            id: Recover.leaseId(id),
            labels: {
              [Recover.label.container]: id,
              [Recover.label.owner]: owner,
              [Leases.expireLabel]: "2999-01-01T00:00:00Z"
            }
          })
        yield* leaseOf(ProcessOwner.current())
        assert.strictEqual(yield* refusalTag(options), "ContainerBusy")
        yield* leases.delete(Recover.leaseId(id))
        // No system gives out such a pid.
        yield* leaseOf(ProcessOwner.current().replace(` ${process.pid} `, " 999999999 "))
        yield* commit(options)
        assert.deepStrictEqual(yield* leases.list(), [])
      }).pipe(clean)
    )

    it.effect("nothing is left but the image, before any collection, too", () =>
      Effect.gen(function* () {
        const { id } = yield* changed()
        const before = yield* settled
        const committed = yield* commit({ container: id, name: unique("app") })
        const { blobs, images, ingests, leases, snapshots: found } = yield* inventory
        assert.deepStrictEqual([leases, ingests], [[], []])
        assert.deepStrictEqual(images, [...before.images, committed.image.name].sort())
        assert.deepStrictEqual(found, [...before.snapshots, `committed ${chainOf(committed)}`].sort())
        const { manifest } = yield* documentsOf(committed.image.name)
        const layer = Option.getOrThrow(committed.layer).descriptor
        const made = [committed.image.target, manifest.config, layer].map(({ digest }) => digest)
        assert.deepStrictEqual(blobs, [...before.blobs, ...made].sort())
      }).pipe(clean)
    )

    it.effect(
      "the image outlives container and parent, and takes everything along when it goes; moby rmi_test.go, ps_test.go",
      () =>
        Effect.gen(function* () {
          const { stat } = yield* snapshots
          const committed = yield* Effect.scoped(
            Effect.flatMap(changed(), ({ id }) => Commit.commit({ container: id, name: unique("app") }))
          )
          yield* collect
          const { layers, manifest } = yield* wholeImage(committed.image.name)
          assert.property(yield* look(chainOf(committed), listing), "data/dir/new/file")
          const id = yield* makeContainer(committed.image.name)
          assert.property(yield* see(id, listing), "data/link")
          assert.isTrue(yield* exists(stat(chainOf(committed))))
          yield* (yield* Images.Images).delete(committed.image.name)
          yield* collect
          for (const blob of [committed.image.target, manifest.config, ...layers]) assert.isFalse(yield* hasBlob(blob))
          // The container stands on it.
          assert.isTrue(yield* exists(stat(chainOf(committed))))
        }).pipe(clean)
    )

    const failing = Effect.fail(failure)
    const wrecks: ReadonlyArray<readonly [string, Wreck]> = [
      ["the differ that reads", Effect.updateService(Differ.Differ, (differ) => ({ ...differ, diff: () => failing }))],
      [
        "the differ that extracts",
        Effect.updateService(Differ.Differ, (differ) => ({ ...differ, apply: () => failing }))
      ],
      [
        "the write of a document",
        Effect.updateService(ContentStore.ContentStore, (store) => ({ ...store, writeBytes: () => failing }))
      ],
      ["the image record", Effect.updateService(Images.Images, (images) => ({ ...images, create: () => failing }))]
    ]
    it.effect.each(wrecks)("a failure leaves nothing, and says where it was: %s", ([, wreck]) =>
      Effect.gen(function* () {
        const { id } = yield* changed()
        const before = yield* settled
        const error = yield* Effect.flip(
          wreck(Commit.commit({ container: id, name: unique("app"), differ: "containerd" }))
        )
        assert.strictEqual(error.reason, failure)
        assert.include(error.message, `no such luck (suite in step ${error.step})`)
        assert.deepStrictEqual(yield* settled, before)
      }).pipe(clean)
    )

    it.effect("an interruption leaves nothing, in whatever step it comes", () =>
      Effect.gen(function* () {
        const { id } = yield* changed()
        const options = { container: id, name: unique("app") }
        const steps = new Set<string>()
        const { image } = yield* Commit.commit(options).pipe(
          Effect.provideService(Commit.Progress, ({ step }) => Effect.sync(() => void steps.add(step)))
        )
        yield* (yield* Images.Images).delete(image.name)
        const before = yield* settled
        // The last one is not interrupted: the image is there or not, and is known to be.
        for (const step of [...steps].filter((one) => one !== "createImage")) {
          const reached = yield* Deferred.make<void>()
          const fiber = yield* Commit.commit(options).pipe(
            Effect.provideService(Commit.Progress, (event) =>
              event._tag === "StepEnded" && event.step === step
                ? Effect.andThen(Deferred.succeed(reached, undefined), Effect.never)
                : Effect.void
            ),
            Effect.forkChild
          )
          yield* Deferred.await(reached)
          const exit = yield* Effect.andThen(Fiber.interrupt(fiber), Fiber.await(fiber))
          assert.isTrue(exit._tag === "Failure" && Cause.hasInterruptsOnly(exit.cause), step)
          assert.deepStrictEqual(yield* settled, before, step)
        }
        assert.includeMembers([...steps], ["lease", "diff", "apply", "writeContent"])
      }).pipe(clean)
    )
  })
}
