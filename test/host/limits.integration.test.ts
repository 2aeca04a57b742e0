import { join } from "node:path"
import { assert, layer } from "@effect/vitest"
import { Effect, Option } from "effect"
import { Commit } from "effect-containerd"
import * as BaseImage from "../support/BaseImage.ts"
import * as Cache from "../support/Cache.ts"
import * as Cli from "../support/Cli.ts"
import * as Container from "../support/Container.ts"
import type { RunningContainerd } from "../support/Containerd.ts"
import { describeDaemons } from "../support/Daemons.ts"
import * as Debris from "../support/Debris.ts"
import * as Host from "../support/Host.ts"
import * as Inventory from "../support/Inventory.ts"
import { run } from "../support/Process.ts"
import * as Tree from "../support/Tree.ts"
import * as Commits from "./Commits.ts"

/** By the host it fails, for that reason, and leaves nothing; by itself it goes the other way. */
const fallsBack = Effect.fnUntraced(function* (options: Commit.CommitOptions, why: RegExp) {
  const { containerd } = yield* Host.Host
  const before = yield* Inventory.take(containerd)
  const error = yield* Effect.flip(Commit.commit({ ...options, differ: "host" }))
  assert.match(error.message, why)
  assert.deepStrictEqual(yield* Inventory.take(containerd), before)
  const committed = yield* Commit.commit({ ...options, name: "fell-back:1" })
  assert.strictEqual(committed.differ, "containerd")
  return { committed, reason: error.reason }
})

/** The snapshotter's directories are hidden from the program, or others stand in their place. */
const hidden = (snapshots: string, impostors: number) => {
  const make = `cd "$0"; seq ${impostors} | sed 's,.*,&/fs &/work,' | xargs --no-run-if-empty mkdir -p; cd - > /dev/null; sleep 0.3`
  const script = `mount -t tmpfs tmpfs "$0"; ${make}; exec "$@"`
  const program = [process.execPath, "--conditions=effect-containerd-source", "test/host/commitProgram.ts"]
  return { wrapper: ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script, snapshots], program }
}

/** The container's overlay, mounted by hand, with features that containerd does not ask for. */
const mountedWith = Effect.fnUntraced(function* (
  { ctr }: RunningContainerd,
  { id }: Container.Container,
  features: string,
  script: string
) {
  const target = yield* Debris.directory
  const command = (yield* ctr(["snapshots", "mounts", target, id])).trim().split(" ")
  const options = `${command.at(-1)},${features}`
  yield* Effect.acquireRelease(run("mount", ["-t", "overlay", "overlay", target, "-o", options]), () =>
    Effect.ignore(run("umount", [target]))
  )
  yield* run("sh", ["-ec", `cd ${target}; ${script}`])
}, Effect.scoped)

describeDaemons("a container that the host cannot read", () => {
  layer(Host.layer("2.x"), { excludeTestServices: true })((it) => {
    const created = Effect.fnUntraced(function* (options: Partial<Container.Options>) {
      const { base, containerd } = yield* Host.Host
      return { containerd, container: yield* Container.create(containerd, { image: base.ref, ...options }) }
    })

    it.effect("is read by the differ when its snapshotter is another one", () =>
      Effect.gen(function* () {
        const { base, containerd } = yield* Host.Host
        const container = yield* Container.run(containerd, { image: base.ref, snapshotter: "native" })
        yield* container.exec("echo one > /one")
        const { reason } = yield* fallsBack({ container: container.id }, /the snapshotter is native, not overlayfs/)
        assert.strictEqual(reason._tag, "HostUnavailable")
      })
    )

    it.effect("is read by the differ when it is in a user namespace, and more than its own change is asked for", () =>
      Effect.gen(function* () {
        const { base, containerd } = yield* Host.Host
        const flags = ["--uidmap", "0:100000:65536", "--gidmap", "0:100000:65536"]
        const container = yield* Container.run(containerd, { image: base.ref, flags })
        const { reason } = yield* fallsBack(
          { container: container.id, squash: true },
          /the layer of a container in a user namespace is to hold more than its own change/
        )
        assert.strictEqual(reason._tag, "HostUnavailable")
      })
    )

    it.effect.each([
      [0, /^HostUnavailable: .*the snapshotter's directory .* is not on this host/],
      [300, /^HostUnavailable: .*is not the directory that the daemon has just made/]
    ] as const)("is read by the differ when its directories are not seen, or are others (%s others)", ([others, why]) =>
      Effect.gen(function* () {
        const { base, containerd } = yield* Host.Host
        const container = yield* Container.run(containerd, { image: base.ref })
        yield* container.exec("echo one > /one")
        const before = yield* Inventory.take(containerd)
        const how = hidden(join(containerd.root, "io.containerd.snapshotter.v1.overlayfs", "snapshots"), others)
        const said = (differ: string) =>
          Effect.map(
            Cli.run(containerd, [containerd.address, differ, container.id, "hidden:1"], how),
            ({ stderr, stdout }) => `${stdout}${stderr}`
          )
        assert.match(yield* said("host"), why)
        assert.strictEqual(yield* container.status, "RUNNING")
        assert.deepStrictEqual(yield* Inventory.take(containerd), before)
        assert.strictEqual(yield* said("auto"), "read by containerd\n")
        const image = "docker.io/library/hidden:1"
        assert.strictEqual(yield* Container.runOnce(containerd, { image }, "cat /one"), "one\n")
        yield* containerd.ctr(["images", "rm", "--sync", image])
      })
    )

    it.effect("is read by the differ when a directory was renamed and only the kernel knows from where", () =>
      Effect.gen(function* () {
        const { container, containerd } = yield* created({})
        yield* mountedWith(containerd, container, "redirect_dir=on", "mv data moved; mkdir data; mv etc moved/etc")
        const { committed, reason } = yield* fallsBack({ container: container.id }, /marks of the kind redirect/)
        assert.deepInclude(reason, { _tag: "LayerError", kind: "overlay" })
        const key = Option.getOrThrow(committed.chainId)
        const tree = yield* Tree.ofSnapshot(containerd, { snapshotter: "overlayfs", key })
        assert.strictEqual(tree.find(({ path }) => path === "/moved/dir/file.txt")?.size, 5)
        Commits.assertSame(Commits.belowRoot(tree), Commits.belowRoot(yield* container.tree()))
      })
    )

    it.effect("is read by the differ, which freezes it again, when that is found while it is frozen", () =>
      Effect.gen(function* () {
        const { base, containerd } = yield* Host.Host
        const container = yield* Container.run(containerd, { image: base.ref })
        yield* container.exec("echo one > /data/one")
        const mounts = yield* containerd.ctr(["snapshots", "mounts", "/mnt", container.id])
        const [, upper = ""] = /upperdir=([^,\s]+)/.exec(mounts) ?? []
        const mark = ["-n", "trusted.overlay.redirect", "-v", "/data", join(upper, "data")]
        yield* run(Cache.program("attr", "setfattr"), mark)
        const { committed } = yield* fallsBack({ container: container.id }, /marks of the kind redirect/)
        assert.isAbove(committed.pausedMs, 0)
        assert.strictEqual(yield* container.status, "RUNNING")
        const { image } = committed
        assert.strictEqual(yield* Container.runOnce(containerd, { image: image.name }, "cat /data/one"), "one\n")
      })
    )

    it.effect("fails, and leaves nothing, when a file's content is below and the kernel does not show it either", () =>
      Effect.gen(function* () {
        const { container, containerd } = yield* created({})
        yield* mountedWith(containerd, container, "metacopy=on", "chown 5:6 bin/busybox")
        const before = yield* Inventory.take(containerd)
        yield* Cache.inPath(["igzip"])
        for (const compressor of ["node", "igzip"] as const) {
          const host = yield* Effect.flip(Commit.commit({ container: container.id, differ: "host", compressor }))
          assert.deepInclude(host.reason, { _tag: "LayerError", kind: "overlay" })
          assert.match(host.message, /marks of the kind metacopy/)
        }
        // Without the mount option, lstat of such a file gives EPERM (overlayfs, ovl_lookup).
        const other = yield* Effect.flip(Commit.commit({ container: container.id }))
        assert.deepStrictEqual([other.step, other.reason._tag], ["diff", "ContainerdError"])
        assert.match(other.message, /operation not permitted/)
        assert.deepStrictEqual(yield* Inventory.take(containerd), before)
      })
    )

    it.effect("is not one that stands on more layers than mount options have room for", () =>
      Effect.gen(function* () {
        const { containerd } = yield* Host.Host
        const layers = Array.from({ length: 75 }, (_, i) => [
          { name: `many/${i}`, body: `layer ${i}` },
          { name: "many/top", body: `${i}` },
          ...(i === 74 ? [{ name: "many/.wh.3" }] : [])
        ])
        const image = yield* BaseImage.busybox({ ref: "localhost/many:1", layers })
        yield* BaseImage.importImage(containerd, image)
        const container = yield* Container.run(containerd, { image: image.ref })
        yield* container.exec("rm /many/7; chmod 600 /many/8; chmod 644 /many/8; echo new > /many/3; rm /many/top")
        const options = yield* containerd.ctr(["snapshots", "mounts", "/mnt", container.id])
        assert.isAbove(options.length, 4096)
        const committed = yield* Commit.commit({ container: container.id, name: "many:2" })
        assert.strictEqual(committed.differ, "host")
        const expected = ["many", "many/3", "many/.wh.7", "many/.wh.top"]
        assert.deepStrictEqual(yield* Commits.names(committed), expected)
        const said = yield* Container.runOnce(
          containerd,
          { image: committed.image.name },
          "ls /many | wc -l; cat /many/3"
        )
        assert.strictEqual(said, "74\nnew\n")
      })
    )
  })
})
