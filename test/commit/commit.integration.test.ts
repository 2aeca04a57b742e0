import { copyFileSync, mkdirSync } from "node:fs"
import { assert, layer } from "@effect/vitest"
import { Effect, Fiber, Layer, Option } from "effect"
import { Commit, Images, Leases } from "effect-containerd"
import * as BaseImage from "../support/BaseImage.ts"
import * as Cache from "../support/Cache.ts"
import * as Container from "../support/Container.ts"
import { versions } from "../support/Containerd.ts"
import { describeDaemons } from "../support/Daemons.ts"
import * as Host from "../support/Host.ts"
import * as ImageJson from "../support/ImageJson.ts"
import * as Inventory from "../support/Inventory.ts"
import { run, sleep } from "../support/Process.ts"
import * as ScratchContainer from "../support/ScratchContainer.ts"
import * as Tree from "../support/Tree.ts"

/** Everything that a layer has a form for. Runs in the container. */
const everyChange = `
echo changed > /data/change.txt
rm /data/delete.txt
touch /data/empty
mkdir -p /data/new/deep/er && echo x > /data/new/deep/er/file
rm -rf /data/opaque && mkdir /data/opaque && echo other > /data/opaque/c
rm -rf /data/dir && echo file > /data/dir
rm /data/keep.txt && mkdir /data/keep.txt && echo in > /data/keep.txt/in
echo linked > /data/one && ln /data/one /data/two && ln /data/one /data/new/three
ln -s ../nowhere /data/dangling && ln -s /data/one /data/symlink
echo s > /data/setuid && chmod 4755 /data/setuid && mkdir /data/sticky && chmod 1777 /data/sticky
echo o > /data/owned && chown 1234:5678 /data/owned && chown -h 7:8 /data/dangling
chmod 0600 /etc/passwd
mknod /data/char c 1 3 && mknod /data/block b 7 9 && mkfifo /data/fifo
echo l > /data/$(printf 'n%.0s' $(seq 200))
echo u > "/data/ünïcödé 文件 name"
mkdir -p /data/$(printf 'd%.0s' $(seq 100))/$(printf 'e%.0s' $(seq 100)) && echo p > /data/$(printf 'd%.0s' $(seq 100))/$(printf 'e%.0s' $(seq 100))/p
touch -d '2001-02-03 04:05:06' /data/owned
`

/** The differ writes no entry for the root directory, so its time is the snapshotter's. */
const belowRoot = (tree: ReadonlyArray<Tree.TreeEntry>) => tree.filter(({ path }) => path !== "/")

const ways = versions.flatMap((version) => (["auto", "containerd"] as const).map((differ) => ({ differ, version })))

for (const { differ, version } of ways) {
  describeDaemons(`commit on containerd ${version}, differ ${differ}`, () => {
    const services = Layer.merge(Host.layer(version), Layer.succeed(Commit.DefaultDiffer, differ))
    layer(services, { excludeTestServices: true })((it) => {
      const cases = Host.snapshotters.map((snapshotter) => [snapshotter] as const)

      it.effect.each(cases)(
        "keeps every kind of change of a running container; moby TestCommitNewFile, umoci repack.bats (%s)",
        ([snapshotter]) =>
          Effect.gen(function* () {
            const { base, containerd } = yield* Host.Host
            const container = yield* Container.run(containerd, { image: base.ref, snapshotter })
            yield* container.exec(everyChange)
            // cap_net_raw+ep as revision 2; busybox has no setcap.
            const capability = ["-n", "security.capability", "-v", `0x010000020020${"00".repeat(14)}`]
            yield* run(Cache.program("attr", "setfattr"), [...capability, `${yield* container.root}/data/owned`])
            const committed = yield* Commit.commit({ container: container.id, name: `every:${snapshotter}` })
            assert.strictEqual(yield* container.status, "RUNNING")
            assert.isAbove(committed.pausedMs, 0)
            assert.strictEqual(committed.snapshotter, snapshotter)

            // The native snapshotter gives the directories of its copies the time of the copy.
            const options = { mtime: "seconds", directoryMtime: snapshotter !== "native" } as const
            const key = Option.getOrThrow(committed.chainId)
            assert.deepStrictEqual(
              belowRoot(yield* Tree.ofSnapshot(containerd, { snapshotter, key }, options)),
              belowRoot(yield* container.tree(options))
            )

            assert.deepInclude(
              (yield* Tree.ofSnapshot(containerd, { snapshotter, key }, options)).find(
                ({ path }) => path === "/data/owned"
              )?.xattrs,
              { "security.capability": `0x010000020020${"00".repeat(14)}` }
            )

            // Law 4: what anybody makes of the image's blobs is what our snapshot holds.
            const other = snapshotter === "native" ? "overlayfs" : "native"
            const said = yield* Container.runOnce(
              containerd,
              { image: committed.image.name, snapshotter: other },
              "cat /data/change.txt /data/opaque/c /data/dir; ls /data/opaque"
            )
            assert.strictEqual(said, "changed\nother\nfile\nc\n")
            const withoutDirectories = { mtime: "seconds", directoryMtime: false } as const
            assert.deepStrictEqual(
              yield* Tree.ofSnapshot(containerd, { snapshotter: other, key }, withoutDirectories),
              yield* container.tree(withoutDirectories)
            )
          })
      )

      it.effect.each(cases)(
        "commits created, stopped, paused and unpaused containers; moby TestCommitWithoutPause, TestCommitPausedContainer (%s)",
        ([snapshotter]) =>
          Effect.gen(function* () {
            const { base, containerd } = yield* Host.Host
            const container = yield* Container.create(containerd, { image: base.ref, snapshotter })
            const created = yield* Commit.commit({ container: container.id })
            assert.deepStrictEqual(created.layer, Option.none())
            assert.strictEqual(created.pausedMs, 0)

            yield* container.start
            yield* container.exec("echo one > /one")
            yield* container.pause
            const paused = yield* Commit.commit({ container: container.id })
            assert.strictEqual(paused.pausedMs, 0)
            assert.strictEqual(yield* container.status, "PAUSED")

            yield* container.resume
            const running = yield* Commit.commit({ container: container.id, pause: false })
            assert.strictEqual(running.pausedMs, 0)
            assert.strictEqual(yield* container.status, "RUNNING")

            yield* container.stop
            const stopped = yield* Commit.commit({ container: container.id })
            const diffId = Option.map(stopped.layer, (layer) => layer.diffId)
            assert.isTrue(Option.isSome(diffId))
            for (const other of [paused, running]) {
              assert.deepStrictEqual(
                Option.map(other.layer, (layer) => layer.diffId),
                diffId
              )
            }
          })
      )

      it.effect.each(cases)("adds no layer when nothing changed (%s)", ([snapshotter]) =>
        Effect.gen(function* () {
          const { base, containerd } = yield* Host.Host
          const container = yield* Container.create(containerd, { image: base.ref, snapshotter })
          for (const compression of ["gzip", "uncompressed"] as const) {
            const committed = yield* Commit.commit({
              container: container.id,
              name: `same:${compression}`,
              compression
            })
            assert.deepStrictEqual(committed.layer, Option.none())
            const config = yield* ImageJson.config(containerd, committed.config.digest)
            assert.deepStrictEqual(
              config.rootfs.diff_ids,
              base.manifests[0].layers.map(({ diffId }) => diffId)
            )
            assert.isTrue(config.history.at(-1)?.empty_layer)
            const said = yield* Container.runOnce(containerd, { image: committed.image.name, snapshotter }, "echo runs")
            assert.strictEqual(said, "runs\n")
          }
        })
      )

      it.effect.each(cases)("commits a container without an image (%s)", ([snapshotter]) =>
        Effect.gen(function* () {
          const { containerd } = yield* Host.Host
          const container = yield* ScratchContainer.create(containerd, snapshotter)
          const empty = yield* Commit.commit({ container: container.id })
          assert.deepStrictEqual(
            [empty.layer, empty.chainId, empty.parent],
            [Option.none(), Option.none(), Option.none()]
          )
          assert.deepStrictEqual((yield* ImageJson.manifest(containerd, empty.image.target.digest)).layers, [])

          mkdirSync(`${container.root}/bin`)
          copyFileSync(Cache.program("busybox", "busybox"), `${container.root}/bin/sh`)
          const committed = yield* Commit.commit({ container: container.id, name: `scratch:${snapshotter}` })
          const { architecture, history, os, rootfs } = yield* ImageJson.config(containerd, committed.config.digest)
          assert.deepStrictEqual({ architecture, os }, BaseImage.hostPlatform)
          assert.lengthOf(rootfs.diff_ids, 1)
          assert.deepStrictEqual(
            history.map((entry) => entry.created_by),
            ["sh"]
          )
          const said = yield* Container.runOnce(
            containerd,
            { image: committed.image.name, snapshotter },
            "echo from scratch"
          )
          assert.strictEqual(said, "from scratch\n")
        })
      )

      it.effect(
        "writes config and history as moby does; moby history_test.go, inspect_test.go, podman and buildah author and message",
        () =>
          Effect.gen(function* () {
            const { base, containerd } = yield* Host.Host
            const container = yield* Container.run(containerd, { image: base.ref, args: ["sleep", "1000"] })
            yield* container.exec("echo one > /one")
            const first = yield* Commit.commit({
              container: container.id,
              name: "history:1",
              author: "A <a@example.org>",
              message: "the <first> & only",
              created: "2024-05-06T07:08:09.123456789Z"
            })
            const parent = yield* ImageJson.config(containerd, base.manifests[0].config.digest)
            const config = yield* ImageJson.config(containerd, first.config.digest)
            assert.strictEqual(config.created, "2024-05-06T07:08:09.123456789Z")
            assert.strictEqual(config.author, "A <a@example.org>")
            assert.deepStrictEqual(config.config, parent.config)
            assert.deepStrictEqual(config.history.at(-1), {
              created: "2024-05-06T07:08:09.123456789Z",
              created_by: "sleep 1000",
              author: "A <a@example.org>",
              comment: "the <first> & only"
            })

            // The author goes on to the children; the time is now, in UTC.
            const child = yield* Container.create(containerd, { image: first.image.name })
            const second = yield* Commit.commit({ container: child.id })
            const inherited = yield* ImageJson.config(containerd, second.config.digest)
            assert.strictEqual(inherited.author, "A <a@example.org>")
            assert.match(inherited.created ?? "", /^\d{4}-.*Z$/)
            assert.approximately(Date.parse(inherited.created ?? ""), Date.now(), 60_000)
            assert.strictEqual(second.image.name, `moby-dangling@${second.image.target.digest}`)
          })
      )

      it.effect("gives the same digests for the same state and time, and a retry is free", () =>
        Effect.gen(function* () {
          const { base, containerd } = yield* Host.Host
          const container = yield* Container.run(containerd, { image: base.ref })
          yield* container.exec("echo one > /one; echo two > /data/change.txt; rm /data/delete.txt")
          const commit = Commit.commit({ container: container.id, name: "retry:1", created: "2024-05-06T07:08:09Z" })
          const first = yield* commit
          // Differs before 2.0 put the time of the run on what was deleted.
          yield* sleep(1100)
          const second = yield* commit
          assert.deepStrictEqual(second.image, first.image)
          assert.deepStrictEqual(second.layer, first.layer)
          assert.deepStrictEqual(second.replaced, [])
          yield* Inventory.collectGarbage(containerd)
          assert.strictEqual(yield* Container.runOnce(containerd, { image: first.image.name }, "cat /one"), "one\n")
        })
      )

      it.effect("survives a full collection right after, even without container and parent", () =>
        Effect.gen(function* () {
          const { containerd } = yield* Host.Host
          const own = yield* BaseImage.busybox({ ref: "localhost/own:1", config: { Labels: { own: version } } })
          yield* BaseImage.importImage(containerd, own)
          const committed = yield* Effect.scoped(
            Effect.gen(function* () {
              const container = yield* Container.run(containerd, { image: own.ref })
              yield* container.exec("echo kept > /kept")
              return yield* Commit.commit({ container: container.id, name: "kept:1" })
            })
          )
          yield* containerd.ctr(["images", "rm", "--sync", own.ref])
          yield* Inventory.collectGarbage(containerd)
          assert.strictEqual(
            yield* Container.runOnce(containerd, { image: committed.image.name }, "cat /kept"),
            "kept\n"
          )
        })
      )

      it.effect("chooses the manifest of an index by what the container stands on, or by --platform", () =>
        Effect.gen(function* () {
          const { containerd } = yield* Host.Host
          const foreign = { os: "linux", architecture: "s390x" }
          const index = yield* BaseImage.busybox({
            ref: "localhost/index:1",
            platforms: [foreign, BaseImage.hostPlatform],
            config: { Labels: { index: version } }
          })
          yield* BaseImage.importImage(containerd, index)
          const container = yield* Container.run(containerd, { image: index.ref })
          yield* container.exec("echo one > /one")
          const committed = yield* Commit.commit({ container: container.id, name: "platform:host" })
          const host = yield* ImageJson.config(containerd, committed.config.digest)
          assert.strictEqual(host.architecture, BaseImage.hostPlatform.architecture)

          const other = yield* Commit.commit({ container: container.id, platform: "linux/s390x" })
          assert.strictEqual((yield* ImageJson.config(containerd, other.config.digest)).architecture, "s390x")

          const error = yield* Effect.flip(Commit.commit({ container: container.id, platform: "linux/riscv64" }))
          assert.strictEqual(error.reason._tag, "ParentNotFound")
        })
      )

      it.effect("refuses a parent with missing blobs, and goes on when told so", () =>
        Effect.gen(function* () {
          const { containerd } = yield* Host.Host
          const torn = yield* BaseImage.busybox({
            ref: "localhost/torn:1",
            layers: [[{ name: "torn", size: version.length, body: version }]]
          })
          yield* BaseImage.importImage(containerd, torn)
          const container = yield* Container.run(containerd, { image: torn.ref })
          yield* container.exec("echo one > /one")
          const missing = torn.manifests[0].layers.at(-1)?.digest ?? ""
          yield* containerd.ctr(["content", "rm", missing])
          const before = yield* Inventory.take(containerd)
          const error = yield* Effect.flip(Commit.commit({ container: container.id, name: "torn:2" }))
          assert.deepInclude(error.reason, { _tag: "ParentIncomplete", missing: [missing] })
          assert.include(error.message, missing)
          assert.deepStrictEqual(yield* Inventory.take(containerd), before)
          assert.strictEqual(yield* container.status, "RUNNING")

          const committed = yield* Commit.commit({ container: container.id, name: "torn:2", allowMissingParents: true })
          assert.strictEqual(yield* Container.runOnce(containerd, { image: committed.image.name }, "cat /one"), "one\n")
        })
      )

      it.effect("holds the parent while the commit lasts, whoever removes it meanwhile (law 6)", () =>
        Effect.gen(function* () {
          const { containerd } = yield* Host.Host
          const taken = yield* BaseImage.busybox({ ref: "localhost/taken:1", config: { Labels: { taken: version } } })
          yield* BaseImage.importImage(containerd, taken)
          const container = yield* Container.run(containerd, { image: taken.ref })
          yield* container.exec("echo one > /one")
          // The container is about to be frozen: its parent has been read.
          const removeParent = Effect.orDie(containerd.ctr(["images", "rm", "--sync", taken.ref]))
          const committed = yield* Commit.commit({ container: container.id, name: "taken:2" }).pipe(
            Effect.provideService(Commit.Progress, (event) =>
              event._tag === "StepStarted" && event.step === "pause" ? Effect.asVoid(removeParent) : Effect.void
            )
          )
          yield* Inventory.collectGarbage(containerd)
          const said = yield* Container.runOnce(
            containerd,
            { image: committed.image.name, snapshotter: "native" },
            "cat /one"
          )
          assert.strictEqual(said, "one\n")
        })
      )

      it.effect("refuses an image that the container was not made from", () =>
        Effect.gen(function* () {
          const { base, containerd } = yield* Host.Host
          const container = yield* Container.run(containerd, { image: base.ref })
          const other = yield* BaseImage.busybox({
            ref: "localhost/other:1",
            layers: [[{ name: "other", size: version.length, body: version }]]
          })
          yield* BaseImage.importImage(containerd, other)
          const error = yield* Effect.flip(Commit.commit({ container: container.id, parent: other.ref }))
          assert.strictEqual(error.reason._tag, "ParentMismatch")
        })
      )

      it.effect("replaces a name without a moment in which it is gone", () =>
        Effect.gen(function* () {
          const { base, containerd } = yield* Host.Host
          const images = yield* Images.Images
          const container = yield* Container.run(containerd, { image: base.ref })
          const commit = Effect.fnUntraced(function* (text: string, keepReplaced: boolean) {
            yield* container.exec(`echo ${text} > /text`)
            return yield* Commit.commit({ container: container.id, name: "replaced", keepReplaced })
          })
          const first = yield* commit("first", false)
          const watcher = yield* Effect.forkChild(
            Effect.forever(Effect.andThen(images.get("docker.io/library/replaced:latest"), Effect.sleep(1)))
          )
          const second = yield* commit("second", false)
          const third = yield* commit("third", true)
          assert.isUndefined(watcher.pollUnsafe(), "the name was gone at some moment")
          yield* Fiber.interrupt(watcher)

          assert.deepStrictEqual(second.replaced, [first.image])
          assert.deepStrictEqual(third.replaced, [second.image])
          yield* Inventory.collectGarbage(containerd)
          const kept = yield* images.get(`moby-dangling@${second.image.target.digest}`)
          assert.strictEqual(yield* Container.runOnce(containerd, { image: kept.name }, "cat /text"), "second\n")
          assert.strictEqual(yield* Container.runOnce(containerd, { image: third.image.name }, "cat /text"), "third\n")
        })
      )

      it.effect("writes zstd where the differ can, and says so where it cannot", () =>
        Effect.gen(function* () {
          const { base, containerd } = yield* Host.Host
          const container = yield* Container.run(containerd, { image: base.ref })
          yield* container.exec("echo one > /one")
          const before = yield* Inventory.take(containerd)
          const result = yield* Effect.result(
            Commit.commit({ container: container.id, name: "zstd:1", compression: "zstd" })
          )
          if (result._tag === "Failure") {
            assert.notStrictEqual(version, "2.x")
            assert.strictEqual(differ, "containerd")
            assert.strictEqual(result.failure.reason._tag, "UnsupportedCompression")
            assert.match(result.failure.message, /containerd 1\.[67].*use gzip or uncompressed/)
            assert.deepStrictEqual(yield* Inventory.take(containerd), before)
            return
          }
          assert.isTrue(version === "2.x" || differ === "auto")
          const manifest = yield* ImageJson.manifest(containerd, result.success.image.target.digest)
          assert.strictEqual(manifest.layers.at(-1)?.mediaType, "application/vnd.oci.image.layer.v1.tar+zstd")
          assert.strictEqual(
            yield* Container.runOnce(containerd, { image: "docker.io/library/zstd:1" }, "cat /one"),
            "one\n"
          )
        })
      )

      it.effect.each([["gzip"], ["uncompressed"]] as const)("keeps Docker's media types (%s)", ([compression]) =>
        Effect.gen(function* () {
          const { containerd } = yield* Host.Host
          const docker = yield* BaseImage.busybox({ ref: "localhost/docker:1", mediaTypes: "docker" })
          yield* BaseImage.importImage(containerd, docker)
          const container = yield* Container.run(containerd, { image: docker.ref })
          yield* container.exec("echo one > /one")
          const committed = yield* Commit.commit({
            container: container.id,
            name: `docker:${compression}`,
            compression
          })
          const manifest = yield* ImageJson.manifest(containerd, committed.image.target.digest)
          const suffix = compression === "gzip" ? "tar.gzip" : "tar"
          assert.strictEqual(manifest.mediaType, "application/vnd.docker.distribution.manifest.v2+json")
          assert.strictEqual(manifest.config.mediaType, "application/vnd.docker.container.image.v1+json")
          assert.strictEqual(manifest.layers.at(-1)?.mediaType, `application/vnd.docker.image.rootfs.diff.${suffix}`)
          // Unpacked from the blobs, to see that containerd takes them.
          const said = yield* Container.runOnce(
            containerd,
            { image: committed.image.name, snapshotter: "native" },
            "cat /one"
          )
          assert.strictEqual(said, "one\n")
        })
      )

      it.effect("maps ids by the tar headers, and names the path of an id that it cannot map", () =>
        Effect.gen(function* () {
          const { base, containerd } = yield* Host.Host
          const container = yield* Container.run(containerd, { image: base.ref })
          yield* container.exec("echo m > /mapped; chown 100005:100006 /mapped; ln /mapped /linked; echo r > /root.txt")
          const ids = [
            { containerId: 0, hostId: 0, size: 65_536 },
            { containerId: 65_536, hostId: 100_000, size: 1000 }
          ]
          const committed = yield* Commit.commit({ container: container.id, idMap: { uids: ids, gids: ids } })
          const key = Option.getOrThrow(committed.chainId)
          const tree = yield* Tree.ofSnapshot(containerd, { snapshotter: "overlayfs", key })
          const entry = (path: string) => tree.find((found) => found.path === path)
          assert.deepInclude(entry("/linked"), { uid: 65_541, gid: 65_542 })
          assert.strictEqual(entry("/mapped")?.sameAs, "/linked")
          assert.deepInclude(entry("/root.txt"), { uid: 0, gid: 0 })

          yield* container.exec("chown 200000 /mapped")
          const before = yield* Inventory.take(containerd)
          const error = yield* Effect.flip(
            Commit.commit({ container: container.id, name: "unmapped", idMap: { uids: ids, gids: ids } })
          )
          assert.strictEqual(error.step, "unremap")
          assert.match(error.message, /linked.*200000/)
          assert.deepStrictEqual(yield* Inventory.take(containerd), before)
        })
      )

      it.effect("lets one commit of a container run at a time, and commits of others beside it", () =>
        Effect.gen(function* () {
          const { base, containerd } = yield* Host.Host
          const one = yield* Container.run(containerd, { image: base.ref })
          const two = yield* Container.run(containerd, { image: base.ref })
          yield* one.exec("echo 1 > /1")
          yield* two.exec("echo 2 > /2")
          const commit = ({ id }: Container.Container) => Effect.result(Commit.commit({ container: id }))
          const results = yield* Effect.all([commit(one), commit(one), commit(two)], { concurrency: "unbounded" })
          const tags = results.map((result) => (result._tag === "Success" ? "ok" : result.failure.reason._tag))
          assert.deepStrictEqual(tags.slice(0, 2).sort(), ["ContainerBusy", "ok"].sort())
          assert.strictEqual(tags[2], "ok")
          assert.strictEqual(yield* one.status, "RUNNING")
          const leases = yield* Leases.Leases
          assert.deepStrictEqual(yield* leases.list(), [])
        })
      )

      it.effect("commits a build step: not paused, without a name, with the builder's config", () =>
        Effect.gen(function* () {
          const { base, containerd } = yield* Host.Host
          const container = yield* Container.run(containerd, { image: base.ref })
          yield* container.exec("echo step > /step")
          const committed = yield* Commit.commitBuildStep({
            container: container.id,
            config: { Env: ["STEP=1"], Cmd: ["cat", "/step"] },
            createdBy: "RUN echo step > /step"
          })
          assert.strictEqual(committed.pausedMs, 0)
          assert.match(committed.image.name, /^moby-dangling@sha256:/)
          const config = yield* ImageJson.config(containerd, committed.config.digest)
          assert.deepStrictEqual(config.config, { Env: ["STEP=1"], Cmd: ["cat", "/step"] })
          assert.strictEqual(config.history.at(-1)?.created_by, "RUN echo step > /step")
        })
      )
    })
  })
}
