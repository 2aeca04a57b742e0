import { randomBytes, randomUUID } from "node:crypto"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, layer } from "@effect/vitest"
import { Effect, Layer, Option } from "effect"
import { Commit, Namespaces } from "effect-containerd"
import * as BaseImage from "../support/BaseImage.ts"
import * as Cli from "../support/Cli.ts"
import * as Container from "../support/Container.ts"
import { describeDaemons } from "../support/Daemons.ts"
import * as Host from "../support/Host.ts"

const namespace = "team"

interface Where {
  readonly snapshotter?: string
  readonly namespace?: string
}

/** An id of 64 digits, and a name in a label. nerdctl itself comes in no Debian package. */
const named = Effect.fnUntraced(function* (name: string, container: Where = {}) {
  const { base, containerd } = yield* Host.Host
  const id = randomBytes(32).toString("hex")
  const labels = { "nerdctl/name": name, "nerdctl/namespace": container.namespace ?? namespace }
  const flags = Object.entries(labels).flatMap(([key, value]) => ["--label", `${key}=${value}`])
  return yield* Container.run(containerd, { namespace, ...container, image: base.ref, id, flags })
})

const inTeam = Effect.provideService(Namespaces.CurrentNamespace, namespace)

const team = Layer.effectDiscard(
  Effect.gen(function* () {
    const { base, containerd } = yield* Host.Host
    yield* containerd.ctr(["namespaces", "create", namespace, "containerd.io/defaults/snapshotter=native"])
    for (const snapshotter of Host.snapshotters) {
      yield* BaseImage.importImage(containerd, base, { namespace, snapshotter })
    }
  })
)

/** What a new container of an image says, in the snapshotter that the namespace's label names. */
const fileOf = Effect.fnUntraced(function* ({ image }: Commit.Committed) {
  const { containerd } = yield* Host.Host
  return yield* Container.runOnce(containerd, { image: image.name, namespace, snapshotter: "native" }, "cat /file")
})

/** A container whose record names neither its snapshotter nor its snapshot, and the directory of its files. */
const withoutSnapshotter = Effect.fnUntraced(function* () {
  const { base, containerd } = yield* Host.Host
  const id = `bare-${randomUUID()}`
  const ctr = (...args: ReadonlyArray<string>) => containerd.ctr(args, { namespace })
  const snapshots = ["snapshots", "--snapshotter", "native"]
  yield* ctr(...snapshots, "prepare", id, base.manifests[0].layers[0]?.diffId ?? "")
  // `mount -t bind SOURCE TARGET -o rw,rbind`
  const [, , , root = ""] = (yield* ctr(...snapshots, "mounts", "/target", id)).split(" ")
  yield* Effect.acquireRelease(ctr("containers", "create", "--rootfs", root, id), () =>
    Effect.ignoreCause(ctr("containers", "rm", id))
  )
  return { id, root }
})

describeDaemons("containers recorded as nerdctl records them", () => {
  layer(Layer.provideMerge(team, Host.layer("2.x")), { excludeTestServices: true })((it) => {
    it.effect("are committed by their name in their namespace, by id, and by its start", () =>
      Effect.gen(function* () {
        const { containerd } = yield* Host.Host
        const web = yield* named("web", { snapshotter: "native" })
        yield* web.exec("echo web > /file")
        for (const [index, container] of ["web", web.id, web.id.slice(0, 12)].entries()) {
          const committed = yield* inTeam(Commit.commit({ container, name: `web:${index}` }))
          assert.strictEqual(committed.snapshotter, "native")
          assert.strictEqual(yield* fileOf(committed), "web\n")
        }
        const { exitCode, stderr } = yield* Cli.run(containerd, ["--namespace", namespace, "web", "web:cli"])
        assert.deepStrictEqual({ exitCode, stderr }, { exitCode: 0, stderr: "" })

        const elsewhere = yield* Effect.flip(Commit.commit({ container: "web" }))
        assert.strictEqual(elsewhere.reason._tag, "ContainerNotFound")
        assert.include(elsewhere.message, `in the namespace "default"; the namespaces here are: default, ${namespace}`)
        yield* named("web", { namespace: "default" })
        assert.isTrue(Option.isNone((yield* Commit.commit({ container: "web" })).layer))
        yield* named("web")
        const both = yield* Effect.flip(inTeam(Commit.commit({ container: "web" })))
        assert.match(both.message, /"web" could be any of the containers [0-9a-f]{64}, [0-9a-f]{64}: give more/)
      })
    )

    it.effect("are in the snapshotter of the namespace's label, where the record names none", () =>
      Effect.gen(function* () {
        const { base } = yield* Host.Host
        const bare = yield* withoutSnapshotter()
        writeFileSync(join(bare.root, "file"), "bare\n")
        const committed = yield* inTeam(Commit.commit({ container: bare.id, name: "bare:1", parent: base.ref }))
        assert.strictEqual(committed.snapshotter, "native")
        assert.strictEqual(yield* fileOf(committed), "bare\n")
      })
    )
  })
})
