import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { Commit, Leases } from "effect-containerd"
import * as Cli from "../support/Cli.ts"
import * as Container from "../support/Container.ts"
import { describeDaemons } from "../support/Daemons.ts"
import * as Host from "../support/Host.ts"
import * as Inventory from "../support/Inventory.ts"
import { sleep } from "../support/Process.ts"

const digest = /^sha256:[0-9a-f]{64}$/

/** Takes some seconds to compress, so that there is time to do something to the commit. */
const muchToCompress = "head -c 150000000 /dev/urandom > /big"
const muchToCopy = "head -c 3000000000 /dev/zero > /big"

/** How a container is read, what keeps it frozen for a while, and whether it stays so when the program is gone. */
const ways = [
  ["containerd", muchToCompress, true],
  ["host", muchToCopy, false]
] as const

const untilFrozen = Effect.fnUntraced(function* (container: Container.Container, wanted = true) {
  while ((yield* container.isFrozen) !== wanted) yield* sleep(20)
})

describeDaemons("examples/commit.ts on containerd 2.x", () => {
  layer(Host.layer("2.x"), { excludeTestServices: true })((it) => {
    it.effect(
      "prints one JSON object, and leaves an image that runs and nothing else",
      () =>
        Effect.gen(function* () {
          const { base, containerd } = yield* Host.Host
          const container = yield* Container.run(containerd, { image: base.ref })
          yield* container.exec("echo one > /one")
          const options = ["--address", containerd.address, "--namespace", "default", "--json"]
          const { exitCode, stderr, stdout } = yield* Cli.run(
            containerd,
            [...options, container.id, "docker.io/library/snap:1"],
            { program: ["npm", "run", "--silent", "commit", "--"] }
          )
          assert.strictEqual(stderr, "")
          assert.strictEqual(exitCode, 0)
          const json: unknown = JSON.parse(stdout)
          assert.hasAllKeys(json, [
            ...["image", "names", "config", "layer", "chainId", "parent", "index", "replaced"],
            ...["snapshotter", "differ", "notCarried", "pausedMs", "durationMs"]
          ])
          assert.nestedPropertyVal(json, "image.name", "docker.io/library/snap:1")
          assert.nestedPropertyVal(json, "parent.name", base.ref)
          assert.nestedPropertyVal(json, "parent.digest", base.target.digest)
          assert.nestedPropertyVal(json, "layer.mediaType", "application/vnd.oci.image.layer.v1.tar+gzip")
          assert.nestedPropertyVal(json, "snapshotter", "overlayfs")
          assert.nestedPropertyVal(json, "differ", "host")
          for (const key of ["image.digest", "config.digest", "layer.digest", "layer.diffId", "chainId"]) {
            assert.match(String(key.split(".").reduce((value: unknown, name) => Object(value)[name], json)), digest)
          }

          const inventory = yield* Inventory.take(containerd)
          assert.deepStrictEqual(inventory.leases, [])
          assert.deepStrictEqual(inventory.ingests, [])
          assert.deepStrictEqual(
            inventory.snapshots.filter((line) => !line.endsWith("Committed")),
            [`overlayfs ${container.id} ${base.manifests[0].layers[0]?.diffId} Active`]
          )
          assert.strictEqual(
            yield* Container.runOnce(containerd, { image: "docker.io/library/snap:1" }, "cat /one"),
            "one\n"
          )
        }),
      60_000
    )

    it.effect(
      "prints null for the layer when nothing changed, the digest alone with -q, a summary without; podman and buildah -q",
      () =>
        Effect.gen(function* () {
          const { base, containerd } = yield* Host.Host
          const container = yield* Container.create(containerd, { image: base.ref })
          const same = yield* Cli.run(containerd, ["--json", container.id])
          assert.propertyVal(JSON.parse(same.stdout), "layer", null)
          const quiet = yield* Cli.run(containerd, ["-q", container.id, "quiet"])
          assert.match(quiet.stdout.trimEnd(), digest)
          const summary = yield* Cli.run(containerd, ["-a", "me", "-m", "why", "--no-pause", container.id, "summary"])
          assert.match(summary.stdout, /^docker\.io\/library\/summary:latest\n {2}sha256:.*\n.*paused for 0 ms\n$/)
        })
    )

    it.effect("takes the time of creation from SOURCE_DATE_EPOCH, and --created before it", () =>
      Effect.gen(function* () {
        const { base, containerd } = yield* Host.Host
        const container = yield* Container.run(containerd, { image: base.ref })
        const created = (args: ReadonlyArray<string>) =>
          Effect.map(
            Cli.run(containerd, ["-q", ...args, container.id], { env: { SOURCE_DATE_EPOCH: "1700000000" } }),
            ({ stdout }) => stdout
          )
        const epoch = yield* created([])
        assert.match(epoch.trimEnd(), digest)
        assert.strictEqual(yield* created(["--created", "2023-11-14T22:13:20Z"]), epoch)
        assert.notStrictEqual(yield* created(["--created", "2023-11-14T22:13:21Z"]), epoch)
      })
    )

    const nobody = [
      "setpriv",
      "--reuid=65534",
      "--regid=65534",
      "--clear-groups",
      "--inh-caps=+dac_read_search",
      "--ambient-caps=+dac_read_search"
    ]

    it.effect(
      "answers bad input with one line that says what to do, and changes nothing",
      () =>
        Effect.gen(function* () {
          const { base, containerd } = yield* Host.Host
          const { id } = yield* Container.run(containerd, { image: base.ref })
          const before = yield* Inventory.take(containerd)
          const cases: ReadonlyArray<
            readonly [args: ReadonlyArray<string>, exitCode: number, message: RegExp, options?: Cli.Options]
          > = [
            [["gone"], 1, /there is no container "gone" in the namespace "default"; the namespaces here are: default/],
            [["-n", "elsewhere", id], 1, /no container .* in the namespace "elsewhere"; the namespaces here are/],
            [["-n", "no/namespace", id], 1, /namespace/],
            [[id, "Upper"], 2, /invalid reference "Upper": repository name must be lowercase/],
            [[id, "app@sha256:00"], 2, /invalid reference/],
            [[id, `app@sha256:${"0".repeat(64)}`], 2, /cannot be given the digest/],
            [["--snapshotter", "zfs", id], 1, /there is no snapshotter "zfs" here; there are: .*overlayfs/],
            [["--snapshotter", "native", id], 1, /the snapshotter "native" has no snapshot/],
            [["--address", "/nowhere.sock", id], 1, /there is no socket \/nowhere\.sock: start containerd/],
            [[id], 1, /may not open .*: run as root/, { wrapper: nobody }],
            [["--compression", "lz4", id], 2, /--compression: "lz4"/],
            [["--created", "yesterday", id], 2, /invalid timestamp "yesterday"/],
            [[id], 2, /SOURCE_DATE_EPOCH is "soon"/, { env: { SOURCE_DATE_EPOCH: "soon" } }],
            [["--platform", "a/b/c/d", id], 2, /invalid platform "a\/b\/c\/d"/],
            [["--parent", "gone:1", id], 1, /image gone:1 is not here any more: pull it again/],
            [["--colour", id], 2, /Unrecognized flag: --colour/],
            [[], 2, /Missing required argument: CONTAINER/]
          ]
          for (const [args, exitCode, message, options] of cases) {
            const result = yield* Cli.run(containerd, args, options)
            assert.match(result.stderr, /^error: .*\n$/, args.join(" "))
            assert.match(result.stderr, message)
            assert.strictEqual(result.stdout, "", args.join(" "))
            assert.strictEqual(result.exitCode, exitCode, args.join(" "))
          }
          assert.deepStrictEqual(yield* Inventory.take(containerd), before)
        }),
      120_000
    )

    it.effect(
      "an interrupt ends it with 130, the container runs again and nothing is left",
      () =>
        Effect.gen(function* () {
          const { base, containerd } = yield* Host.Host
          const container = yield* Container.run(containerd, { image: base.ref })
          yield* container.exec(muchToCopy)
          const before = yield* Inventory.take(containerd)
          const commit = yield* Cli.start([container.id, "interrupted"], {
            env: { CONTAINERD_ADDRESS: containerd.address }
          })
          yield* untilFrozen(container)
          yield* commit.kill("SIGINT")
          const { exitCode, stderr, stdout } = yield* commit.result
          assert.deepStrictEqual({ exitCode, stderr, stdout }, { exitCode: 130, stderr: "interrupted\n", stdout: "" })
          assert.strictEqual(yield* container.status, "RUNNING")
          assert.deepStrictEqual(yield* Inventory.take(containerd), before)
        }),
      60_000
    )

    it.effect.each(ways)(
      "after kill -9 the container runs on, with recover at the latest, which drops what was made; so does the next commit by itself (%s)",
      ([differ, much, staysFrozen]) =>
        Effect.gen(function* () {
          const { base, containerd } = yield* Host.Host
          const container = yield* Container.run(containerd, { image: base.ref })
          yield* container.exec(much)
          const before = yield* Inventory.take(containerd)
          const killCommit = Effect.gen(function* () {
            const commit = yield* Cli.start(["--differ", differ, container.id, "killed"], {
              env: { CONTAINERD_ADDRESS: containerd.address }
            })
            yield* untilFrozen(container)
            // While it lives, nobody takes its lease away.
            assert.deepStrictEqual(yield* Commit.recover(), [])
            const busy = yield* Effect.flip(Commit.commit({ container: container.id }))
            assert.strictEqual(busy.reason._tag, "ContainerBusy")
            yield* commit.kill("SIGKILL")
            yield* commit.result
            if (staysFrozen) assert.strictEqual(yield* container.status, "PAUSED")
            else yield* untilFrozen(container, false)
          })

          yield* killCommit
          assert.deepStrictEqual(yield* Commit.recover(), [{ container: container.id, resumed: staysFrozen }])
          assert.strictEqual(yield* container.status, "RUNNING")
          assert.deepStrictEqual(yield* Inventory.take(containerd), before)
          assert.deepStrictEqual(yield* Commit.recover(), [])

          yield* killCommit
          if (staysFrozen) yield* container.resume
          yield* container.exec("rm /big; echo small > /small")
          if (staysFrozen) yield* container.pause
          const committed = yield* Commit.commit({ container: container.id, name: "next" })
          assert.isAbove(committed.pausedMs, 0)
          assert.strictEqual(yield* container.status, "RUNNING")
          assert.deepStrictEqual(yield* Leases.Leases.use((leases) => leases.list()), [])
        }),
      120_000
    )
  })
})
