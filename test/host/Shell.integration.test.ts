import { execFile } from "node:child_process"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { assert, it } from "@effect/vitest"
import { Effect, Exit, Scope } from "effect"
import { BackendScope } from "../../src/core/BackendScope.ts"
import * as Shell from "../../src/host/Shell.ts"
import { describeDaemons } from "../support/Daemons.ts"
import { sleep } from "../support/Process.ts"

/** What a commit does with it; `isOfUse` says whether it could read the container's files. */
const commit = (isOfUse: boolean) =>
  Effect.scoped(
    Effect.gen(function* () {
      const { child, isKept, keepNext } = yield* Shell.take
      if (isOfUse) yield* keepNext
      return { isKept, pid: child.pid ?? 0 }
    })
  )

const isAlive = ({ pid }: { readonly pid: number }) => existsSync(`/proc/${pid}`)

/** Those of this program that wait for a commit. */
const waiting = () =>
  readdirSync("/proc").filter((pid) => {
    if (!/^\d+$/.test(pid) || !existsSync(`/proc/${pid}/stat`)) return false
    const [, parent] = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ") ?? []
    return Number(parent) === process.pid && readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("read -r go")
  })

/** Longer than it takes until the next one is started. */
const aWhile = sleep(200)

const withBackend = <A, E>(use: Effect.Effect<A, E>) =>
  Effect.acquireUseRelease(
    Scope.make(),
    (backend) => Effect.provideService(use, BackendScope, backend),
    (backend) => Scope.close(backend, Exit.void)
  )

const idle = `
import { Effect, Scope } from "effect"
import { BackendScope } from "./src/core/BackendScope.ts"
import * as Shell from "./src/host/Shell.ts"
const commit = Effect.scoped(Effect.andThen(Shell.take, (shell) => shell.keepNext))
await Effect.runPromise(Effect.provideService(commit, BackendScope, Effect.runSync(Scope.make())))
setTimeout(() => console.log("nothing else to do"), 200)
`

describeDaemons("the shell of a commit", () => {
  it.live("ends with the commit, and the one that waits for the next with the backend", () =>
    Effect.gen(function* () {
      const { first, second } = yield* withBackend(
        Effect.gen(function* () {
          const first = yield* commit(true)
          yield* aWhile
          const second = yield* commit(true)
          yield* aWhile
          assert.strictEqual(waiting().length, 1)
          return { first, second }
        })
      )
      assert.deepStrictEqual([first.isKept, second.isKept], [false, true])
      assert.deepStrictEqual([isAlive(first), isAlive(second), waiting()], [false, false, []])
    })
  )

  it.live("is kept once, however many commits there are, and not where none was of use", () =>
    withBackend(
      Effect.gen(function* () {
        yield* Effect.all([commit(true), commit(true), commit(true)], { concurrency: "unbounded" })
        yield* aWhile
        assert.strictEqual(waiting().length, 1)
        yield* commit(false)
        yield* aWhile
        assert.deepStrictEqual(waiting(), [])
      })
    )
  )

  it.live("is another one when the one that waited was killed", () =>
    withBackend(
      Effect.gen(function* () {
        yield* commit(true)
        yield* aWhile
        for (const pid of waiting()) process.kill(Number(pid), "SIGKILL")
        yield* aWhile
        const { isKept, pid } = yield* commit(true)
        assert.deepStrictEqual([isKept, pid > 0], [false, true])
      })
    )
  )

  it.live("lets a program end that has nothing else to do", () =>
    Effect.promise(async () => {
      const cwd = fileURLToPath(new URL("../..", import.meta.url))
      const program = promisify(execFile)(process.execPath, ["--input-type=module-typescript", "-e", idle], {
        cwd,
        timeout: 10_000
      })
      assert.strictEqual((await program).stdout, "nothing else to do\n")
    })
  )
})
