import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { Commit, Leases } from "effect-containerd"
import * as Cache from "../support/Cache.ts"
import { describeDaemons } from "../support/Daemons.ts"
import * as Inventory from "../support/Inventory.ts"
import { run as runProgram } from "../support/Process.ts"
import * as Tree from "../support/Tree.ts"
import { docker, Engine, layer as engine, run, runDetached } from "./Engine.ts"
import * as Records from "./Records.ts"

const nameOf = (tag: string) => `docker.io/library/${tag}`

/** With the layer that Docker makes, to the byte. */
const asDocker = { differ: "containerd", stubs: "keep" } as const

const inventory = Effect.flatMap(Engine, ({ containerd }) => Inventory.take(containerd, "moby"))

/** The files of a new container of the image, without those that Docker makes for each. */
const tree = Effect.fnUntraced(function* (image: string) {
  const { directory } = yield* Engine
  const id = yield* docker("create", "--network", "none", image, "sh")
  const [archive, root] = [join(directory, `${id}.tar`), join(directory, id)]
  mkdirSync(root)
  yield* docker("export", "--output", archive, id)
  yield* runProgram("tar", ["--extract", "--file", archive, "--directory", root, "--numeric-owner", "--xattrs"])
  yield* docker("rm", "-v", id)
  const made = /^\/(\.dockerenv$|etc\/(hosts|hostname|resolv\.conf|mtab)$|(dev|proc|sys)(\/|$))/
  const entries = yield* Tree.ofDirectory(root, { directoryMtime: false })
  return entries.filter(({ path }) => !made.test(path))
})

const history = (image: string) =>
  docker("history", "--no-trunc", "--format", "{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}", image)

/** What `docker rmi` prints, without digests. */
const removed = (image: string) =>
  Effect.map(docker("rmi", image), (output) => output.replace(/sha256:[0-9a-f]{64}/g, "sha256").replaceAll(image, ""))

/** The static busybox as the only file of an image, and so no shell in the usual place. */
const buildScratch = Effect.fnUntraced(function* (tag: string) {
  const { directory, socket } = yield* Engine
  const context = join(directory, tag)
  mkdirSync(context)
  yield* runProgram("cp", [Cache.program("busybox", "busybox"), join(context, "busybox")])
  writeFileSync(join(context, "Dockerfile"), 'FROM scratch\nCOPY busybox /busybox\nENTRYPOINT ["/busybox"]\n')
  yield* runProgram(Cache.program("dockerd", "docker"), ["--host", `unix://${socket}`, "build", "-t", tag, context], {
    env: { HOME: directory, DOCKER_BUILDKIT: "0" }
  })
})

describeDaemons("images in a Docker Engine", () => {
  layer(engine(), { excludeTestServices: true })((it) => {
    it.effect("have the labels, the references and the container's config that Docker gives its own", () =>
      Effect.gen(function* () {
        const flags = [
          "-e",
          "A=<&>",
          "-l",
          "a.b=\u2028ü",
          "-v",
          "/v",
          "-u",
          "user",
          "--health-cmd",
          "true",
          "--stop-timeout",
          "3"
        ]
        const id = yield* runDetached("echo 1 > /tmp/1", ...flags)
        yield* docker("commit", "-c", "ENV B=1", id, "same:1")
        const theirs = yield* Records.take(nameOf("same:1"))
        yield* docker("rmi", "same:1")
        yield* Commit.commit({ container: id, name: "same:1", changes: ["ENV B=1"], ...asDocker })
        const ours = yield* Records.take(nameOf("same:1"))
        assert.deepStrictEqual(ours, theirs)
        assert.include(ours.containerConfig.text, "A=\\u003c\\u0026\\u003e")
        yield* docker("rm", "-f", "-v", id)
        yield* docker("rmi", "same:1")
      })
    )

    it.effect("without a name have them, too", () =>
      Effect.gen(function* () {
        const id = yield* docker("create", "--network", "none", "base:1", "sh")
        const theirId = yield* docker("commit", id)
        const theirs = yield* Records.take(`moby-dangling@${theirId}`)
        const { image } = yield* Commit.commit({ container: id })
        assert.strictEqual(image.name, `moby-dangling@${image.target.digest}`)
        const ours = yield* Records.take(image.name)
        // One document for both.
        assert.strictEqual(ours.containerConfig.text, theirs.containerConfig.text)
        assert.deepStrictEqual(ours.image, theirs.image)
        yield* docker("rmi", theirId)
        assert.deepStrictEqual(yield* Records.take(image.name), ours)
        yield* docker("rmi", image.target.digest)
        yield* docker("rm", id)
      })
    )

    it.effect("are found by the cache of the classic builder", () =>
      Effect.gen(function* () {
        const { directory, socket } = yield* Engine
        const id = yield* docker("run", "-d", "--network", "none", "base:1", "/bin/sh", "-c", "echo hi > /hi")
        yield* docker("wait", id)
        const { image } = yield* Commit.commit({ container: id, name: "cached:1" })
        const context = join(directory, "cached")
        mkdirSync(context)
        writeFileSync(join(context, "Dockerfile"), "FROM base:1\nRUN echo hi > /hi\n")
        const build = ["--host", `unix://${socket}`, "build", "--network", "none", "-q", context]
        const env = { HOME: directory, DOCKER_BUILDKIT: "0" }
        const built = yield* runProgram(Cache.program("dockerd", "docker"), build, { env })
        assert.strictEqual(built.trim(), image.target.digest)
        yield* docker("rm", id)
        yield* docker("rmi", "cached:1")
      })
    )

    it.effect("have the tree that those of docker commit have: volumes, bind mounts and their mount points", () =>
      Effect.gen(function* () {
        const { directory } = yield* Engine
        const [bound, file] = [join(directory, "bound"), join(directory, "bound-file")]
        mkdirSync(bound)
        writeFileSync(file, "not in the image\n")
        const mounts = [
          ...["-v", "/anonymous", "-v", "named:/data/named", "-v", `${bound}:/bound/deep`, "-v", `${file}:/file`],
          ...["-v", `${bound}:/etc/over`, "--tmpfs", "/memory"]
        ]
        const script = [
          ...["echo 1 > /anonymous/f", "echo 2 > /data/named/f", "echo 3 > /bound/deep/f", "echo 4 > /memory/f"],
          ...["echo 5 > /bound/beside", "mkdir -p /a/b", "chown 5:6 /a/b", "chmod 1770 /a", "ln -s b /a/c"],
          ...["rm /data/delete.txt", "mkfifo /p", "chmod 4755 /a/b"]
        ].join("; ")
        const id = yield* runDetached(script, ...mounts)
        for (const state of ["running", "stopped"]) {
          if (state === "stopped") yield* docker("stop", "-t", "0", id)
          yield* docker("commit", id, "theirs:1")
          yield* Commit.commit({ container: id, name: "ours:1", stubs: "keep" })
          yield* Commit.commit({ container: id, name: "bare:1" })
          const [theirs, ours, bare] = yield* Effect.forEach(["theirs:1", "ours:1", "bare:1"], tree)
          assert.deepStrictEqual(ours, theirs, state)
          const paths = (bare ?? []).map(({ path }) => path)
          const gone = (theirs ?? []).filter(({ path }) => !paths.includes(path)).map(({ path }) => path)
          assert.deepStrictEqual(gone, ["/anonymous", "/bound/deep", "/data/named", "/etc/over", "/file", "/memory"])
          assert.include(paths, "/bound/beside")
          yield* docker("rmi", "theirs:1", "ours:1", "bare:1")
        }
        yield* docker("rm", "-f", "-v", id)
        yield* docker("volume", "rm", "named")
      })
    )

    it.effect("come from containers of an image FROM scratch as well", () =>
      Effect.gen(function* () {
        yield* buildScratch("scratch:1")
        const id = yield* docker("run", "-d", "--network", "none", "scratch:1", "sleep", "1000")
        yield* docker("exec", id, "/busybox", "sh", "-c", "echo 1 > /new; /busybox mkdir -p /usr/bin")
        yield* docker("commit", id, "theirs:1")
        const theirs = yield* Records.take(nameOf("theirs:1"))
        const theirTree = yield* tree("theirs:1")
        yield* docker("rmi", "theirs:1")
        yield* Commit.commit({ container: id, name: "ours:1", ...asDocker })
        assert.deepStrictEqual(yield* Records.take(nameOf("ours:1")), theirs)
        assert.deepStrictEqual(yield* tree("ours:1"), theirTree)
        assert.include(
          theirTree.map(({ path }) => path),
          "/new"
        )
        assert.strictEqual(yield* run("ours:1", "cat", "/new"), "1")
        yield* docker("rm", "-f", id)
        yield* docker("rmi", "ours:1", "scratch:1")
      })
    )

    it.effect("are saved, loaded, told and removed as Docker's own", () =>
      Effect.gen(function* () {
        const { directory } = yield* Engine
        const id = yield* runDetached("echo 1 > /1")
        yield* docker("commit", "-m", "why", id, "theirs:1")
        yield* Commit.commit({ container: id, name: "ours:1", message: "why" })
        assert.strictEqual(yield* history("ours:1"), yield* history("theirs:1"))
        const file = join(directory, "saved.tar")
        const digest = yield* docker("image", "inspect", "-f", "{{.Id}}", "ours:1")
        const before = yield* history("ours:1")
        yield* docker("save", "--output", file, "ours:1")
        assert.strictEqual(yield* removed("ours:1"), yield* removed("theirs:1"))
        yield* docker("load", "--input", file)
        assert.strictEqual(yield* docker("image", "inspect", "-f", "{{.Id}}", "ours:1"), digest)
        assert.strictEqual(yield* history("ours:1"), before)
        assert.strictEqual(yield* run("ours:1", "cat", "/1"), "1")
        yield* docker("rmi", "ours:1")
        yield* docker("rm", "-f", id)
      })
    )

    it.effect("that lose a name are kept as Docker keeps them: without one only when it was the last", () =>
      Effect.gen(function* () {
        const id = yield* docker("create", "--network", "none", "base:1", "sh")
        const commits = {
          theirs: (name: string) => docker("commit", id, name),
          ours: (name: string) => Commit.commit({ container: id, name, keepReplaced: true })
        }
        const counts = yield* Effect.forEach(Object.values(commits), (commit) =>
          Effect.gen(function* () {
            const dangling = Effect.map(
              docker("images", "-q", "--filter", "dangling=true"),
              (ids) => ids.split("\n").filter((one) => one !== "").length
            )
            yield* commit("kept:1")
            yield* docker("tag", "kept:1", "kept:2")
            yield* commit("kept:1")
            const one = yield* dangling
            yield* commit("kept:2")
            const two = yield* dangling
            yield* docker("rmi", "kept:1", "kept:2")
            yield* docker("image", "prune", "-f")
            return [one, two, yield* dangling]
          })
        )
        assert.deepStrictEqual(counts, [
          [0, 1, 0],
          [0, 1, 0]
        ])
        yield* docker("rm", id)
      })
    )

    it.effect("leave nothing when Docker prunes, and what is in use goes on", () =>
      Effect.gen(function* () {
        const keeper = yield* runDetached("true")
        yield* docker("system", "prune", "-af", "--volumes")
        const before = yield* inventory
        const id = yield* runDetached("echo 1 > /1", "-v", "/v")
        for (const round of ["1", "2"]) {
          yield* docker("exec", id, "sh", "-c", `echo ${round} > /round`)
          yield* Commit.commit({ container: id, name: "ours:1", keepReplaced: true })
          yield* docker("commit", id, "theirs:1")
        }
        yield* Commit.commit({ container: id, name: ["ours:2", "other:1"] })
        yield* Commit.commit({ container: id })
        const user = yield* docker("run", "-d", "--network", "none", "ours:1", "sleep", "1000")
        yield* docker("rm", "-f", "-v", id)

        yield* docker("system", "prune", "-af")
        yield* Inventory.collectGarbage((yield* Engine).containerd, "moby")
        const left = yield* docker("images", "-a", "--format", "{{.Repository}}:{{.Tag}}")
        assert.deepStrictEqual(left.split("\n").sort(), ["base:1", "ours:1"])
        assert.strictEqual(yield* docker("exec", user, "cat", "/1", "/round"), "1\n2")
        assert.strictEqual(yield* run("ours:1", "cat", "/1", "/round"), "1\n2")
        assert.strictEqual(yield* run("base:1", "echo", "up"), "up")
        // What is left is whole.
        yield* Commit.commit({ container: user, name: "again:1" })
        assert.strictEqual(yield* run("again:1", "cat", "/round"), "2")

        yield* docker("rm", "-f", user)
        yield* docker("system", "prune", "-af", "--volumes")
        assert.deepStrictEqual(yield* inventory, before)
        yield* docker("rm", "-f", keeper)
      })
    )

    it.effect("do not touch the lease that Docker holds for the container", () =>
      Effect.gen(function* () {
        const { containerd } = yield* Engine
        const leases = yield* Leases.Leases
        const id = yield* runDetached("echo 1 > /1")
        const lease = Effect.gen(function* () {
          const rows = (yield* containerd.ctr(["leases", "ls"], { namespace: "moby" })).split("\n")
          const resources = yield* leases.resources(id)
          return { row: rows.filter((row) => row.startsWith(id)), resources: resources.map((one) => one.id).sort() }
        })
        const before = yield* lease
        assert.lengthOf(before.row, 1)
        assert.isNotEmpty(before.resources)
        yield* Commit.commit({ container: id, name: "leased:1" })
        assert.deepStrictEqual(yield* lease, before)
        yield* Effect.flip(Commit.commit({ container: id, name: "leased:1", maxLayers: 1 }))
        yield* docker("stop", "-t", "0", id)
        yield* Commit.commit({ container: id, name: "leased:1" })
        assert.deepStrictEqual(yield* lease, before)
        yield* docker("rmi", "leased:1")
        assert.deepStrictEqual(yield* lease, before)
        yield* docker("start", id)
        assert.strictEqual(yield* docker("exec", id, "cat", "/1"), "1")
        yield* docker("rm", "-f", id)
      })
    )
  })
})
