/** What every image store promises. */
import { assert, layer as withLayer } from "@effect/vitest"
import { Effect, type Layer, Option } from "effect"
import { type ContentStore, Descriptor, Images, type Leases, MediaType, Namespaces } from "effect-containerd"
import { collect, hasBlob, image, leased, randomBytes, reason, type Traits, unique, write } from "./Cases.ts"
import { isOther } from "./Differences.ts"
import { differs, title } from "./Title.ts"

const target = (fields: Partial<Descriptor.Descriptor> = {}): Descriptor.Descriptor => ({
  ...Descriptor.of(MediaType.ociManifest, randomBytes(64)),
  ...fields
})

const reference = () => `docker.io/suite/${unique("app")}:1`

export const imagesSuite = <E>(
  name: string,
  layer: Layer.Layer<ContentStore.ContentStore | Images.Images | Leases.Leases, E>,
  traits: Traits
): void =>
  withLayer(layer, { excludeTestServices: true })(title("images", name), (it) => {
    it.effect("a record is what was created, whether its target exists or not", () =>
      Effect.gen(function* () {
        const images = yield* Images.Images
        const record = {
          name: reference(),
          target: target({ annotations: { "suite/a": "é" } }),
          labels: { "suite/l": "1" }
        }
        yield* images.create(record)
        assert.deepStrictEqual(yield* images.get(record.name), record)
        assert.deepStrictEqual(yield* images.list([`name==${JSON.stringify(record.name)}`]), [record])
        yield* images.delete(record.name)
        assert.strictEqual(yield* reason(images.get(record.name)), "NotFound")
        yield* images.delete(record.name)
      })
    )

    const names = ["docker.io/suite/a-b.c_d/e__f:V1_2-3.4", "localhost:5000/suite:1", "suite free text ü", "Suite@x"]
    it.effect.each(names)("%s is a name", (name) =>
      Effect.gen(function* () {
        const images = yield* Images.Images
        yield* images.create({ name, target: target(), labels: {} })
        assert.strictEqual((yield* images.get(name)).name, name)
        yield* images.delete(name)
      })
    )

    it.effect("a name exists once; to change it one updates it, target and labels at once", () =>
      Effect.gen(function* () {
        const images = yield* Images.Images
        const name = reference()
        const [old, next] = [target(), target()]
        assert.strictEqual(yield* reason(images.update({ name, target: old, labels: {} })), "NotFound")
        yield* images.create({ name, target: old, labels: { a: "1", b: "1" } })
        assert.strictEqual(yield* reason(images.create({ name, target: next, labels: {} })), "AlreadyExists")
        assert.deepStrictEqual((yield* images.get(name)).target, old)
        yield* images.update({ name, target: next, labels: { b: "2" } })
        assert.deepStrictEqual(yield* images.get(name), { name, target: next, labels: { b: "2" } })
        yield* images.delete(name)
      })
    )

    it.effect("images of different repositories with one tag do not get into each other's way", () =>
      Effect.gen(function* () {
        const images = yield* Images.Images
        const one = { name: reference(), target: target(), labels: {} }
        const two = { name: reference(), target: target(), labels: {} }
        for (const record of [one, two]) yield* images.create(record)
        for (const record of [one, two]) assert.deepStrictEqual(yield* images.get(record.name), record)
        yield* images.delete(one.name)
        assert.deepStrictEqual(yield* images.get(two.name), two)
        yield* images.delete(two.name)
      })
    )

    it.effect("filters: name, target and labels", () =>
      Effect.gen(function* () {
        const images = yield* Images.Images
        const run = unique("run")
        const record = { name: reference(), target: target(), labels: { "suite/run": run } }
        yield* images.create(record)
        for (const filter of [
          `name~=${JSON.stringify(record.name.slice(10))}`,
          `target.digest==${record.target.digest}`,
          `target.digest==${record.target.digest},target.mediatype==${JSON.stringify(MediaType.ociManifest)}`,
          `labels."suite/run"==${run}`
        ]) {
          assert.deepStrictEqual(yield* images.list([filter]), [record], filter)
        }
        assert.deepStrictEqual(yield* images.list([`labels."suite/run"!=${run},name==${record.name}`]), [])
        yield* images.delete(record.name)
      })
    )

    const bad: ReadonlyArray<readonly [string, Images.Image]> = [
      ["without name", { name: "", target: target(), labels: {} }],
      ["whose target has no size", { name: "suite/bad:1", target: target({ size: 0 }), labels: {} }],
      ["whose target has no media type", { name: "suite/bad:1", target: target({ mediaType: "" }), labels: {} }],
      ["with a label over 4096 bytes", { name: "suite/bad:1", target: target(), labels: { a: "x".repeat(4096) } }]
    ]
    it.effect.each(bad)("an image %s is refused", ([, record]) =>
      Effect.gen(function* () {
        const images = yield* Images.Images
        assert.strictEqual(yield* reason(images.create(record)), "InvalidArgument")
        assert.deepStrictEqual(yield* images.list([`name=="suite/bad:1"`]), [])
      })
    )

    it.effect("many who put a name at once: it is there all the time, and points to one of theirs", () =>
      Effect.gen(function* () {
        const images = yield* Images.Images
        const name = reference()
        const targets = Array.from({ length: 6 }, () => target())
        const before = yield* Images.put({ name, target: target(), labels: {} })
        assert.isTrue(Option.isNone(before))
        yield* Effect.forEach(
          targets,
          (next) => Effect.andThen(Images.put({ name, target: next, labels: {} }), images.get(name)),
          {
            concurrency: "unbounded"
          }
        )
        const { digest } = (yield* images.get(name)).target
        assert.include(
          targets.map((one) => one.digest),
          digest
        )
        yield* images.delete(name)
      })
    )

    it.effect(`an image keeps what its manifest names, labels or not${differs("documentsAreFollowed")}`, () =>
      Effect.gen(function* () {
        const [config, blob] = yield* Effect.gen(function* () {
          const config = { ...(yield* write(randomBytes(64))), mediaType: MediaType.ociConfig }
          const blob = { ...(yield* write(randomBytes(64))), mediaType: MediaType.ociLayer }
          const document = { schemaVersion: 2, mediaType: MediaType.ociManifest, config, layers: [blob] }
          const manifest = yield* write(Buffer.from(JSON.stringify(document)), { mediaType: MediaType.ociManifest })
          yield* image(manifest)
          return [config, blob] as const
        }).pipe(leased)
        yield* collect
        const kept = !isOther("documentsAreFollowed", traits)
        assert.strictEqual(yield* hasBlob(config), kept)
        assert.strictEqual(yield* hasBlob(blob), kept)
      })
    )

    it.effect(`calls in another namespace are Unimplemented${differs("otherNamespaces")}`, () =>
      Effect.gen(function* () {
        const images = yield* Images.Images
        const record = { name: reference(), target: target(), labels: {} }
        const elsewhere = Effect.provideService(Namespaces.CurrentNamespace, unique("elsewhere"))
        if (!isOther("otherNamespaces", traits)) {
          assert.strictEqual(yield* reason(elsewhere(images.create(record))), "Unimplemented")
        } else {
          yield* elsewhere(images.create(record))
          assert.deepStrictEqual(yield* elsewhere(images.get(record.name)), record)
          assert.strictEqual(yield* reason(images.get(record.name)), "NotFound")
          yield* elsewhere(images.delete(record.name))
        }
      })
    )
  })
