import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { closeSync, openSync, readFileSync } from "node:fs"
import { Effect, Result, type Scope } from "effect"
import { DaemonError, sleep, tail } from "./Process.ts"

/** A process that runs in the background until its scope closes. */
export interface Daemon {
  /** Another one after a restart. */
  readonly pid: number
  readonly isRunning: boolean
  readonly log: Effect.Effect<string>
  /** SIGKILL: what it was doing stays half done. */
  readonly kill: Effect.Effect<void>
  readonly restart: Effect.Effect<void, DaemonError>
}

export interface Spec {
  readonly program: string
  readonly args: ReadonlyArray<string>
  readonly env: Readonly<Record<string, string>>
  readonly logFile: string
  /** Of `MountNamespace`. */
  readonly mountNamespace?: string | undefined
  /** Succeeds as soon as the daemon answers. */
  readonly ready: Effect.Effect<unknown, DaemonError>
}

const readyWithin = 20_000
const exitWithin = 10_000

/** setpriv: the kernel kills the daemon with us, even when we have no time to do it. */
const launch = (spec: Spec): ChildProcess => {
  const log = openSync(spec.logFile, "a")
  const inside = spec.mountNamespace === undefined ? [] : ["nsenter", `--mount=${spec.mountNamespace}`]
  const child = spawn("setpriv", ["--pdeathsig", "KILL", ...inside, spec.program, ...spec.args], {
    env: spec.env,
    stdio: ["ignore", log, log]
  })
  child.on("error", () => undefined) // seen as a child without pid
  closeSync(log)
  return child
}

const isRunning = (child: ChildProcess): boolean =>
  child.pid !== undefined && child.exitCode === null && child.signalCode === null

const signal = (child: ChildProcess, name: "SIGTERM" | "SIGKILL"): Effect.Effect<void> =>
  Effect.promise(async () => {
    if (!isRunning(child)) return
    const exit = once(child, "exit")
    child.kill(name)
    const timer = setTimeout(() => child.kill("SIGKILL"), exitWithin)
    await exit
    clearTimeout(timer)
  })

const untilReady = Effect.fnUntraced(function* (spec: Spec, child: ChildProcess) {
  const deadline = performance.now() + readyWithin
  for (let wait = 10; ; wait = Math.min(wait * 1.5, 200)) {
    const answer = yield* Effect.result(spec.ready)
    if (Result.isSuccess(answer)) return
    if (!isRunning(child) || performance.now() > deadline) return yield* answer.failure
    yield* sleep(wait)
  }
})

export const start = (spec: Spec): Effect.Effect<Daemon, DaemonError, Scope.Scope> =>
  Effect.gen(function* () {
    let child = launch(spec)
    yield* Effect.addFinalizer(() => Effect.ignoreCause(signal(child, "SIGTERM"), { log: "Warn" }))
    const log = Effect.sync(() => readFileSync(spec.logFile, "utf8"))
    const ready = Effect.suspend(() => untilReady(spec, child)).pipe(
      Effect.catch((error) =>
        Effect.flatMap(log, (output) =>
          Effect.fail(
            new DaemonError({
              command: [spec.program, ...spec.args].join(" "),
              exitCode: child.exitCode ?? undefined,
              detail: `does not answer: ${error.message}\n${tail(output)}`
            })
          )
        )
      )
    )
    const kill = Effect.suspend(() => signal(child, "SIGKILL"))
    const relaunch = Effect.sync(() => {
      child = launch(spec)
    })
    yield* ready
    return {
      get pid() {
        return child.pid ?? 0
      },
      get isRunning() {
        return isRunning(child)
      },
      log,
      kill,
      restart: kill.pipe(Effect.andThen(relaunch), Effect.andThen(ready))
    }
  })
