import { spawn } from "node:child_process"
import { text } from "node:stream/consumers"
import { Data, Effect } from "effect"

/** Something that a test needs of a real daemon did not work. */
export class DaemonError extends Data.TaggedError("DaemonError")<{
  readonly command: string
  readonly exitCode?: number | undefined
  readonly detail: string
}> {
  override get message(): string {
    const code = this.exitCode === undefined ? "" : ` (exit code ${this.exitCode})`
    return `${this.command}${code}: ${this.detail.trim() || "no output"}`
  }
}

export interface Options {
  readonly env?: Readonly<Record<string, string>> | undefined
  readonly stdin?: string | Uint8Array | undefined
}

/** Keeps a message readable: the end of a log says why. */
export const tail = (output: string, lines = 15): string => output.trimEnd().split("\n").slice(-lines).join("\n")

const collect = async (
  command: string,
  program: string,
  args: ReadonlyArray<string>,
  options: Options,
  signal: AbortSignal
): Promise<string> => {
  const child = spawn(program, args, { env: options.env ?? process.env, signal, stdio: ["pipe", "pipe", "pipe"] })
  // A program that does not read its input closes the pipe; its exit code tells whether that matters.
  child.stdin.on("error", () => undefined).end(options.stdin)
  const exit = new Promise<number | null>((resolve, reject) => child.on("error", reject).on("close", resolve))
  const [stdout, stderr, exitCode] = await Promise.all([text(child.stdout), text(child.stderr), exit])
  if (exitCode === 0) return stdout
  throw new DaemonError({ command, exitCode: exitCode ?? undefined, detail: tail(stderr || stdout) })
}

/** Runs a program to its end and gives its standard output. */
export const run = (
  program: string,
  args: ReadonlyArray<string>,
  options: Options = {}
): Effect.Effect<string, DaemonError> => {
  const command = [program.split("/").at(-1), ...args].join(" ")
  return Effect.tryPromise({
    try: (signal) => collect(command, program, args, options, signal),
    catch: (error) => (error instanceof DaemonError ? error : new DaemonError({ command, detail: String(error) }))
  })
}

/** Real time, also under a TestClock: daemons do not know that one. */
export const sleep = (millis: number): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    const timer = setTimeout(() => resume(Effect.void), millis)
    return Effect.sync(() => clearTimeout(timer))
  })
