import { spawn } from "node:child_process"
import { mkdirSync, mkdtempSync, readFileSync, rmdirSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, it, layer } from "@effect/vitest"
import { Effect } from "effect"
import { Commit, Leases } from "effect-containerd"
import * as Freezer from "../../src/host/Freezer.ts"
import * as Cli from "../support/Cli.ts"
import * as Container from "../support/Container.ts"
import { describeDaemons } from "../support/Daemons.ts"
import * as Host from "../support/Host.ts"
import * as Inventory from "../support/Inventory.ts"
import { run, sleep } from "../support/Process.ts"

const name = `effect-containerd-test-${process.pid}`

/** A new cgroup, with a process in it that makes a file longer all the time. */
const counting = Effect.fnUntraced(function* (directory: string) {
  const file = join(mkdtempSync(join(tmpdir(), "effect-containerd-freezer-")), "grows")
  const counter = spawn("sh", ["-c", 'while echo >> "$1"; do sleep 0.002; done', "sh", file])
  yield* Effect.acquireRelease(
    Effect.sync(() => {
      mkdirSync(directory)
      writeFileSync(join(directory, "cgroup.procs"), String(counter.pid))
    }),
    () =>
      Effect.gen(function* () {
        counter.kill("SIGKILL")
        while (readFileSync(join(directory, "cgroup.procs"), "utf8") !== "") yield* sleep(5)
        rmdirSync(directory)
      })
  )
  const size = () => statSync(file, { throwIfNoEntry: false })?.size ?? 0
  while (size() === 0) yield* sleep(5)
  const grows = Effect.gen(function* () {
    const before = size()
    yield* sleep(60)
    return size() > before
  })
  return { grows, pid: counter.pid ?? 0 }
})

/** Where this machine has each hierarchy; a machine with one has that alone. */
const mounted = (type: string): string | undefined =>
  readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .find((line) => line.includes(` - ${type} `) && (type === "cgroup2" || /\bfreezer\b/.test(line)))
    ?.split(" ")[4]

const hierarchies = [
  ["cgroup", Freezer.version1],
  ["cgroup2", Freezer.version2]
] as const

describeDaemons("a cgroup", () => {
  const here = hierarchies.flatMap(([type, of]) => {
    const root = mounted(type)
    return root === undefined ? [] : [[type, of, join(root, name)] as const]
  })

  it("is to be had on this machine", () => assert.isNotEmpty(here))

  it.live.each(here)("stands still until the scope closes (%s)", ([, of, directory]) =>
    Effect.gen(function* () {
      const { grows } = yield* counting(directory)
      const cgroup = of(directory)
      assert.deepStrictEqual([yield* grows, Freezer.isFrozen(cgroup)], [true, false])
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* Freezer.frozen(cgroup)
          assert.deepStrictEqual([yield* grows, Freezer.isFrozen(cgroup)], [false, true])
          // What others have frozen is theirs.
          const refused = yield* Effect.flip(Effect.scoped(Freezer.frozen(cgroup)))
          assert.include(refused.message, "it is frozen already")
          assert.deepStrictEqual([yield* grows, Freezer.isFrozen(cgroup)], [false, true])
        })
      )
      assert.deepStrictEqual([yield* grows, Freezer.isFrozen(cgroup)], [true, false])
    }).pipe(Effect.scoped)
  )

  it.live("that is gone cannot be frozen, and to thaw it is done", () =>
    Effect.gen(function* () {
      const cgroup = Freezer.version2(join("/sys/fs/cgroup", `${name}-gone`))
      const error = yield* Effect.flip(Effect.scoped(Freezer.frozen(cgroup)))
      assert.strictEqual(error._tag, "HostUnavailable")
      yield* Freezer.thaw(cgroup)
    })
  )
})

/** Takes a while to copy. */
const much = "head -c 1000000000 /dev/zero > /big"

const childrenOf = (pid: number) =>
  Effect.map(Effect.orDie(run("pgrep", ["-P", String(pid)])), (said) => said.trim().split("\n").map(Number))

describeDaemons("a container that this host has frozen", () => {
  layer(Host.layer("2.x"), { excludeTestServices: true })((it) => {
    it.effect(
      "runs on with recover when its guard was killed with the program",
      () =>
        Effect.gen(function* () {
          const { base, containerd } = yield* Host.Host
          const container = yield* Container.run(containerd, { image: base.ref })
          yield* container.exec(much)
          const before = yield* Inventory.take(containerd)
          const commit = yield* Cli.start(["--differ", "host", container.id, "killed"], {
            env: { CONTAINERD_ADDRESS: containerd.address }
          })
          while (!(yield* container.isFrozen)) yield* sleep(20)
          yield* commit.kill("SIGSTOP")
          for (const pid of yield* childrenOf(commit.pid)) process.kill(-pid, "SIGKILL")
          yield* commit.kill("SIGKILL")
          yield* commit.result
          yield* sleep(200)
          // The daemon does not know.
          assert.deepStrictEqual([yield* container.isFrozen, yield* container.status], [true, "RUNNING"])
          assert.deepStrictEqual(yield* Commit.recover(), [{ container: container.id, resumed: true }])
          assert.deepStrictEqual([yield* container.isFrozen, yield* container.status], [false, "RUNNING"])
          assert.deepStrictEqual(yield* Inventory.take(containerd), before)
        }),
      60_000
    )

    it.effect("is nobody else's to pause, to resume or to run something in, as during a pause of the daemon's", () =>
      Effect.gen(function* () {
        const { base, containerd } = yield* Host.Host
        const container = yield* Container.run(containerd, { image: base.ref })
        const cgroup = yield* Effect.fromOption(Freezer.find(yield* container.pid, container.id))
        const state = Effect.all([container.status, container.isFrozen])
        yield* Effect.scoped(
          Effect.gen(function* () {
            yield* Freezer.frozen(cgroup)
            for (const others of [container.pause, container.resume, container.exec("true")]) {
              assert.match((yield* Effect.flip(others)).message, /not running|running process|paused container/)
              assert.deepStrictEqual(yield* state, ["RUNNING", true])
            }
          })
        )
        assert.deepStrictEqual(yield* state, ["RUNNING", false])
        assert.strictEqual(yield* container.exec("echo runs"), "runs\n")
      })
    )

    it.effect("is not thawed when it was frozen before, by whomever", () =>
      Effect.gen(function* () {
        const { base, containerd } = yield* Host.Host
        const container = yield* Container.run(containerd, { image: base.ref })
        yield* container.exec("echo 1 > /one")
        yield* container.pause
        const committed = yield* Commit.commit({ container: container.id, differ: "host" })
        assert.strictEqual(committed.pausedMs, 0)
        assert.deepStrictEqual([yield* container.isFrozen, yield* container.status], [true, "PAUSED"])
        yield* container.resume
        const cgroup = yield* Effect.fromOption(Freezer.find(yield* container.pid, container.id))
        writeFileSync(cgroup.file, cgroup.freeze)
        // The daemon cannot freeze it either, and says so.
        const { message } = yield* Effect.flip(Commit.commit({ container: container.id, differ: "host" }))
        assert.include(message, "container not running")
        assert.deepStrictEqual([yield* container.isFrozen, yield* container.status], [true, "RUNNING"])
        yield* Freezer.thaw(cgroup)
        assert.deepStrictEqual(yield* Leases.Leases.use((leases) => leases.list()), [])
      })
    )
  })
})
