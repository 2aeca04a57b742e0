import { assert, layer } from "@effect/vitest"
import { Effect, Option, Schema } from "effect"
import { Commit } from "effect-containerd"
import * as Cli from "../support/Cli.ts"
import { describeEngines, Engine, layer as engine, runDetached } from "./Engine.ts"

const Config = Schema.Record(Schema.String, Schema.Unknown)
const Inspected = Schema.fromJsonString(
  Schema.Array(Schema.StructWithRest(Schema.Struct({ Config }), [Schema.Record(Schema.String, Schema.Unknown)]))
)

/** Names and times, and what follows from the digest and the size of the manifest, which Docker indents. */
const own = ["Id", "RepoTags", "RepoDigests", "Created", "Metadata", "Descriptor", "Size"]

/** What Docker says of an image, but for its identity. */
const inspect = Effect.fnUntraced(function* (image: string) {
  const { docker } = yield* Engine
  const [found] = yield* Schema.decodeUnknownEffect(Inspected)(yield* docker(["image", "inspect", image]))
  const { Config: config = {}, ...others } = found ?? {}
  const rest = Object.fromEntries(Object.entries(others).filter(([key]) => !own.includes(key)))
  // Docker 26 writes null for no labels.
  return { ...rest, Config: { ...config, Labels: config["Labels"] ?? {} } }
})

const records = Effect.gen(function* () {
  const { containerd } = yield* Engine
  const list = (...args: ReadonlyArray<string>) => containerd.ctr(args, { namespace: "moby" })
  return yield* Effect.all([
    list("images", "ls", "-q"),
    list("content", "ls", "-q"),
    list("snapshots", "ls"),
    list("leases", "ls", "-q")
  ])
})

const runFlags = ["--network", "none"]
const every = "find / -xdev -not -path '/proc/*' -not -path '/sys/*' | sort"

describeEngines("containers of a Docker Engine", (version) => {
  layer(engine(version), { excludeTestServices: true })((it) => {
    it.effect("are committed by name, running and stopped, and Docker takes the images for its own", () =>
      Effect.gen(function* () {
        const { docker } = yield* Engine
        const id = (yield* docker([
          ...["run", "-d", "--name", "web", "--network", "none", "-e", "A=1", "-v", "/volume"],
          ...["base:1", "sh", "-c", "echo one > /one; echo v > /volume/v; exec sleep 1000"]
        ])).trim()
        const running = yield* Commit.commit({ container: "web", name: "app:1", changes: ["ENV B=$A"] })
        assert.isAbove(running.pausedMs, 0)
        assert.strictEqual((yield* docker(["inspect", "-f", "{{.State.Status}}", id])).trim(), "running")
        assert.strictEqual(Option.getOrThrow(running.parent).name, "docker.io/library/base:1")
        const said = yield* docker([
          "run",
          "--rm",
          "--network",
          "none",
          "app:1",
          "sh",
          "-c",
          "cat /one; echo $B; ls /volume"
        ])
        assert.strictEqual(said, "one\n1\n")

        yield* docker(["stop", "-t", "0", "web"])
        const stopped = yield* Commit.commit({ container: id.slice(0, 12), name: "app:2" })
        assert.strictEqual(stopped.pausedMs, 0)
        assert.strictEqual(yield* docker(["run", "--rm", "--network", "none", "app:2", "cat", "/one"]), "one\n")
        const names = yield* docker(["images", "--format", "{{.Repository}}:{{.Tag}}"])
        assert.includeMembers(names.split("\n"), ["app:1", "app:2", "base:1"])
        yield* docker(["rmi", "app:1", "app:2"])
      })
    )

    it.effect("give the image that docker commit gives, but for what no two commits share", () =>
      Effect.gen(function* () {
        const { directory, docker } = yield* Engine
        const created = [
          ["run", "-d", "-e", "A=1", "-v", "/volume", "-l", "l=1", "-w", "/data", "-u", "user", "--expose", "80"],
          ["run", "-d", "-v", `${directory}:/bound`, "--entrypoint", "/bin/sh", "--stop-signal", "USR1"],
          ["create", "--health-cmd", "true", "--health-interval", "3s", "--hostname", "h"]
        ]
        for (const [i, [command = "", ...flags]] of created.entries()) {
          const args = [...runFlags, ...flags, "base:1", ...(i === 1 ? ["-c"] : ["sh", "-c"]), "sleep 1000"]
          const id = (yield* docker([command, ...args])).trim()
          if (command === "run")
            yield* docker(["exec", "-u", "0", id, "sh", "-c", "echo one > /one; rm /data/delete.txt"])
          yield* docker(["commit", "-a", "me", "-m", "text", "-c", "ENV B=$A", id, `theirs:${i}`])
          const options = {
            author: "me",
            message: "text",
            changes: ["ENV B=$A"],
            differ: "containerd",
            stubs: "keep"
          } as const
          yield* Commit.commit({ container: id, name: `ours:${i}`, ...options })
          assert.deepStrictEqual(yield* inspect(`ours:${i}`), yield* inspect(`theirs:${i}`))
          const [ours, theirs] = yield* Effect.forEach(["ours", "theirs"], (name) =>
            docker(["run", "--rm", ...runFlags, "-u", "0", "--entrypoint", "sh", `${name}:${i}`, "-c", every])
          )
          assert.strictEqual(ours, theirs)
          yield* docker(["rm", "-f", "-v", id])
        }
      })
    )

    it.effect("are committed by `npm run commit -- --docker`, with the flags of docker commit", () =>
      Effect.gen(function* () {
        const { containerd, docker, socket } = yield* Engine
        const id = yield* runDetached("echo one > /one", "--name", "flags", "-e", "A=1")
        const flags = ["-a", "me", "-m", "text", "-c", "ENV B=$A", "-c", 'CMD ["cat", "/one"]']
        yield* docker(["commit", "--pause=false", ...flags, "flags", "theirs:9"])
        const { exitCode, stderr, stdout } = yield* Cli.run(containerd, [
          ...[`--docker=${socket}`, ...(version === 26 ? ["--address", containerd.address] : [])],
          ...["--no-pause", "--quiet", ...flags],
          ...["flags", "ours:9"]
        ])
        assert.deepStrictEqual({ exitCode, stderr }, { exitCode: 0, stderr: "" })
        assert.strictEqual(stdout, yield* docker(["image", "inspect", "-f", "{{.Id}}", "ours:9"]))
        // The layer is read in another way here, so its bytes are others.
        const [ours, theirs] = [yield* inspect("ours:9"), yield* inspect("theirs:9")]
        assert.deepStrictEqual({ ...ours, RootFS: undefined }, { ...theirs, RootFS: undefined })
        assert.strictEqual(yield* docker(["run", "--rm", ...runFlags, "ours:9"]), "one\n")
        const gone = yield* Cli.run(containerd, [`--docker=${socket}`, "gone"])
        assert.strictEqual(gone.exitCode, 1)
        yield* docker(["rm", "-f", id])
        yield* docker(["rmi", "ours:9", "theirs:9"])
      })
    )

    // One that the engine has started, and the machine's. A newer engine says where it is.
    it.effect.each(["/run/docker/containerd", "/run/containerd"])("are found with containerd in %s", (directory) =>
      Effect.gen(function* () {
        const { containerd, docker, socket } = yield* Engine
        const id = yield* runDetached("echo one > /one")
        const script = `mount -t tmpfs tmpfs /run; mkdir -p ${directory}; ln -s "$0" ${directory}/containerd.sock; exec "$@"`
        const wrapper = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script, containerd.address]
        const { exitCode, stderr } = yield* Cli.run(containerd, [`--docker=${socket}`, "--quiet", id, "found:1"], {
          wrapper
        })
        assert.deepStrictEqual({ exitCode, stderr }, { exitCode: 0, stderr: "" })
        assert.strictEqual(yield* docker(["run", "--rm", ...runFlags, "found:1", "cat", "/one"]), "one\n")
        yield* docker(["rm", "-f", id])
        yield* docker(["rmi", "found:1"])
      })
    )

    it.effect("leave nothing when Docker removes the images, and take nothing along that is in use", () =>
      Effect.gen(function* () {
        const { docker } = yield* Engine
        yield* docker(["system", "prune", "-f"])
        const before = yield* records
        const id = (yield* docker([
          "run",
          "-d",
          ...runFlags,
          "base:1",
          "sh",
          "-c",
          "echo 1 > /1; exec sleep 1000"
        ])).trim()
        yield* Commit.commit({ container: id, name: "gone:1", keepReplaced: true })
        yield* docker(["exec", id, "sh", "-c", "echo 2 > /2"])
        yield* Commit.commit({ container: id, name: "gone:1", keepReplaced: true })
        const dangling = yield* docker(["images", "-q", "--filter", "dangling=true"])
        assert.lengthOf(dangling.trim().split("\n"), 1)
        // The image of the running container and the names are in use.
        yield* docker(["system", "prune", "-f"])
        assert.strictEqual(yield* docker(["run", "--rm", ...runFlags, "gone:1", "cat", "/1", "/2"]), "1\n2\n")
        assert.strictEqual(yield* docker(["exec", id, "cat", "/1"]), "1\n")
        yield* docker(["rm", "-f", id])
        yield* docker(["rmi", "gone:1"])
        assert.deepStrictEqual(yield* records, before)
      })
    )

    it.effect("are refused as Docker refuses them", () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(Commit.commit({ container: "nothing" }))
        assert.strictEqual(error.reason._tag, "ContainerNotFound")
      })
    )
  })
})
