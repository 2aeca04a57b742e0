import { chownSync, existsSync, readdirSync, statSync, utimesSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, layer } from "@effect/vitest"
import { Effect, Option } from "effect"
import { Commit, Containers } from "effect-containerd"
import { attack, change as attacks } from "../host/Attack.ts"
import * as Commits from "../host/Commits.ts"
import * as Trees from "../layer/Trees.ts"
import * as Cache from "../support/Cache.ts"
import { run as runProgram } from "../support/Process.ts"
import * as Tree from "../support/Tree.ts"
import * as Umoci from "../support/Umoci.ts"
import { describeEngines, docker, Engine, remapped, run, runDetached } from "./Engine.ts"

const change = `mkdir /home/user/dir && echo user > /home/user/dir/file && chown -R 1000:1000 /home/user/dir
echo root > /by-root && rm /data/delete.txt && chmod 600 /data/change.txt`

/** What Docker 28 cannot commit: it maps the ids of such a file once for each name. */
const link = "ln /home/user/dir/file /home/user/dir/linked"

const look =
  "stat -c '%n %u %g %a %h' /by-root /home/user/dir /home/user/dir/file /home/user/dir/linked /data/change.txt /bin /etc/passwd; ls /data; getfattr -d -m - /by-root 2>/dev/null; true"

const capability = `0x010000020020${"00".repeat(14)}`

const namespace = "moby-100000.100000"

const rootOf = (id: string) => Effect.map(docker("inspect", "-f", "{{.State.Pid}}", id), (pid) => `/proc/${pid}/root`)

const setCapability = Effect.fnUntraced(function* (id: string) {
  const flags = ["-n", "security.capability", "-v", capability]
  yield* runProgram(Cache.program("attr", "setfattr"), [...flags, `${yield* rootOf(id)}/by-root`])
})

/** The image's snapshot, with the ids that are on the disk. */
const treeOf = Effect.fnUntraced(function* ({ chainId, snapshotter }: Commit.Committed) {
  const { containerd } = yield* Engine
  return yield* Tree.ofSnapshot(containerd, { snapshotter, namespace, key: Option.getOrThrow(chainId) })
})

const assertLinked = (tree: ReadonlyArray<Tree.TreeEntry>) => {
  const entry = (path: string) => tree.find((found) => found.path === path)
  assert.deepInclude(entry("/home/user/dir/file"), { uid: 1000, gid: 1000 })
  assert.strictEqual(entry("/home/user/dir/linked")?.sameAs, "/home/user/dir/file")
  assert.deepInclude(entry("/by-root"), { uid: 0, gid: 0, xattrs: { "security.capability": capability } })
  assert.deepInclude(entry("/etc/passwd"), { uid: 0, gid: 0 })
}

const sizeOf = ({ layer }: Commit.Committed) => Option.getOrThrow(layer).descriptor.size

describeEngines("containers of a Docker Engine with userns-remap", (version) => {
  layer(remapped(version), { excludeTestServices: true })((it) => {
    it.effect("are known with the map of their ids, running and stopped", () =>
      Effect.gen(function* () {
        const id = yield* runDetached("true")
        const containers = yield* Containers.Containers
        const spec = Buffer.from((yield* containers.get(id)).spec).toString()
        assert.include(spec, JSON.stringify({ containerID: 0, hostID: 100000, size: 65536 }))
        yield* docker("rm", "-f", id)
      })
    )

    for (const differ of ["host", "containerd"] as const) {
      it.effect(`get layers with their own ids by ${differ}, as docker commit gives them`, () =>
        Effect.gen(function* () {
          const id = yield* runDetached(change)
          const committed = yield* Commit.commit({ container: id, name: `ours-${differ}:1`, differ })
          assert.strictEqual(committed.differ, differ)
          yield* docker("commit", id, `theirs-${differ}:1`)
          const ours = yield* run(`ours-${differ}:1`, "sh", "-c", look)
          assert.include(ours, "/home/user/dir/file 1000 1000 644 1")
          assert.strictEqual(ours, yield* run(`theirs-${differ}:1`, "sh", "-c", look))
          yield* docker("exec", id, "sh", "-c", link)
          yield* setCapability(id)
          const linked = yield* Commit.commit({ container: id, name: `linked-${differ}:1`, differ })
          assert.strictEqual(linked.differ, differ)
          assertLinked(yield* treeOf(linked))
          const { containerd } = yield* Engine
          assertLinked(yield* Umoci.ofImage(containerd, linked.image.name, namespace))
          yield* docker("rm", "-f", id)
        })
      )
    }

    it.effect("get layers of what they have changed, and not of the whole image that Docker gave to their ids", () =>
      Effect.gen(function* () {
        const id = yield* runDetached("echo 1 > /one")
        yield* docker("stop", "-t", "0", id)
        const committed = yield* Commit.commit({ container: id, name: "small:1", differ: "host" })
        assert.isBelow(sizeOf(committed), 4096)
        yield* Commits.consistent(committed)
        assert.strictEqual(yield* run("small:1", "cat", "/one"), "1")
        const { containerd } = yield* Engine
        const snapshots = join(containerd.root, "io.containerd.snapshotter.v1.overlayfs", "snapshots")
        const beside = readdirSync(snapshots).flatMap((name) => readdirSync(join(snapshots, name)))
        assert.deepStrictEqual([...new Set(beside)].toSorted(), ["fs", "work"])
        const unchanged = yield* docker("create", "--network", "none", "base:1")
        assert.isTrue(Option.isNone((yield* Commit.commit({ container: unchanged, differ: "host" })).layer))
        yield* docker("rm", "-f", id, unchanged)
      })
    )

    it.effect("get them while they run on, too, from a copy", () =>
      Effect.gen(function* () {
        const id = yield* runDetached(change)
        const committed = yield* Commit.commit({ container: id, name: "running:1", differ: "host", pause: false })
        assert.strictEqual(committed.pausedMs, 0)
        assert.isBelow(sizeOf(committed), 4096)
        yield* docker("exec", id, "sh", "-c", "rm /by-root")
        const paused = yield* Commit.commit({ container: id, name: "stood:1", differ: "host" })
        const paths = "stat -c '%n %u %g %a' /home/user/dir /home/user/dir/file /data/change.txt; ls /data"
        assert.strictEqual(yield* run("running:1", "sh", "-c", paths), yield* run("stood:1", "sh", "-c", paths))
        assert.include(yield* run("running:1", "cat", "/by-root"), "root")
        assert.isBelow(sizeOf(paused), sizeOf(committed) + 512)
        yield* docker("rm", "-f", id)
      })
    )

    it.effect("get them while they run on without a copy of the image", () =>
      Effect.gen(function* () {
        const { containerd } = yield* Engine
        const snapshots = join(containerd.root, "io.containerd.snapshotter.v1.overlayfs", "snapshots")
        const before = new Set(readdirSync(snapshots))
        const id = yield* runDetached(change)
        const holds = (path: string) =>
          readdirSync(snapshots).filter((name) => !before.has(name) && existsSync(join(snapshots, name, "fs", path)))
        const seen: Array<ReadonlyArray<string>> = []
        const look = Effect.sync(() => seen.push(holds("by-root"), holds("bin/busybox")))
        yield* Commit.commit({ container: id, differ: "host", pause: false }).pipe(
          Effect.provideService(Commit.Progress, ({ _tag, step }) =>
            _tag === "StepStarted" && step === "unremap" ? look : Effect.void
          )
        )
        // The container's own snapshot holds all, and the copy what was touched.
        assert.deepStrictEqual(
          seen.map((names) => names.length),
          [2, 1]
        )
        yield* docker("rm", "-f", id)
      })
    )

    it.effect(
      "are whole, whatever grows, shrinks and vanishes while they run on",
      () =>
        Effect.gen(function* () {
          const id = yield* runDetached(
            "mkdir /data/many; for i in $(seq 0 49); do head -c 100000 /dev/zero > /data/many/$i; done"
          )
          yield* attack(yield* rootOf(id), attacks, 100_000)
          const seen = new Set<string>()
          for (let round = 0; round < 10; round++) {
            const committed = yield* Commit.commit({ container: id, name: "race:1", differ: "host", pause: false })
            yield* Commits.consistent(committed)
            seen.add(committed.image.target.digest)
          }
          assert.isAbove(seen.size, 1)
          yield* docker("rm", "-f", id)
        }),
      120_000
    )

    it.effect("get what was changed under the same size and time", () =>
      Effect.gen(function* () {
        const hidden =
          "cp -p /data/change.txt /tmp/old && printf CHANGED > /tmp/new && truncate -s $(stat -c %s /tmp/old) /tmp/new && cat /tmp/new > /data/change.txt && touch -r /tmp/old /data/change.txt"
        const id = yield* runDetached(hidden)
        yield* Commit.commit({ container: id, name: "hidden:1", differ: "host" })
        assert.include(yield* run("hidden:1", "cat", "/data/change.txt"), "CHANGED")
        yield* docker("rm", "-f", id)
      })
    )

    it.effect("get what was copied into them right after they were made, under the same size and time", () =>
      Effect.gen(function* () {
        const id = yield* docker("create", "--network", "none", "base:1")
        const home = yield* Trees.temporary
        yield* docker("cp", "-a", `${id}:/data/change.txt`, home)
        const file = `${home}/change.txt`
        const { atime, mtime, size } = statSync(file)
        writeFileSync(file, "CHANGED".padEnd(size))
        utimesSync(file, atime, mtime)
        yield* docker("cp", "-a", file, `${id}:/data/change.txt`)
        yield* Commit.commit({ container: id, name: "copied:1", differ: "host" })
        assert.include(yield* run("copied:1", "cat", "/data/change.txt"), "CHANGED")
        yield* docker("rm", "-f", id)
      })
    )

    it.effect("get no more than what they have changed when a directory was made anew", () =>
      Effect.gen(function* () {
        const id = yield* runDetached("rm -r /data && mkdir /data && echo new > /data/new")
        const committed = yield* Commit.commit({ container: id, name: "anew:1", differ: "host" })
        assert.isBelow(sizeOf(committed), 4096)
        assert.strictEqual(yield* run("anew:1", "ls", "/data"), "new")
        yield* docker("rm", "-f", id)
      })
    )

    it.effect("leave the image its setuid bits, which Docker takes from them", () =>
      Effect.gen(function* () {
        const { containerd } = yield* Engine
        const first = yield* runDetached("cp /bin/busybox /su && chmod 4755 /su")
        yield* Commit.commit({ container: first, name: "setuid:1", differ: "host" })
        const id = yield* docker("run", "-d", "--network", "none", "setuid:1", "sleep", "1000")
        assert.strictEqual(yield* docker("exec", id, "stat", "-c", "%a", "/su"), "755")
        yield* docker("exec", id, "touch", "/one")
        const committed = yield* Commit.commit({ container: id, name: "later:1", differ: "host" })
        assert.isBelow(sizeOf(committed), 4096)
        const tree = yield* Umoci.ofImage(containerd, committed.image.name, namespace)
        assert.deepInclude(
          tree.find(({ path }) => path === "/su"),
          { mode: 0o4755 }
        )
        yield* docker("rm", "-f", first, id)
      })
    )

    it.effect("refuse an id that their map does not have, and name the path", () =>
      Effect.gen(function* () {
        const { containerd } = yield* Engine
        const id = yield* runDetached("echo 1 > /odd")
        chownSync(`${yield* rootOf(id)}/odd`, 5, 5)
        const error = yield* Effect.flip(Commit.commit({ container: id, differ: "host" }))
        assert.include(error.message, '"odd" has the uid 5')
        assert.isTrue(containerd.isRunning)
        yield* docker("rm", "-f", id)
      })
    )
  })
})
