import { assert, layer } from "@effect/vitest"
import { Context, Effect, Layer, Option } from "effect"
import { type Containerd as Client, Commit, Kubernetes } from "effect-containerd"
import * as Cli from "../support/Cli.ts"
import { type Version, versions } from "../support/Containerd.ts"
import * as Cri from "../support/Cri.ts"
import { describeDaemons } from "../support/Daemons.ts"
import * as Inventory from "../support/Inventory.ts"
import { type DaemonError, sleep } from "../support/Process.ts"
import * as Tree from "../support/Tree.ts"

class Node extends Context.Service<Node, Cri.Cri>()("test/CriNode") {}

const node = (version: Version): Layer.Layer<Node | Client.Services, DaemonError> =>
  Layer.unwrap(Effect.map(Node, ({ containerd: { address } }) => Kubernetes.layer({ address }))).pipe(
    Layer.provideMerge(Layer.effect(Node, Cri.start(version)))
  )

const namespace = "k8s.io"
const managed = "io.cri-containerd.image=managed"

const inventory = Effect.flatMap(Node, ({ containerd }) => Inventory.take(containerd, namespace))

/** Digest and labels of a record, as `ctr` lists them. */
const record = Effect.fnUntraced(function* (name: string) {
  const { containerd } = yield* Node
  const table = yield* containerd.ctr(["images", "ls", `name==${JSON.stringify(name)}`], { namespace })
  const columns = (table.split("\n")[1] ?? "").trim().split(/\s+/)
  return { digest: columns[2], labels: columns.at(-1) }
})

/** CRI hears of an image after it is there. What it cannot read then it tries again, one second later or more. */
const untilKnown = Effect.fnUntraced(function* (name: string, { digest }: Commit.Committed["config"]) {
  const cri = yield* Node
  while ((yield* cri.imageStatus(name))?.id !== digest) yield* sleep(10)
  assert.notMatch(yield* cri.containerd.log, /[Ff]ailed to handle (backOff )?event/)
})

const idOf = (wanted: Kubernetes.PodContainer) => Effect.map(Kubernetes.find(wanted), ({ id }) => id)

/** The files of the image below a directory. */
const filesBelow = Effect.fnUntraced(function* ({ chainId }: Commit.Committed, directory: string) {
  const { containerd } = yield* Node
  const key = Option.getOrThrow(chainId)
  const tree = yield* Tree.ofSnapshot(containerd, { snapshotter: "overlayfs", key, namespace })
  return tree.map(({ path }) => path).filter((path) => path.startsWith(`${directory}/`))
})

const isKnownAndRuns = Effect.gen(function* () {
  const cri = yield* Node
  const pod = yield* cri.pod("web", "shop")
  const app = yield* pod.run({ name: "app", image: cri.base.ref })
  const sidecar = yield* pod.run({ name: "sidecar", image: cri.base.ref })
  const other = yield* Effect.flatMap(cri.pod("web"), ({ run }) => run({ name: "app", image: cri.base.ref }))
  yield* app.exec("echo one > /one && rm /data/delete.txt")
  const before = yield* inventory

  const wanted = { pod: "web", podNamespace: "shop", container: "app" }
  const wanteds = [wanted, { ...wanted, container: "sidecar" }, { pod: "web" }]
  assert.deepStrictEqual(yield* Effect.forEach(wanteds, idOf), [app.id, sidecar.id, other.id])
  const committed = yield* Commit.commit({ container: app.id, name: "app:saved", labels: { team: "a" } })
  const { config, image } = committed
  assert.strictEqual(image.name, "docker.io/library/app:saved")
  // Its hosts, hostname and resolv.conf are what CRI mounts.
  assert.deepStrictEqual(yield* filesBelow(committed, "/etc"), ["/etc/group", "/etc/passwd"])

  yield* untilKnown("app:saved", config)
  const listed = yield* cri.images
  assert.deepInclude(listed, { id: config.digest, repoTags: [image.name] })
  const { digest } = image.target
  assert.deepStrictEqual(yield* record(image.name), { digest, labels: `${managed},team=a` })
  assert.deepStrictEqual(yield* record(config.digest), { digest, labels: managed })

  const saved = yield* pod.run({ name: "saved", image: image.name })
  assert.strictEqual(yield* saved.exec("cat /one; ls /data"), "one\nchange.txt\ndir\nkeep.txt\nopaque\n")
  yield* saved.stop
  yield* saved.remove
  yield* cri.removeImage(image.name)
  assert.deepStrictEqual(yield* inventory, before)
}).pipe(Effect.scoped)

const commitAgain = Effect.fnUntraced(function* ({ exec, id }: Cri.Container, parent?: string) {
  yield* exec("echo more >> /file")
  const { config } = yield* Commit.commit({ container: id, name: "app:again", parent })
  yield* untilKnown("app:again", config)
  return config.digest
})

const takesOverAName = Effect.gen(function* () {
  const cri = yield* Node
  const pod = yield* cri.pod("again")
  const app = yield* pod.run({ name: "app", image: cri.base.ref })
  const before = yield* inventory
  const [first, second] = [yield* commitAgain(app), yield* commitAgain(app)]
  const listed = yield* cri.images
  assert.deepInclude(listed, { id: second, repoTags: ["docker.io/library/app:again"] })
  // The kubelet collects it, as any image that lost its name.
  assert.deepInclude(listed, { id: first, repoTags: [] })

  // A container whose own image loses the name: CRI keeps that under its id.
  const next = yield* pod.run({ name: "next", image: "app:again" })
  const third = yield* commitAgain(next)
  const refused = yield* Effect.flip(Commit.commit({ container: next.id }))
  assert.match(refused.message, /the name was given to another image since\): name the right one as the parent/)
  const fourth = yield* commitAgain(next, second)
  const last = yield* pod.run({ name: "last", image: "app:again" })
  assert.strictEqual(yield* last.exec("cat /file"), "more\nmore\nmore\nmore\n")
  for (const one of [next, last]) yield* Effect.andThen(one.stop, one.remove)
  for (const id of [first, second, third, fourth]) yield* cri.removeImage(id)
  assert.deepStrictEqual(yield* inventory, before)
}).pipe(Effect.scoped)

const isChosenAfterRestarts = Effect.gen(function* () {
  const cri = yield* Node
  const pod = yield* cri.pod("restarted")
  const run = (attempt: number) => pod.run({ name: "app", image: cri.base.ref, attempt })
  const first = yield* run(0)
  yield* first.exec("echo 0 > /attempt")
  yield* first.stop
  const second = yield* run(1)
  yield* second.exec("echo 1 > /attempt")
  const found = idOf({ pod: "restarted" })
  assert.strictEqual(yield* found, second.id)
  const third = yield* run(2)
  yield* third.stop
  assert.strictEqual(yield* found, second.id, "the one that runs")
  yield* second.stop
  assert.strictEqual(yield* found, third.id, "the newest")
  yield* third.remove
  const committed = yield* Commit.commit({ container: yield* found, name: "attempt:1" })
  yield* untilKnown("attempt:1", committed.config)
  const next = yield* pod.run({ name: "next", image: committed.image.name })
  assert.strictEqual(yield* next.exec("cat /attempt"), "1\n")
}).pipe(Effect.scoped)

const refusesSandboxes = Effect.gen(function* () {
  const cri = yield* Node
  const pod = yield* cri.pod("empty")
  const missing = yield* Effect.flip(Kubernetes.find({ pod: "empty" }))
  assert.match(missing.message, /no container of the pod default\/empty on this node/)
  const before = yield* inventory
  const refused = yield* Effect.flip(Commit.commit({ container: pod.id, name: "sandbox:1" }))
  assert.strictEqual(refused.reason._tag, "Uncommittable")
  assert.include(refused.message, `${pod.id} is the sandbox of a pod`)
  assert.deepStrictEqual(yield* inventory, before)
}).pipe(Effect.scoped)

const isCommittedByTheCli = Effect.gen(function* () {
  const cri = yield* Node
  const pod = yield* cri.pod("cli", "shop")
  const app = yield* pod.run({ name: "app", image: cri.base.ref })
  yield* app.exec("echo cli > /cli")
  const args = ["--pod", "cli", "--pod-namespace", "shop", "app", "cli:1"]
  const { exitCode, stderr, stdout } = yield* Cli.run(cri.containerd, args)
  assert.deepStrictEqual({ exitCode, stderr }, { exitCode: 0, stderr: "" })
  assert.match(stdout, /^docker\.io\/library\/cli:1\n/)
  const next = yield* pod.run({ name: "next", image: "cli:1" })
  assert.strictEqual(yield* next.exec("cat /cli"), "cli\n")
}).pipe(Effect.scoped)

for (const version of versions) {
  describeDaemons(`containers that the CRI plugin of containerd ${version} made`, () => {
    layer(node(version), { excludeTestServices: true })((it) => {
      it.effect(
        "are found and committed; CRI knows the image at once, runs it, and removes all of it",
        () => isKnownAndRuns
      )
      it.effect("are committed again under the same name", () => takesOverAName)
      it.effect("are chosen after restarts: the one that runs, else the newest", () => isChosenAfterRestarts)
      it.effect("are none where a pod has only its sandbox, which is refused", () => refusesSandboxes)
      it.effect("are committed by examples/commit.ts --pod", () => isCommittedByTheCli)
    })
  })
}
