/**
 * GNU tar as a child process: it sets and reads what Node has no call for (extended attributes, ACLs, devices, FIFOs,
 * nanoseconds).
 *
 * @since 0.1.0
 */
import { execFile, spawn as spawnProcess } from "node:child_process"
import type { Readable, Writable } from "node:stream"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type { Lost } from "./Concession.ts"
import { LayerError } from "./LayerError.ts"

/** A program that is GNU tar, of a version that this module was written for. */
export interface GnuTar {
  readonly program: string
}

const oldest = { major: 1, minor: 30 }

const versionOf = (program: string): Promise<string> =>
  new Promise((resolve) => {
    execFile(program, ["--version"], { env: environment() }, (error, stdout) => resolve(error === null ? stdout : ""))
  })

const isUsable = (version: string): boolean => {
  const [, major, minor] = /^tar \(GNU tar\) (\d+)\.(\d+)/.exec(version) ?? []
  const [a, b] = [Number(major), Number(minor)]
  return a > oldest.major || (a === oldest.major && b >= oldest.minor)
}

const search = async (): Promise<Option.Option<GnuTar>> => {
  for (const program of ["tar", "gtar"]) {
    if (isUsable(await versionOf(program))) return Option.some({ program })
  }
  return Option.none()
}

/** Asked once for each PATH. */
const found = new Map<string, Promise<Option.Option<GnuTar>>>()

/** GNU tar 1.30 or later from the PATH, as `tar` or `gtar`; not busybox's, not BSD's. */
export const find: Effect.Effect<Option.Option<GnuTar>> = Effect.promise(() => {
  const path = process.env["PATH"] ?? ""
  const answer = found.get(path) ?? search()
  found.set(path, answer)
  return answer
})

/** Messages in English, and no options from outside. */
function environment(): NodeJS.ProcessEnv {
  const { POSIXLY_CORRECT: _, TAR_OPTIONS: __, TAPE: ___, ...rest } = process.env
  return { ...rest, LC_ALL: "C" }
}

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
  readonly kill: () => void
}

const maxLines = 10_000
const ignore = () => undefined

const collectLines = (stderr: Readable): Array<string> => {
  const lines: Array<string> = []
  let rest = ""
  const add = (line: string) => {
    if (line !== "" && lines.length < maxLines) lines.push(line.replace(/^[^:]*tar: /, ""))
  }
  stderr.setEncoding("latin1").on("data", (text: string) => {
    const parts = (rest + text).split("\n")
    rest = parts.pop()?.slice(0, 100_000) ?? ""
    for (const part of parts) add(part)
  })
  stderr.on("end", () => add(rest)).on("error", ignore)
  return lines
}

/** Starts it. Whoever starts it must end it: see {@link end}. */
export const start = ({ program }: GnuTar, args: ReadonlyArray<string>): Child => {
  const child = spawnProcess(program, args, { stdio: ["pipe", "pipe", "pipe"], env: environment() })
  const lines = collectLines(child.stderr)
  // Who reads or writes too late gets no crash: the end of the process says what went wrong.
  child.stdin.on("error", ignore)
  child.stdout.on("error", ignore)
  const done = new Promise<Ended>((resolve) => {
    child.on("error", (cause) => resolve({ code: null, lines: [...lines, String(cause)] }))
    child.on("close", (code) => resolve({ code, lines }))
  })
  return { stdin: child.stdin, stdout: child.stdout, done, kill: () => void child.kill("SIGKILL") }
}

/** Kills it if it runs, and waits until it is gone. */
export const end = (child: Child): Effect.Effect<void> =>
  Effect.promise(() => {
    child.kill()
    child.stdin.destroy()
    child.stdout.destroy()
    return child.done
  })

/** A process that does not outlive its scope. */
export const startScoped = (tar: GnuTar, args: ReadonlyArray<string>): Effect.Effect<Child, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => start(tar, args)),
    end
  )

export const failure = (what: string, { code, lines }: Ended): LayerError => {
  const status = code === null ? "" : ` (exit code ${code})`
  const said = lines.slice(0, 5).join("; ") || "it said nothing"
  return new LayerError({ kind: "files", message: `GNU tar could not ${what}${status}: ${said}` })
}

/** Names in messages are escaped: octal for all that is not printable ASCII. */
const unescaped = (text: string) => {
  const bytes = text.replace(/\\([0-7]{3}|.)/g, (_, code: string) => {
    if (code.length === 3) return String.fromCharCode(Number.parseInt(code, 8))
    return code === "n" ? "\n" : code === "t" ? "\t" : code
  })
  return Buffer.from(bytes, "latin1").toString("utf8")
}

/** `setxattrat: Cannot set 'user.a' extended attribute for file 'x': Operation not supported`, and the like of ACLs. */
const aboutXattr = /^\w+: (Cannot set .*) for file '(.*)': (.*)$/
const aboutFile = /^(.*): (file changed as we read it|File shrank by .*)$/

/** What a warning says was lost. */
export const toLost = (line: string): Lost => {
  const [, what, path, why] = aboutXattr.exec(line) ?? []
  if (what !== undefined && path !== undefined) return { path: unescaped(path), what: `${what}: ${why}` }
  const [, name, happened] = aboutFile.exec(line) ?? []
  return name === undefined || happened === undefined
    ? { path: "", what: line }
    : { path: unescaped(name), what: happened }
}
