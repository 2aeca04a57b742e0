import { existsSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as BaseImage from "./BaseImage.ts"
import * as Cache from "./Cache.ts"
import * as Container from "./Container.ts"
import * as Containerd from "./Containerd.ts"
import { describeDaemons } from "./Daemons.ts"
import * as Debris from "./Debris.ts"
import * as Dockerd from "./Dockerd.ts"
import { run } from "./Process.ts"
import type { TreeEntry } from "./Tree.ts"

const snapshotters = ["overlayfs", "native"] as const

const pathsBelow = (tree: ReadonlyArray<TreeEntry>, dir: string): ReadonlyArray<string> =>
  tree.map((entry) => entry.path).filter((path) => path.startsWith(`${dir}/`))

const find = (tree: ReadonlyArray<TreeEntry>, path: string): TreeEntry | undefined =>
  tree.find((entry) => entry.path === path)

const assertNothingLeft = (directory: string) => {
  assert.isFalse(existsSync(directory))
  assert.deepStrictEqual(Debris.mounts(directory), [])
  assert.deepStrictEqual(Debris.processes(directory), [])
}

const started = (version: Containerd.Version, snapshotter: string) =>
  Effect.gen(function* () {
    const containerd = yield* Containerd.start(version)
    const image = yield* BaseImage.busybox()
    yield* BaseImage.importImage(containerd, image, { snapshotter })
    return { containerd, container: yield* Container.run(containerd, { image: image.ref, snapshotter }) }
  })

/** One change of every kind that a layer can hold. */
const change = `
  echo after > /data/change.txt
  rm /data/delete.txt
  rm -r /data/opaque && mkdir /data/opaque && echo c > /data/opaque/c
  echo new > /data/new.txt && chown 1000:1000 /data/new.txt && chmod 4750 /data/new.txt
  ln /data/new.txt /data/zz-hard
  ln -s nowhere /data/link
  mkfifo /data/fifo
  mknod /data/null c 1 300
  touch -d '2001-02-03 04:05:06' "$(printf '/data/line\\nbreak \\377')"`

const changedPaths = [
  "/data/change.txt",
  "/data/dir",
  "/data/dir/file.txt",
  "/data/fifo",
  "/data/keep.txt",
  "/data/line\nbreak \\xff",
  "/data/link",
  "/data/new.txt",
  "/data/null",
  "/data/opaque",
  "/data/opaque/c",
  "/data/zz-hard"
]

describeDaemons("the harness", () => {
  for (const version of Containerd.versions) {
    describe(`containerd ${version}`, () => {
      it.effect.each(snapshotters)("shows every kind of change in the tree, %s", (snapshotter) =>
        Effect.gen(function* () {
          const { container } = yield* started(version, snapshotter)
          yield* container.exec(change)
          yield* setXattr(yield* container.root, "/data/new.txt")

          const tree = yield* container.tree({ mtime: "nanoseconds" })
          assert.deepStrictEqual(pathsBelow(tree, "/data"), changedPaths)
          const file = find(tree, "/data/new.txt")
          assert.deepInclude(file, { type: "file", mode: 0o4750, uid: 1000, gid: 1000, size: 4 })
          assert.deepStrictEqual(file?.xattrs, { "user.key": "0x00ff0a" })
          assert.deepInclude(find(tree, "/data/zz-hard"), { sameAs: "/data/new.txt" })
          assert.deepInclude(find(tree, "/data/link"), { type: "symlink", target: "nowhere" })
          assert.deepInclude(find(tree, "/data/null"), { type: "character-device", device: "1:300" })
          assert.deepInclude(find(tree, "/data/line\nbreak \\xff"), { mtime: "981173106.000000000" })
        })
      )

      it.effect("stops, pauses and starts containers", () =>
        Effect.gen(function* () {
          const { containerd, container } = yield* started(version, "overlayfs")
          yield* container.exec("echo kept > /data/new.txt")
          yield* container.pause
          assert.strictEqual(yield* container.status, "PAUSED")
          yield* container.stop
          assert.strictEqual(yield* container.status, "NONE")
          assert.include(pathsBelow(yield* container.tree(), "/data"), "/data/new.txt")
          yield* container.start
          assert.strictEqual(yield* container.exec("cat /data/new.txt"), "kept\n")
          assert.strictEqual(yield* Container.runOnce(containerd, container, "cat /data/change.txt"), "before\n")
        })
      )

      it.effect("leaves nothing, even of a paused container whose daemon was killed", () =>
        Effect.gen(function* () {
          const directory = yield* Effect.scoped(
            Effect.gen(function* () {
              const { containerd, container } = yield* started(version, "overlayfs")
              yield* container.pause
              yield* containerd.kill
              assert.isNotEmpty(Debris.processes(containerd.directory))
              return containerd.directory
            })
          )
          assertNothingLeft(directory)
        })
      )

      it.effect("restarts a killed daemon beside its running container", () =>
        Effect.gen(function* () {
          const { containerd, container } = yield* started(version, "overlayfs")
          yield* containerd.restart
          assert.strictEqual(yield* container.status, "RUNNING")
          assert.strictEqual(yield* container.exec("echo alive"), "alive\n")
        })
      )

      it.effect("imports images of all shapes", () =>
        Effect.gen(function* () {
          const containerd = yield* Containerd.start(version, { rootOnTmpfs: true })
          const layers = [[{ name: "data/.wh.delete.txt" }, { name: "data/top.txt", body: "top\n" }]]
          const platforms = [BaseImage.hostPlatform, { os: "linux", architecture: "s390x" }]
          for (const options of [
            { ref: "localhost/gzip:1", layers },
            { ref: "localhost/zstd:1", layers, compression: "zstd", platforms },
            { ref: "localhost/none:1", layers, compression: "none", mediaTypes: "docker" }
          ] as const) {
            const image = yield* BaseImage.busybox(options)
            yield* BaseImage.importImage(containerd, image)
            const listed = yield* Container.runOnce(containerd, { image: image.ref }, "ls /data")
            assert.strictEqual(listed, "change.txt\ndir\nkeep.txt\nopaque\ntop.txt\n")
          }
        })
      )
    })
  }

  it.effect("builds the same bytes twice", () =>
    Effect.gen(function* () {
      const [one, two] = [yield* BaseImage.busybox(), yield* BaseImage.busybox()]
      assert.deepStrictEqual({ ...one, archive: "" }, { ...two, archive: "" })
    })
  )

  it.effect("says why a daemon does not start", () =>
    Effect.gen(function* () {
      const containerd = yield* Containerd.start("2.x")
      const error = yield* Effect.flip(Dockerd.start(containerd, { config: { bip: "nonsense" } }))
      assert.match(error.message, /dockerd.*nonsense|bip/s)
    })
  )

  it.effect("docker runs, commits and runs the result", () =>
    Effect.gen(function* () {
      const directories = yield* Effect.scoped(
        Effect.gen(function* () {
          const containerd = yield* Containerd.start("2.x")
          const dockerd = yield* Dockerd.start(containerd)
          const image = yield* BaseImage.busybox()
          yield* dockerd.docker(["load", "--input", image.archive])
          const id = yield* dockerd.docker(["run", "--detach", "--network", "none", image.ref, "sleep", "1000"])
          yield* dockerd.docker(["exec", id.trim(), "sh", "-ec", "echo new > /data/new.txt"])
          yield* dockerd.docker(["commit", id.trim(), "localhost/committed:1"])
          const output = yield* dockerd.docker(["run", "--rm", "localhost/committed:1", "cat", "/data/new.txt"])
          assert.strictEqual(output, "new\n")
          return [containerd.directory, dockerd.directory]
        })
      )
      directories.forEach(assertNothingLeft)
    })
  )
})

/** A value that no text holds. */
const setXattr = (root: string, path: string) =>
  run(Cache.program("attr", "setfattr"), ["--name", "user.key", "--value", "0x00ff0a", `${root}${path}`])
