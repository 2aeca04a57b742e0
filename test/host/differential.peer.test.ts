import { assert, layer } from "@effect/vitest"
import { Effect, Layer, Option, Schema } from "effect"
import { Commit, ContentStore, Docker, Images, Leases } from "effect-containerd"
import * as Descriptor from "effect-containerd/oci/Descriptor"
import { Engine } from "../docker/Engine.ts"
import * as BaseImage from "../support/BaseImage.ts"
import * as Containerd from "../support/Containerd.ts"
import { describeDaemons } from "../support/Daemons.ts"
import * as Dockerd from "../support/Dockerd.ts"
import * as Differential from "./Differential.ts"
import * as Judge from "./Judge.ts"
import * as RandomImage from "./RandomImage.ts"

const layers = 2
const changeSets = 32

/** Not of the other test's numbers. */
const random = (...numbers: ReadonlyArray<number>) => Differential.randomOf(1000, ...numbers)

const start = Effect.gen(function* () {
  const containerd = yield* Containerd.start("2.x")
  const dockerd = yield* Dockerd.start(containerd)
  return { ...dockerd, containerd, base: yield* BaseImage.busybox() }
})

const engine = Layer.unwrap(Effect.map(Engine, ({ socket }) => Docker.layer({ socket }))).pipe(
  Layer.provideMerge(Layer.effect(Engine, start))
)

const Manifest = Schema.fromJsonString(Schema.Struct({ layers: Schema.Array(Descriptor.Descriptor) }))

/** The layer that `docker commit` has put on top, if it has. */
const topLayer = Effect.fnUntraced(function* (name: string) {
  const { target } = yield* (yield* Images.Images).get(`docker.io/library/${name}`)
  const bytes = yield* ContentStore.readBytes(target)
  const manifest = yield* Schema.decodeUnknownEffect(Manifest)(Buffer.from(bytes).toString())
  return Option.map(Option.fromUndefinedOr(manifest.layers[layers]), (descriptor) => ({ descriptor }))
})

interface Container {
  readonly id: string
  /** Of Docker's own snapshot between image and container, with which both are compared. */
  readonly init: string
  readonly number: number
}

const ours = Effect.fnUntraced(function* ({ id, init, number }: Container, { chainId: base }: RandomImage.RandomImage) {
  const { directory } = (yield* Engine).containerd
  const options = { differ: "host", compression: "uncompressed", stubs: "keep" } as const
  const { chainId, differ, layer, notCarried } = yield* Commit.commit({
    container: id,
    name: `ours:${number}`,
    ...options
  })
  assert.strictEqual(differ, "host")
  const snapshot = Option.getOrElse(chainId, () => base)
  return {
    notCarried,
    layer: yield* Differential.entriesOf(layer),
    applied: yield* Differential.readApplied(directory, init, layer),
    onBase: yield* Differential.readApplied(directory, base, layer),
    snapshot: yield* Differential.readCommitted(directory, snapshot)
  }
})

const theirs = Effect.fnUntraced(function* ({ id, init, number }: Container) {
  const { containerd, docker } = yield* Engine
  yield* docker(["commit", id, `theirs:${number}`])
  const layer = yield* topLayer(`theirs:${number}`)
  return {
    layer: yield* Differential.entriesOf(layer),
    applied: yield* Differential.readApplied(containerd.directory, init, layer)
  }
})

const judge = Judge.make("Docker Engine 28")

const compare = Effect.fnUntraced(function* (image: RandomImage.RandomImage, number: number) {
  const {
    containerd: { directory },
    docker
  } = yield* Engine
  const id = (yield* docker(["create", "--network", "none", image.ref])).trim()
  const snapshots = yield* Differential.snapshotter
  const mounts = yield* snapshots.mounts(id)
  const { parent: init } = yield* snapshots.stat(id)
  const done = yield* Differential.change(directory, mounts, random(number))
  const container = { id, init, number }
  judge.judge({
    name: String(number),
    parent: yield* Differential.readCommitted(directory, init),
    container: yield* Differential.read(directory, mounts),
    done,
    ours: yield* ours(container, image),
    theirs: yield* theirs(container)
  })
  yield* docker(["rm", id])
})

describeDaemons("the host differ beside docker commit", () => {
  layer(engine, { excludeTestServices: true })((it) => {
    it.effect(
      `loses nothing of ${changeSets} random changes of containers of a Docker Engine, and less than docker commit`,
      () =>
        Effect.gen(function* () {
          const { containerd, docker } = yield* Engine
          const image = RandomImage.write(containerd.directory, "docker.io/library/random:1", random(), layers)
          yield* docker(["load", "--input", image.archive])
          const numbers = Array.from({ length: changeSets }, (_, index) => index)
          yield* Effect.forEach(numbers, (number) => compare(image, number), { concurrency: 2, discard: true })
          judge.check()
        }).pipe(Leases.withLease({ id: "differential" })),
      300_000
    )
  })
})
