import { readdirSync, readFileSync } from "node:fs"
import { assert, layer } from "@effect/vitest"
import { Effect, Exit, Fiber, Option } from "effect"
import { Commit } from "effect-containerd"
import * as Container from "../support/Container.ts"
import { describeDaemons } from "../support/Daemons.ts"
import * as Debris from "../support/Debris.ts"
import * as Host from "../support/Host.ts"
import * as Inventory from "../support/Inventory.ts"
import { sleep } from "../support/Process.ts"

interface Process {
  readonly pid: number
  readonly parent: number
  readonly command: string
}

/** A process may go at any moment. */
const orNone = <A>(f: () => A): ReadonlyArray<A> => {
  try {
    return [f()]
  } catch {
    return []
  }
}

const processes = (): ReadonlyArray<Process> =>
  readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) =>
      orNone(() => ({
        pid: Number(name),
        parent: Number(readFileSync(`/proc/${name}/stat`, "utf8").split(") ").at(-1)?.split(" ")[1]),
        command: readFileSync(`/proc/${name}/cmdline`, "utf8").replaceAll("\0", " ")
      }))
    )

/** Children of this program and theirs, but what daemons start. */
const descendants = (of = process.pid, all = processes()): ReadonlyArray<Process> =>
  all
    .filter(({ command, parent }) => parent === of && !/containerd/.test(command.split(" ")[0] ?? ""))
    .flatMap((child) => [child, ...descendants(child.pid, all)])

/** The shell that is kept for the next commit, which ends with the backend (Shell.integration.test.ts). */
const isKept = ({ command }: Process) => command.includes("read -r go")

const options = { name: "law:1", differ: "host" } as const

/** A container with something to read, and what has to be so again when a commit has failed. */
const started = Effect.fnUntraced(function* (size: "small" | "large") {
  const { base, containerd } = yield* Host.Host
  const container = yield* Container.run(containerd, { image: base.ref })
  yield* container.exec("mkdir /many; for i in $(seq 3000); do echo $i > /many/$i; done; rm /data/delete.txt")
  if (size === "large") yield* container.exec("head -c 100000000 /dev/urandom > /big")
  const state = Effect.gen(function* () {
    const inventory = yield* Inventory.take(containerd)
    return {
      inventory,
      status: yield* container.status,
      isFrozen: yield* container.isFrozen,
      mounts: Debris.mounts(containerd.directory),
      children: descendants().filter((one) => !isKept(one))
    }
  })
  return { container, containerd, state }
})

/** The first of our processes that runs such a command, while none runs the other one. */
const meet = Effect.fnUntraced(function* (command: RegExp, other = /^$/) {
  for (let i = 0; i < 2000; i++) {
    const all = descendants()
    const found = all.find((one) => command.test(one.command))
    if (found !== undefined && !all.some((one) => other.test(one.command))) return found
    yield* sleep(2)
  }
  return yield* Effect.die(new Error(`nobody runs ${command}`))
})

const copying = /^cp -dR/
const tarOfLayer = /^tar -C \/\S+ -c -f - /

const killed = [
  ["the copy", "large", copying, (one: Process) => one.pid],
  ["the copy's shell", "large", copying, (one: Process) => one.parent],
  ["the copy and its shell", "large", copying, (one: Process) => -one.parent],
  ["the tar of the copy", "large", tarOfLayer, (one: Process) => one.pid],
  ["the tar that reads", "small", tarOfLayer, (one: Process) => one.pid],
  ["the tar that compares", "small", /^tar -C \/ /, (one: Process) => one.pid],
  ["the tar that writes", "small", /^tar -C \S+ -x/, (one: Process) => one.pid],
  ["the shell of the tar that writes", "small", /^tar -C \S+ -x/, (one: Process) => one.parent]
] as const

describeDaemons("a commit by the host that ends early", () => {
  layer(Host.layer("2.x"), { excludeTestServices: true })((it) => {
    it.effect.each(["small", "large"] as const)(
      "leaves a running container and nothing else, whenever it is interrupted (a %s change)",
      (size) =>
        Effect.gen(function* () {
          const { container, containerd, state } = yield* started(size)
          const before = yield* state
          const ends = new Set<string>()
          const whole = yield* Commit.commit({ ...options, container: container.id })
          yield* containerd.ctr(["images", "rm", "--sync", whole.image.name])
          for (let part = 0; part < 16; part++) {
            const fiber = yield* Effect.forkChild(Commit.commit({ ...options, container: container.id }), {
              startImmediately: true
            })
            yield* sleep((whole.durationMs * part) / 16)
            ends.add(
              descendants()
                .map(({ command }) => command.split(" ")[0])
                .join()
            )
            yield* Fiber.interrupt(fiber)
            if (Exit.isSuccess(yield* Fiber.await(fiber)))
              yield* containerd.ctr(["images", "rm", "--sync", whole.image.name])
            assert.deepStrictEqual(yield* state, before, `interrupted at ${part} of 16`)
          }
          // In more than one place, as our processes tell.
          assert.isAbove(ends.size, 1)
        }),
      120_000
    )

    it.effect.each(killed)("leaves the same, and says so, when somebody kills %s", ([, size, command, whom]) =>
      Effect.gen(function* () {
        const { container, state } = yield* started(size)
        const before = yield* state
        const fiber = yield* Effect.forkChild(Effect.flip(Commit.commit({ ...options, container: container.id })))
        if (size === "large") yield* meet(copying)
        const found = yield* meet(command, command === tarOfLayer ? copying : undefined)
        process.kill(whom(found), "SIGKILL")
        const error = yield* Fiber.join(fiber)
        assert.strictEqual(error.reason._tag, "LayerError", error.message)
        assert.match(error.message, /(cp|tar) could not copy|GNU tar could not read|reading from GNU tar/)
        assert.deepStrictEqual(yield* state, before)
        const again = yield* Commit.commit({ ...options, container: container.id })
        assert.isTrue(Option.isSome(again.layer))
      })
    )
  })
})
