/**
 * Reads a container's upper directory while the container may do with it what it likes: through a mount that follows no
 * symlink, in a mount namespace of its own that is gone with its process.
 *
 * @since 0.1.0
 */
import { readFileSync } from "node:fs"
import * as Path from "node:path"
import { createInterface } from "node:readline"
import { type Duplex, PassThrough, type Readable, type Writable } from "node:stream"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as ChildProcess from "../layer/ChildProcess.ts"
import type { Lost } from "../layer/Concession.ts"
import * as DiffSource from "../layer/DiffSource.ts"
import type { GnuTar } from "../layer/GnuTar.ts"
import { LayerError } from "../layer/LayerError.ts"
import type * as RawPath from "../layer/RawPath.ts"
import * as Freezer from "./Freezer.ts"
import { HostUnavailable } from "./HostUnavailable.ts"
import * as Overlay from "./Overlay.ts"
import type { Timed } from "./Prune.ts"
import { type Answer, answer, pipes, type Shell } from "./Shell.ts"

/** GNU tar, which reads while it is still being told what. */
export interface Reading {
  /** Takes them, a NUL after each. */
  readonly names: Writable
  readonly stdout: Readable
  /** Once its output is at its end, and nothing else was asked that has no answer yet. */
  readonly ended: () => Promise<ChildProcess.Ended>
}

export interface Put {
  readonly tar: Writable
  /** Once the tar was ended: all that it says is there. */
  readonly done: Effect.Effect<void, LayerError>
}

/** Each of these is good for one time, but for `touch`. */
export interface Reader {
  /** GNU tar in `/`, with the content of each name. */
  readonly inRoot: DiffSource.Run
  /** GNU tar in the container's upper directory. */
  readonly inUpper: () => Reading
  /** Another one, there or in the copy of it. */
  readonly later: (where: "container" | "copy") => DiffSource.Run
  /** Puts a tar into the target; what is there is taken out again by {@link copy}. */
  readonly put: Effect.Effect<Put>
  /** Gives a directory of the target its time. */
  readonly touch: (directory: Timed) => Effect.Effect<void, LayerError>
  /** The container's upper directory, no symlink of which leads anywhere. */
  readonly upper: string
  /** What the layer stands on as one directory, which nobody changes; none when it stands on nothing. */
  readonly lower: string | undefined
  /**
   * Copies everything from the upper directory to the target's, with owners, times, extended attributes and hard links;
   * without a copy of the data where the file system can. Gives what went away while it was copied.
   */
  readonly copy: Effect.Effect<ReadonlyArray<Lost>, LayerError>
  /**
   * As {@link copy}, but for these names alone, each of them after the directories that lead to it. Where something went away,
   * directories may be there without what they are: then only `copy`, which begins anew, gives what can be used.
   */
  readonly copyOnly: (paths: ReadonlyArray<RawPath.RawPath>) => Effect.Effect<ReadonlyArray<Lost>, LayerError>
  /**
   * Once everything is copied: what the container shows, as one directory, which nobody changes. The container's upper
   * directory is not seen here any more.
   */
  readonly merge: Effect.Effect<string, LayerError>
  /** Freezes the container until the scope closes, or this program dies. */
  readonly freeze: (cgroup: Freezer.Cgroup) => Effect.Effect<void, HostUnavailable, Scope.Scope>
  /** Nothing more will be asked: it may go, which takes the kernel a while. */
  readonly close: Effect.Effect<void>
}

/**
 * What becomes of a file that is changed while it is read is not known beforehand; it is no reason to fail. What has
 * become a device may not be opened, and the number of a file that is gone may be that of a directory.
 */
const isRace = (line: string) =>
  /(No such file or directory|Not a directory|Is a directory|Too many levels of symbolic links|File exists)$/.test(
    line
  ) ||
  /(as it was replaced while being copied|with non-directory|with directory .*)$/.test(line) ||
  /^cp: (will not create hard link .* to directory .*|cannot read symbolic link .*: Invalid argument)$/.test(line) ||
  /^cp: cannot open .* for reading: (Permission denied|No such device or address)$/.test(line) ||
  /^cp: getting attribute .*: No data available$/.test(line) ||
  /^tar: .*: (Cannot open: No such device or address|Cannot readlink: Invalid argument|socket ignored)$/.test(line) ||
  /^tar: .*: Directory renamed before its status could be extracted$/.test(line) ||
  DiffSource.isRace(line) ||
  DiffSource.isHarmless(line.replace(/^tar: /, ""))

const toLost = (line: string): Lost => {
  // Of an attribute cp does not say whose it is.
  const [, path = ""] = /^(?!cp: getting attribute ).*?'(?:\.\/)?(.*?)'/.exec(line) ?? []
  return { path, what: `it changed while it was copied (${line})` }
}

/** What is known before there is a target. */
export interface First {
  readonly container: Overlay.Overlay
  /** The one that the container will be frozen by. */
  readonly cgroup: Freezer.Cgroup | undefined
  readonly gnuTar: GnuTar
}

export interface Options {
  readonly container: Overlay.Overlay
  readonly target: Overlay.Overlay
  /** How many of the container's lower directories go into the layer, too. */
  readonly depth: number
}

const lowersOf = ({ container, depth }: Options) => container.lowers.slice(depth)

/** The working directory of a snapshot is beside what it holds. */
const belowOf = ({ upper }: Overlay.Overlay) => Path.join(Path.dirname(upper), "work")

const firstLines = ({ cgroup, container, gnuTar }: First): ReadonlyArray<string> => {
  const { program } = gnuTar
  return [Overlay.homeOf(container), container.upper, program, cgroup?.file ?? "", cgroup?.thaw ?? ""]
}

const otherLines = (options: Options): ReadonlyArray<string> => {
  const { container, target } = options
  const listed = (directories: ReadonlyArray<string>) =>
    directories.map((directory) => Path.relative(Overlay.homeOf(container), directory)).join(":")
  const [lowers, all] = [listed(lowersOf(options)), listed([target.upper, ...container.lowers])]
  return [target.upper, belowOf(target), lowers, all, container.userxattr ? ",userxattr" : ""]
}

const tell = Effect.fnUntraced(function* ({ child }: Shell, lines: ReadonlyArray<string>) {
  if (lines.some((line) => line.includes("\n"))) {
    return yield* new HostUnavailable({ message: "the snapshotter's directory has a line break in its name" })
  }
  child.stdin.write(lines.map((line) => `${line}\n`).join(""))
})

const pipeOf = ({ child }: Shell, which: keyof typeof pipes): Duplex => child.pipes[pipes[which]] ?? new PassThrough()

const codeOf = ({ code }: Answer) => (code === "" ? null : Number(code))

const failure = (who: string, what: string, answer: Answer) =>
  ChildProcess.failure(who, what, { code: codeOf(answer), lines: answer.lines })

/** How GNU tar ended. */
const ended = async (shell: Shell, command: string): Promise<ChildProcess.Ended> => {
  shell.child.stdin.write(`${command}\n`)
  const said = await answer(shell)
  return { code: codeOf(said), lines: said.lines.map((line) => line.replace(/^[^:]*tar: /, "")) }
}

/** They were started with the shell and wait: what it takes to start a program is over when there are names. */
const reading = (shell: Shell, which: "attributes" | "now"): Reading => {
  const pipe = pipeOf(shell, which)
  return { names: pipe, stdout: pipe, ended: () => ended(shell, which) }
}

const attributes = (shell: Shell): DiffSource.Run => {
  const { ended, names, stdout } = reading(shell, "attributes")
  return (paths) => {
    names.end(paths)
    return { stdout, done: ended() }
  }
}

const later =
  (shell: Shell) =>
  (where: "container" | "copy"): DiffSource.Run =>
  (paths) => {
    const pipe = pipeOf(shell, "later")
    pipe.end(paths)
    return { stdout: pipe, done: ended(shell, `later\n${where}`) }
  }

const copying = "copy the container's files"

const fifo = "cp: a FIFO took the place of a file, and nobody writes to it"

/** `cp` opens what it took for a file; where that has become a FIFO, it would wait for a writer for ever. */
const watch = (pid: string, onStuck: () => void): NodeJS.Timeout =>
  setInterval(() => {
    try {
      if (readFileSync(`/proc/${pid}/wchan`, "utf8") !== "wait_for_partner") return
      process.kill(Number(pid), "SIGKILL")
      onStuck()
    } catch {
      // It has ended.
    }
  }, 200)

const ask = (shell: Shell, ...parts: ReadonlyArray<string | Uint8Array>) =>
  Effect.promise(() => {
    for (const part of parts) shell.child.stdin.write(part)
    return answer(shell)
  })

/** Whoever still reads, or puts something into the target, is at its end, and has complained of that. */
const spoil = (shell: Shell) =>
  Effect.suspend(() => {
    for (const which of ["now", "put"] as const) pipeOf(shell, which).destroy()
    return ask(shell, "spoiled\n")
  })

const copy = (shell: Shell): Effect.Effect<ReadonlyArray<Lost>, LayerError> =>
  Effect.gen(function* () {
    let stuck: ReadonlyArray<string> = []
    let timer: NodeJS.Timeout | undefined
    shell.child.stdin.write("copy\n")
    const { code, lines } = yield* Effect.promise(() =>
      answer(shell, (pid) => {
        timer = watch(pid, () => {
          stuck = [fifo]
        })
      })
    ).pipe(Effect.ensuring(Effect.sync(() => clearInterval(timer))))
    if (code === "0" || (code === "1" && lines.length > 0 && lines.every(isRace))) return lines.map(toLost)
    return yield* failure("cp", copying, { code, lines: [...stuck, ...lines] })
  })

const copyOnly = (shell: Shell) =>
  Effect.fnUntraced(function* (paths: ReadonlyArray<RawPath.RawPath>) {
    const bytes = DiffSource.listed(paths)
    const { code, lines } = yield* ask(shell, `some\n${bytes.length}\n`, bytes)
    if (["0", "1", "2"].includes(code) && lines.every(isRace) && (code === "0" || lines.length > 0)) {
      return lines.filter((line) => !line.startsWith("tar: Exiting")).map(toLost)
    }
    return yield* failure("tar", copying, { code, lines })
  }, Effect.withSpan("Host.copy"))

/** It answers where it reads, so that others may run meanwhile. */
const put = (shell: Shell): Put => {
  shell.child.stdin.write("put\n")
  const tar = pipeOf(shell, "put")
  const lines = createInterface({ input: tar })[Symbol.asyncIterator]()
  // A connection that breaks is no answer.
  const said = answer({ lines }).catch((): Answer => ({ code: "", lines: [] }))
  const done = Effect.flatMap(
    Effect.promise(() => said),
    (said) => (said.code === "0" && said.lines.length === 0 ? Effect.void : Effect.fail(failure("tar", copying, said)))
  )
  return { tar, done }
}

const merge = Effect.fnUntraced(function* (shell: Shell, merged: string) {
  const { code, lines } = yield* ask(shell, "merge\n")
  if (code === "0") return merged
  const message = `the container's directories cannot be mounted as one: ${lines.join("; ")}`
  return yield* new LayerError({ kind: "overlay", message })
})

const seconds = (nanos: bigint) => {
  const fraction = ((nanos % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n
  return `${(nanos - fraction) / 1_000_000_000n}.${String(fraction).padStart(9, "0")}`
}

/** For `printf '%b'`: a line of printable ASCII. */
const escaped = (path: RawPath.RawPath) =>
  path.replace(/[^ -[\]-~]/g, (char) => `\\0${char.charCodeAt(0).toString(8).padStart(3, "0")}`)

const touch = (shell: Shell) =>
  Effect.fnUntraced(function* ({ mtime, path }: Timed) {
    const said = yield* ask(shell, `touch\n@${seconds(mtime)}\n${escaped(path)}\n`)
    if (said.code !== "0") return yield* failure("touch", "give a directory its time", said)
  })

/** The guard goes once the container runs again, and when it could not be frozen: others may freeze it then. */
const freeze = (shell: Shell, cgroup: Freezer.Cgroup) => {
  const dismiss = Effect.sync(() => {
    const guard = pipeOf(shell, "guard")
    if (!guard.writableEnded) guard.end("thawed\n")
  })
  return Effect.addFinalizer(() => dismiss).pipe(
    Effect.andThen(Freezer.frozen(cgroup)),
    Effect.tapError(() => dismiss)
  )
}

/** Those that still wait for something to do hear that nothing comes. The guard is not theirs to dismiss. */
const close = (shell: Shell) =>
  Effect.sync(() => {
    for (const which of ["attributes", "now", "later", "put"] as const) pipeOf(shell, which).end()
    shell.child.stdin.end()
  })

/** What takes a while begins as soon as it is known whose container it is. Does not wait. */
export const begin = (shell: Shell, first: First): Effect.Effect<void, HostUnavailable> =>
  tell(shell, firstLines(first))

/** What has {@link begin}. Ready when it is there. */
export const open = Effect.fnUntraced(function* (shell: Shell, options: Options) {
  const { container, target } = options
  yield* tell(shell, otherLines(options))
  const { code, lines } = yield* Effect.promise(() => answer(shell))
  if (code !== "0") {
    const said = lines.join("; ") || "there is no setpriv or no unshare"
    return yield* new HostUnavailable({ message: `the container's files cannot be mounted to read them: ${said}` })
  }
  yield* shell.keepNext
  const lowers = lowersOf(options)
  const inside = (path: string) => `/proc/${shell.child.pid}/root${path}`
  return {
    upper: inside(container.upper),
    lower: lowers.length > 1 ? inside(belowOf(target)) : lowers[0],
    inRoot: attributes(shell),
    inUpper: () => reading(shell, "now"),
    later: later(shell),
    put: Effect.sync(() => put(shell)),
    touch: touch(shell),
    freeze: (cgroup) => freeze(shell, cgroup),
    merge: merge(shell, inside(container.upper)),
    copyOnly: copyOnly(shell),
    close: close(shell),
    copy: Effect.andThen(spoil(shell), copy(shell)).pipe(Effect.withSpan("Host.copy"))
  } satisfies Reader
})
