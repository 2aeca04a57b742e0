import { spawn } from "node:child_process"
import { text } from "node:stream/consumers"
import { fileURLToPath } from "node:url"
import { Effect } from "effect"
import type { RunningContainerd } from "./Containerd.ts"

export interface Result {
  readonly exitCode: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface Running {
  readonly pid: number
  readonly kill: (signal: NodeJS.Signals) => Effect.Effect<void>
  readonly result: Effect.Effect<Result>
}

const root = fileURLToPath(new URL("../..", import.meta.url))
const node = [process.execPath, "--conditions=effect-containerd-source", "examples/commit.ts"]

export interface Options {
  readonly env?: Readonly<Record<string, string>>
  /** Words that go before the program, as `setpriv` and its options. */
  readonly wrapper?: ReadonlyArray<string>
  /** Instead of the program itself: `npm run --silent commit --`. */
  readonly program?: ReadonlyArray<string>
}

/** Starts examples/commit.ts with some arguments; killed with the scope. */
export const start = (args: ReadonlyArray<string>, { env, program = node, wrapper = [] }: Options = {}) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        const [command = "", ...rest] = [...wrapper, ...program, ...args]
        const child = spawn(command, rest, {
          cwd: root,
          stdio: ["ignore", "pipe", "pipe"],
          env: { ...process.env, ...env }
        })
        const exitCode = new Promise<number | null>((resolve) => child.on("close", resolve))
        return { child, result: Promise.all([exitCode, text(child.stdout), text(child.stderr)]) }
      }),
      ({ child }) => Effect.sync(() => void child.kill("SIGKILL"))
    ),
    ({ child, result }): Running => ({
      pid: child.pid ?? 0,
      kill: (signal) => Effect.sync(() => void child.kill(signal)),
      result: Effect.map(
        Effect.promise(() => result),
        ([exitCode, stdout, stderr]) => ({ exitCode, stdout, stderr })
      )
    })
  )

/** Runs it to its end, against a daemon of ours. */
export const run = ({ address }: RunningContainerd, args: ReadonlyArray<string>, options: Options = {}) =>
  Effect.scoped(
    Effect.flatMap(
      start(args, { ...options, env: { CONTAINERD_ADDRESS: address, ...options.env } }),
      ({ result }) => result
    )
  )
