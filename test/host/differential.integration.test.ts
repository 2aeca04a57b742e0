import { randomUUID } from "node:crypto"
import { assert, layer } from "@effect/vitest"
import { Effect, Layer, Option } from "effect"
import { Commit, Leases } from "effect-containerd"
import * as Connection from "effect-containerd/containerd/Connection"
import { services } from "effect-containerd/containerd/Wire"
import type * as Trees from "../layer/Trees.ts"
import { describeDaemons } from "../support/Daemons.ts"
import * as Host from "../support/Host.ts"
import * as Commits from "./Commits.ts"
import * as Differential from "./Differential.ts"
import * as Judge from "./Judge.ts"
import * as RandomImage from "./RandomImage.ts"

/** How many layers each base image has, and how many change sets stand on each. */
const bases = [1, 1, 2, 3]
const perBase = 52

interface Base extends RandomImage.RandomImage {
  readonly number: number
  readonly tree: Trees.Tree
}

const importBase = Effect.fnUntraced(function* (number: number, layers: number) {
  const { containerd } = yield* Host.Host
  const ref = `localhost/random:${number}`
  const image = RandomImage.write(containerd.directory, ref, Differential.randomOf(number), layers)
  yield* containerd.ctr(["images", "import", "--local", "--snapshotter", "overlayfs", image.archive])
  const tree = yield* Differential.readCommitted(containerd.directory, image.chainId)
  return { ...image, number, tree } satisfies Base
})

/** A container without a task: a record and an active snapshot, which `ctr` takes far longer to make. */
const container = Effect.fnUntraced(function* ({ chainId, ref: image }: Base) {
  const id = `random-${randomUUID()}`
  const { mounts } = yield* (yield* Differential.snapshotter).prepare({ key: id, parent: chainId })
  const { unary } = yield* Connection.Connection
  const { Create, Delete } = services().containers
  const spec = Buffer.from(JSON.stringify({ ociVersion: "1.0.2", process: { args: ["none"] } }))
  const record = {
    ...{ id, image, snapshotter: "overlayfs", snapshotKey: id },
    runtime: { name: "io.containerd.runc.v2", options: { type_url: "", value: Buffer.alloc(0) } },
    spec: { type_url: "types.containerd.io/opencontainers/runtime-spec/1/Spec", value: spec }
  }
  yield* Effect.acquireRelease(unary(Create, { container: record }), () => Effect.ignoreCause(unary(Delete, { id })))
  return { id, mounts }
})

/** How many of the host's commits have copied what has changed, and how many have read it into memory. */
const ways = { copied: 0, read: 0 }

const commit = Effect.fnUntraced(function* (id: string, base: Base, differ: "containerd" | "host") {
  const { containerd } = yield* Host.Host
  const options = { container: id, name: id, differ, compression: "uncompressed" } as const
  const [committed, copies] = yield* Commits.counting(Commit.commit(options))
  assert.strictEqual(committed.differ, differ)
  if (differ === "host") ways[copies === 0 ? "read" : "copied"]++
  const snapshot = Option.getOrElse(committed.chainId, () => base.chainId)
  return {
    notCarried: committed.notCarried,
    layer: yield* Differential.entriesOf(committed.layer),
    applied: yield* Differential.readApplied(containerd.directory, base.chainId, committed.layer),
    snapshot: yield* Differential.readCommitted(containerd.directory, snapshot)
  }
})

const judge = Judge.make("containerd 2.x")

const holding = (...numbers: ReadonlyArray<number>) => Leases.withLease({ id: `differential-${numbers.join("-")}` })

const compare = Effect.fnUntraced(function* (base: Base, number: number) {
  const { directory } = (yield* Host.Host).containerd
  const { id, mounts } = yield* container(base)
  const done = yield* Differential.change(directory, mounts, Differential.randomOf(base.number, number))
  judge.judge({
    name: `${base.number}/${number}`,
    parent: base.tree,
    container: yield* Differential.read(directory, mounts),
    done,
    ours: yield* commit(id, base, "host"),
    theirs: yield* commit(id, base, "containerd")
  })
}, Effect.scoped)

describeDaemons("the host differ beside containerd's", () => {
  const connection = Layer.unwrap(
    Effect.map(Host.Host, ({ containerd: { address } }) =>
      Connection.layer({ address, namespace: "default", timeout: "10 seconds" })
    )
  )
  layer(Layer.provideMerge(connection, Host.layer("2.x")), { excludeTestServices: true })((it) => {
    for (const [number, layers] of bases.entries()) {
      it.effect(
        `loses nothing of ${perBase} random changes of a random image of ${layers} layers (law 4: nor does its snapshot)`,
        () =>
          Effect.gen(function* () {
            const base = yield* holding(number)(importBase(number, layers))
            const numbers = Array.from({ length: perBase }, (_, index) => index)
            yield* Effect.forEach(numbers, (one) => holding(number, one)(compare(base, one)), {
              concurrency: 4,
              discard: true
            })
          }),
        300_000
      )
    }

    it.effect("loses less than containerd's, by docs/differential.md", () =>
      Effect.sync(() => {
        assert.isAtLeast(judge.changeSets(), 200)
        assert.isAbove(Math.min(ways.copied, ways.read), 40, JSON.stringify(ways))
        judge.check()
      })
    )
  })
})
