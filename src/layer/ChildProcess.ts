/**
 * Helper programs as child processes: found in the PATH, never alive after their scope, heard when they complain.
 *
 * @since 0.1.0
 */
import { type ChildProcessWithoutNullStreams, execFile, spawn } from "node:child_process"
import { Socket } from "node:net"
import { Duplex, type Readable, type Writable } from "node:stream"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { LayerError } from "./LayerError.ts"

/** Variables that are options of a helper. */
const options = ["POSIXLY_CORRECT", "TAR_OPTIONS", "TAPE", "GZIP", "PIGZ", "ZSTD_CLEVEL", "ZSTD_NBTHREADS"]

/** Messages in English, and no options from outside. */
const environment = (): NodeJS.ProcessEnv => ({
  ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !options.includes(name))),
  LC_ALL: "C"
})

const ask = (program: string): Promise<string> =>
  new Promise((resolve) => {
    execFile(program, ["--version"], { env: environment() }, (error, stdout) => resolve(error === null ? stdout : ""))
  })

const versions = new Map<string, Promise<string>>()

/** What the program in the PATH says to `--version`; empty when there is none. Asked once for each PATH. */
export const versionOf = (program: string): Effect.Effect<string> =>
  Effect.promise(() => {
    const key = `${program}\0${process.env["PATH"] ?? ""}`
    const answer = versions.get(key) ?? ask(program)
    versions.set(key, answer)
    return answer
  })

export interface Ended {
  /** `null` when a signal ended it or it never began. */
  readonly code: number | null
  /** What it said, without its name; as many lines as anyone will read. */
  readonly lines: ReadonlyArray<string>
}

export interface Child {
  readonly stdin: Writable
  readonly stdout: Readable
  /** Never rejects. Comes when the process is gone and its output was read or thrown away. */
  readonly done: Promise<Ended>
  /** Its descriptors from 3 on. */
  readonly pipes: ReadonlyArray<Duplex>
  readonly pid: number | undefined
  readonly isAlive: () => boolean
  /** Whether this program goes on while it runs. It does by default. */
  readonly keepAlive: (isHeld: boolean) => void
  readonly kill: () => void
}

const maxLines = 10_000
const ignore = () => undefined

const collectLines = (stderr: Readable, name: string): Array<string> => {
  const lines: Array<string> = []
  const prefix = new RegExp(`^[^:]*${name}: `)
  let rest = ""
  const add = (line: string) => {
    if (line !== "" && lines.length < maxLines) lines.push(line.replace(prefix, ""))
  }
  stderr.setEncoding("latin1").on("data", (text: string) => {
    const parts = (rest + text).split("\n")
    rest = parts.pop()?.slice(0, 100_000) ?? ""
    for (const part of parts) add(part)
  })
  stderr.on("end", () => add(rest)).on("error", ignore)
  return lines
}

type StdioPipeMore = ["pipe", "pipe", "pipe", ...Array<"pipe">]

/**
 * Starts it. Whoever starts it must end it: see {@link end}. `name` is how it calls itself in its messages,
 * `more` how many descriptors it has after the usual three.
 */
export const start = (program: string, args: ReadonlyArray<string>, name: string, more = 0): Child => {
  const stdio: StdioPipeMore = ["pipe", "pipe", "pipe", ...Array.from({ length: more }, () => "pipe" as const)]
  // Its own process group, so that what it runs itself is ended with it.
  const child: ChildProcessWithoutNullStreams = spawn(program, args, { stdio, env: environment(), detached: true })
  const lines = collectLines(child.stderr, name)
  const pipes = child.stdio.slice(3).filter((stream) => stream instanceof Duplex)
  // Who reads or writes too late gets no crash: the end of the process says what went wrong.
  for (const stream of [child.stdin, child.stdout, ...pipes]) stream.on("error", ignore)
  // What it has started, and still waits to be told something, hears that nothing comes.
  child.on("exit", () => {
    for (const pipe of pipes) pipe.destroy()
  })
  const done = new Promise<Ended>((resolve) => {
    child.on("error", (cause) => resolve({ code: null, lines: [...lines, String(cause)] }))
    child.on("close", (code) => resolve({ code, lines }))
  })
  const { pid, stdin, stdout } = child
  return {
    ...{ stdin, stdout, pipes, done, pid },
    isAlive: () => child.exitCode === null && child.signalCode === null,
    keepAlive: (isHeld) => {
      const handles = [child, ...child.stdio.filter((stream) => stream instanceof Socket)]
      for (const handle of handles) isHeld ? handle.ref() : handle.unref()
    },
    kill: () => killGroup(pid)
  }
}

const killGroup = (pid: number | undefined): void => {
  try {
    if (pid !== undefined) process.kill(-pid, "SIGKILL")
  } catch {
    // It is gone.
  }
}

/** Kills it if it runs, and waits until it is gone. */
export const end = (child: Child): Effect.Effect<void> =>
  Effect.promise(() => {
    child.kill()
    child.stdin.destroy()
    for (const stream of [child.stdout, ...child.pipes]) stream.destroy()
    return child.done
  })

/** A process that does not outlive its scope. */
export const startScoped = (
  program: string,
  args: ReadonlyArray<string>,
  name: string,
  more = 0
): Effect.Effect<Child, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => start(program, args, name, more)),
    end
  )

/** "`who` could not `what`", and what it said about that. */
export const failure = (who: string, what: string, { code, lines }: Ended): LayerError => {
  const status = code === null ? "" : ` (exit code ${code})`
  const said = lines.slice(0, 5).join("; ") || "it said nothing"
  return new LayerError({ kind: "files", message: `${who} could not ${what}${status}: ${said}` })
}
