import { execFileSync } from "node:child_process"
import { assert, layer } from "@effect/vitest"
import { Effect, Option } from "effect"
import { Commit } from "effect-containerd"
import * as BaseImage from "../support/BaseImage.ts"
import * as Cache from "../support/Cache.ts"
import * as Container from "../support/Container.ts"
import { versions } from "../support/Containerd.ts"
import { describeDaemons } from "../support/Daemons.ts"
import * as Debris from "../support/Debris.ts"
import * as Host from "../support/Host.ts"
import { run } from "../support/Process.ts"
import * as Tree from "../support/Tree.ts"
import * as Commits from "./Commits.ts"

/** Everything that a layer has a form for. Runs in the container. */
const everyChange = `
echo changed > /data/change.txt; rm /data/delete.txt; touch /data/empty
mkdir -p /data/new/deep/er && echo x > /data/new/deep/er/file
rm -rf /data/opaque && mkdir /data/opaque && echo other > /data/opaque/c
rm -rf /data/dir && echo file > /data/dir
rm /data/keep.txt && mkdir /data/keep.txt && echo in > /data/keep.txt/in
echo linked > /data/one && ln /data/one /data/two && ln /data/one /data/new/three
ln -s ../nowhere /data/dangling && ln -s /data/one /data/symlink && ln -s / /data/root && ln /data/dangling /data/hard
echo s > /data/setuid && chmod 4755 /data/setuid && mkdir /data/sticky && chmod 1777 /data/sticky
echo o > /data/owned && chown 1234:5678 /data/owned && chown -h 7:8 /data/dangling
chmod 0600 /etc/passwd; chown 3:4 /home/user; chmod 1750 /root; chmod 711 /
mknod /data/char c 1 3 && mknod /data/block b 7 9 && mkfifo /data/fifo && ln /data/fifo /data/fifo2
echo l > /data/$(printf 'n%.0s' $(seq 200)); mkdir -p /data/$(printf 'd%.0s' $(seq 200))/$(printf 'e%.0s' $(seq 200))
echo u > "/data/ünïcödé 文件 name"; echo b > "/data/$(printf 'not\\377\\376utf8')"; echo q > '/data/a\\b "c"'
echo n > "/data/$(printf 'new\\nline')"; echo w > ' '; truncate -s 1M /data/sparse
`

/** Without what a tar on its way to the new snapshot would lose: so it is not copied, but read once. */
const readOnce = everyChange.replace(/ && ln (?!-)\S+ \S+|; truncate .*/g, "")

const ways = [
  ["copied", everyChange, 1],
  ["read once", readOnce, 0]
] as const

/** What busybox cannot do, on the container's files as this machine has them. */
const attributes = (root: string) => {
  const set = (name: string, value: string, path: string) =>
    run(Cache.program("attr", "setfattr"), ["-h", "-n", name, "-v", value, `${root}/data/${path}`])
  return Effect.all([
    // cap_net_raw+ep as revision 2.
    set("security.capability", `0x010000020020${"00".repeat(14)}`, "owned"),
    set("user.on.file", "0x00ff0a", "one"),
    set("user.on.directory", "value", "sticky"),
    Effect.sync(() => execFileSync("touch", ["-h", "-d", "@981173106.123456789", `${root}/data/symlink`])),
    Effect.sync(() => execFileSync("touch", ["-d", "@1.000000001", `${root}/data/new/deep`]))
  ])
}

for (const version of versions) {
  describeDaemons(`a commit by the host on containerd ${version}`, () => {
    layer(Host.layer(version), { excludeTestServices: true })((it) => {
      it.effect.each(ways)(
        "is chosen by itself, and its snapshot is the container and what the blob says, to the nanosecond (%s)",
        ([, change, expected]) =>
          Effect.gen(function* () {
            const { base, containerd } = yield* Host.Host
            const container = yield* Container.run(containerd, { image: base.ref })
            yield* container.exec(change)
            yield* attributes(yield* container.root)
            const [committed, copies] = yield* Commits.counting(Commits.exactly(container, { name: "every:host" }))
            assert.strictEqual(copies, expected)
            assert.strictEqual(yield* container.status, "RUNNING")
            assert.isAbove(committed.pausedMs, 0)
            const [root] = yield* Commits.entries(committed)
            assert.deepStrictEqual([root?.path, root?.rest.slice(100, 107)], ["./", "0000711"])
            const key = Option.getOrThrow(committed.chainId)
            const [top] = yield* Tree.ofSnapshot(containerd, { snapshotter: "overlayfs", key }, Commits.exact)
            assert.deepStrictEqual(top, (yield* container.tree(Commits.exact))[0])
            // And containerd runs it, from its blobs as well.
            for (const snapshotter of Host.snapshotters) {
              const image = { image: committed.image.name, snapshotter }
              const said = yield* Container.runOnce(
                containerd,
                image,
                "cat /data/change.txt /data/opaque/*; ls /data/opaque"
              )
              assert.strictEqual(said, "changed\nother\nc\n")
            }
          })
      )

      it.effect("has no layer for a container that was only started, or stopped again", () =>
        Effect.gen(function* () {
          const { base, containerd } = yield* Host.Host
          const container = yield* Container.run(containerd, { image: base.ref })
          const running = yield* Commit.commit({ container: container.id })
          yield* container.stop
          const stopped = yield* Commit.commit({ container: container.id })
          for (const { chainId, differ, layer } of [running, stopped]) {
            assert.deepStrictEqual([differ, layer], ["host", Option.none()])
            assert.isTrue(Option.isSome(chainId))
          }
        })
      )
    })
  })
}

/** Copied up, and the same as before. */
const unchanged = `
chmod 600 /data/keep.txt && chmod 644 /data/keep.txt
: >> /data/change.txt
chown 5:5 /data/delete.txt && chown 0:0 /data/delete.txt
cp -p /etc/passwd /tmp/p && cat /tmp/p > /etc/passwd && touch -r /tmp/p /etc/passwd && rm /tmp/p
chmod 700 /data/dir && chmod 755 /data/dir
mv /data/opaque/a /data/opaque/x && mv /data/opaque/x /data/opaque/a
`

/** The times of what stays are kept, for the comparison is exact. */
const replacements = `
rm -rf /data/opaque && mkdir /data/opaque && echo b > /data/opaque/b
rm -rf /home/user && mkdir /home/user
rm -rf /data/dir && echo file > /data/dir
rm /data/change.txt && mkdir /data/change.txt && echo in > /data/change.txt/in
rm /data/keep.txt && ln -s opaque /data/keep.txt
rm /data/delete.txt /bin/ls
mkdir -p /own/dir && echo x > /own/dir/file && rm -r /own
echo x > /data/opaque/own && rm /data/opaque/own
`

describeDaemons("a layer that the host writes", () => {
  layer(Host.layer("2.x"), { excludeTestServices: true })((it) => {
    const started = Effect.gen(function* () {
      const { base, containerd } = yield* Host.Host
      return { containerd, container: yield* Container.run(containerd, { image: base.ref }) }
    })

    it.effect("leaves out what was copied up and is the same", () =>
      Effect.gen(function* () {
        const { container } = yield* started
        yield* container.exec(unchanged)
        const committed = yield* Commit.commit({ container: container.id })
        assert.deepStrictEqual([committed.differ, committed.layer], ["host", Option.none()])

        yield* container.exec("echo new > /etc/new")
        const second = yield* Commit.commit({ container: container.id, name: "copied-up:1" })
        assert.deepStrictEqual(yield* Commits.names(second), ["etc", "etc/new"])
        yield* Commits.consistent(second)
      })
    )

    it.effect(
      "of a change that turns out to be large while it is read is the one of a copy, with nothing left of the first try",
      () =>
        Effect.gen(function* () {
          const { container } = yield* started
          yield* container.exec(`
          mkdir /many; for i in $(seq 500); do echo $i > /many/$i; done
          for i in $(seq 30); do head -c 2000000 /dev/urandom > /many/large$i; done
        `)
          const [committed, copies] = yield* Commits.counting(Commits.exactly(container))
          assert.deepStrictEqual([committed.differ, copies], ["host", 1])
          assert.lengthOf(yield* Commits.names(committed), 531)
        })
    )

    it.effect("has a file of another content with the same size and time", () =>
      Effect.gen(function* () {
        const { container } = yield* started
        yield* container.exec(
          "touch -r /data/change.txt /tmp/t; echo behind | head -c 6 > /data/change.txt; echo >> /data/change.txt"
        )
        yield* container.exec("touch -r /tmp/t /data/change.txt && rm /tmp/t && touch -r /data/keep.txt /tmp")
        const committed = yield* Commits.exactly(container)
        assert.deepStrictEqual(yield* Commits.names(committed), ["data", "data/change.txt"])
      })
    )

    it.effect("has a file and a directory of which only an extended attribute changed, and says what it cannot", () =>
      Effect.gen(function* () {
        const { containerd } = yield* Host.Host
        const pax = { "SCHILY.xattr.user.old": "value" }
        const directory = { name: "attributes/dir/", type: "directory", mode: 0o755, pax } as const
        const layers = [[directory, { name: "attributes/file", body: "content", pax }]]
        const image = yield* BaseImage.busybox({ ref: "localhost/attributes:1", layers })
        yield* BaseImage.importImage(containerd, image)
        const container = yield* Container.run(containerd, { image: image.ref })
        const root = yield* container.root
        const set = (...args: ReadonlyArray<string>) => run(Cache.program("attr", "setfattr"), args)
        yield* set("-n", "user.new", "-v", "1", `${root}/data/keep.txt`)
        yield* set("-n", "user.new", "-v", "2", `${root}/data/dir`)
        yield* set("-x", "user.old", `${root}/attributes/file`)
        const committed = yield* Commits.exactly(container)
        const expected = ["attributes", "attributes/file", "data", "data/dir", "data/keep.txt"]
        assert.deepStrictEqual(yield* Commits.names(committed), expected)

        yield* set("-x", "user.old", `${root}/attributes/dir`)
        yield* container.exec("echo in > /attributes/dir/in")
        const second = yield* Commit.commit({ container: container.id })
        assert.match(second.notCarried.join(), /^attributes\/dir: the removal of the extended attribute user.old/)
        yield* Commits.consistent(second)
      })
    )

    it.effect("has the marker of a directory that was made anew, and exactly the deletions that mean something", () =>
      Effect.gen(function* () {
        const { container } = yield* started
        yield* container.exec(replacements)
        const committed = yield* Commits.exactly(container)
        assert.deepStrictEqual(yield* Commits.names(committed), [
          ...["bin", "bin/.wh.ls", "data", "data/change.txt", "data/change.txt/in"],
          ...["data/.wh.delete.txt", "data/dir"],
          ...["data/keep.txt", "data/opaque", "data/opaque/.wh..wh..opq", "data/opaque/b", "home", "home/user"],
          ...["home/user/.wh..wh..opq"]
        ])
      })
    )

    it.effect("keeps an attribute that only looks like a mark of the overlay", () =>
      Effect.gen(function* () {
        const { container } = yield* started
        const root = yield* container.root
        const set = (name: string, value: string, path: string) =>
          run(Cache.program("attr", "setfattr"), ["-n", name, "-v", value, `${root}${path}`])
        // Anybody in a container may set these, and the kernel does not heed them here.
        yield* set("user.overlay.opaque", "y", "/data")
        yield* set("user.overlay.redirect", "/etc", "/data/dir")
        yield* set("user.overlay.metacopy", "", "/data/keep.txt")
        const committed = yield* Commits.exactly(container, { differ: "host" })
        assert.deepStrictEqual(yield* Commits.names(committed), ["data", "data/dir", "data/keep.txt"])
      })
    )

    it.effect("has of a hard-linked file every name, whichever was written to", () =>
      Effect.gen(function* () {
        const { containerd } = yield* Host.Host
        const link = { name: "links/b", type: "link", linkname: "links/a" } as const
        const image = yield* BaseImage.busybox({
          ref: "localhost/links:1",
          layers: [[{ name: "links/a", body: "a" }, link]]
        })
        yield* BaseImage.importImage(containerd, image)
        const container = yield* Container.run(containerd, { image: image.ref })
        yield* container.exec(
          "echo more >> /links/b; ln /links/b /links/c; ln /data/keep.txt /data/kept; ln /bin/busybox /bb"
        )
        yield* Commits.exactly(container)
        yield* container.exec("rm /data/keep.txt /links/a")
        yield* Commits.exactly(container)
      })
    )
  })
})

const options: ReadonlyArray<readonly [string, Omit<Commit.CommitOptions, "container">]> = [
  ["exclude", { exclude: ["data/new", "etc", "data/delete.txt"] }],
  ["include", { include: ["data/**/file", "data/opaque", "data/change.txt"] }],
  ["stubs keep", { stubs: "keep" }],
  ["stubs omit", { stubs: "omit" }],
  ["created", { created: "2024-05-06T07:08:09Z" }],
  ["created, rewriteTimestamp", { created: "2024-05-06T07:08:09Z", rewriteTimestamp: true }],
  ["uncompressed", { compression: "uncompressed" }],
  ["gzip", { compression: "gzip" }],
  ["zstd", { compression: "zstd" }],
  ["docker", { format: "docker" }],
  ["docker, uncompressed", { format: "docker", compression: "uncompressed" }]
]

describeDaemons("the options of a commit, by the host", () => {
  layer(Host.layer("2.x"), { excludeTestServices: true })((it) => {
    const all = ways.flatMap(([way, change]) => options.map(([name, given]) => [name, way, given, change] as const))
    it.effect.each(all)("give the tree that containerd's differ gives (%s, %s)", ([, , given, change]) =>
      Effect.gen(function* () {
        const { base, containerd } = yield* Host.Host
        const outside = yield* Debris.directory
        const flags = ["--mount", `type=bind,src=${outside},dst=/mnt/dir,options=rbind:ro`]
        const container = yield* Container.run(containerd, { image: base.ref, flags })
        yield* container.exec(change)
        const treeOf = Effect.fnUntraced(function* (differ: Commit.DifferChoice) {
          const committed = yield* Commit.commit({ container: container.id, differ, ...given })
          assert.strictEqual(committed.differ, differ)
          if (differ === "host") yield* Commits.consistent(committed)
          if (given.created !== undefined) {
            const again = yield* Commit.commit({ container: container.id, differ, ...given })
            assert.deepStrictEqual(again.image, committed.image)
          }
          const key = Option.getOrThrow(committed.chainId)
          const tree = yield* Tree.ofSnapshot(containerd, { snapshotter: "overlayfs", key })
          return Commits.belowRoot(tree)
        })
        Commits.assertSame(yield* treeOf("host"), yield* treeOf("containerd"))
      })
    )
  })
})
