import { assert, layer } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { type Containerd as Client, Commit, Kubernetes } from "effect-containerd"
import * as BaseImage from "../support/BaseImage.ts"
import * as Container from "../support/Container.ts"
import * as Containerd from "../support/Containerd.ts"
import { describeDaemons } from "../support/Daemons.ts"
import type { DaemonError } from "../support/Process.ts"

class Node extends Context.Service<
  Node,
  { readonly containerd: Containerd.RunningContainerd; readonly base: BaseImage.BaseImage }
>()("test/Node") {}

const namespace = "k8s.io"

const make = Effect.gen(function* () {
  const containerd = yield* Containerd.start("2.x")
  const base = yield* BaseImage.busybox()
  yield* BaseImage.importImage(containerd, base, { namespace })
  return { containerd, base }
})

const node: Layer.Layer<Node | Client.Services, DaemonError> = Layer.unwrap(
  Effect.map(Node, ({ containerd: { address } }) => Kubernetes.layer({ address }))
).pipe(Layer.provideMerge(Layer.effect(Node, make)))

/** A container as the CRI plugin records one. */
const pod = Effect.fnUntraced(function* (kind: string, podName: string, name: string) {
  const { base, containerd } = yield* Node
  const labels = {
    "io.cri-containerd.kind": kind,
    "io.kubernetes.pod.name": podName,
    "io.kubernetes.pod.namespace": "default",
    "io.kubernetes.container.name": name
  }
  const flags = Object.entries(labels).flatMap(([key, value]) => ["--label", `${key}=${value}`])
  return yield* Container.run(containerd, { image: base.ref, namespace, flags })
})

const message = (wanted: Kubernetes.PodContainer) =>
  Effect.map(Effect.flip(Kubernetes.find(wanted)), (error) => error.message)

describeDaemons("containers of pods", () => {
  layer(node, { excludeTestServices: true })((it) => {
    it.effect("are found by pod and name, and committed", () =>
      Effect.gen(function* () {
        const { containerd } = yield* Node
        yield* pod("sandbox", "web", "")
        const app = yield* pod("container", "web", "app")
        assert.strictEqual((yield* Kubernetes.find({ pod: "web" })).id, app.id)
        yield* app.exec("echo one > /one")
        const { id } = yield* Kubernetes.find({ pod: "web", podNamespace: "default", container: "app" })
        const committed = yield* Commit.commit({ container: id, name: "app:saved" })
        assert.strictEqual(committed.image.name, "docker.io/library/app:saved")
        const said = yield* Container.runOnce(containerd, { image: committed.image.name, namespace }, "cat /one")
        assert.strictEqual(said, "one\n")

        const sidecar = yield* pod("container", "web", "sidecar")
        assert.match(yield* message({ pod: "web" }), /default\/web has the containers app, sidecar: name one/)
        assert.strictEqual((yield* Kubernetes.find({ pod: "web", container: "sidecar" })).id, sidecar.id)
      })
    )

    it.effect("after restarts: the one that runs, else the newest", () =>
      Effect.gen(function* () {
        const first = yield* pod("container", "restarted", "app")
        const second = yield* pod("container", "restarted", "app")
        const found = Effect.map(Kubernetes.find({ pod: "restarted" }), ({ id }) => id)
        yield* second.stop
        assert.strictEqual(yield* found, first.id)
        yield* first.stop
        assert.strictEqual(yield* found, second.id)
      })
    )

    it.effect("that are not there are said to be missing on this node, and a sandbox is no container", () =>
      Effect.gen(function* () {
        const sandbox = yield* pod("sandbox", "empty", "")
        assert.match(yield* message({ pod: "empty" }), /no container of the pod default\/empty on this node/)
        const wanted = { pod: "empty", podNamespace: "other", container: "app" }
        assert.match(yield* message(wanted), /no container "app" of the pod other\/empty/)
        const refused = yield* Effect.flip(Commit.commit({ container: sandbox.id }))
        assert.strictEqual(refused.reason._tag, "Uncommittable")
      })
    )
  })
})
