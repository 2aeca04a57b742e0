/**
 * Reads entries of a directory, with their content, for a layer or to compare them.
 *
 * @since 0.1.0
 */
import type { Readable } from "node:stream"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Ended } from "./ChildProcess.ts"
import type { Lost } from "./Concession.ts"
import * as GnuTar from "./GnuTar.ts"
import { LayerError } from "./LayerError.ts"
import * as RawPath from "./RawPath.ts"
import * as TarEntry from "./TarEntry.ts"
import * as TarReader from "./TarReader.ts"

export type Event =
  | { readonly _tag: "Entry"; readonly entry: TarEntry.TarEntry }
  /** A part of the content of the entry before it; all together are as long as the entry says. */
  | { readonly _tag: "Data"; readonly bytes: Uint8Array }

export interface Options {
  readonly root: string
  /** Below the root. None of them leads through a symlink. */
  readonly paths: ReadonlyArray<RawPath.RawPath>
  /** Gives the content of each name of a file, in place of hard links. */
  readonly everyContent: boolean
  readonly report: (lost: Lost) => void
  /** Which extended attributes are read. Default: all. A `LayerError` that it throws ends the reading. */
  readonly xattr?: ((name: string) => boolean) | undefined
  /** Runs GNU tar with {@link flags} in `root`. Default: as a child process of its own. */
  readonly run?: Run | undefined
}

export interface Reading {
  readonly stdout: Readable
  /** Never rejects. */
  readonly done: Promise<Ended>
}

/** Gives it the names, a NUL after each, on its standard input. */
export type Run = (names: Uint8Array) => Reading

/** In the order of the paths; what is gone meanwhile is left out. */
export type Source = Stream.Stream<ReadonlyArray<Event>, LayerError>

/**
 * SELinux labels belong to the policy of a machine: no tool puts them into a layer. ACLs come as extended attributes,
 * which is what everybody reads.
 */
export const flagsOfEntries: ReadonlyArray<string> = [
  ...["--format=pax", "--numeric-owner", "--pax-option=delete=atime,delete=ctime"],
  ...["--xattrs", "--xattrs-include=*", "--xattrs-exclude=security.selinux", "--no-acls", "--no-selinux"],
  ...["--warning=no-timestamp", "--quoting-style=escape"],
  ...["--no-recursion", "--null", "--verbatim-files-from", "--no-unquote", "-T", "-"]
]

export const flags: ReadonlyArray<string> = ["-c", "-f", "-", "-b", "128", ...flagsOfEntries]

/** A process of its own, which does not outlive the scope. */
const runAlone = (tar: GnuTar.GnuTar, { everyContent, root }: Options): Effect.Effect<Run, never, Scope.Scope> =>
  Effect.map(
    GnuTar.startScoped(tar, ["-C", root, ...(everyContent ? ["--hard-dereference"] : []), ...flags]),
    ({ done, stdin, stdout }) =>
      (names) => {
        stdin.end(names)
        return { stdout, done }
      }
  )

/** The names, a NUL after each. */
export const listed = (paths: ReadonlyArray<RawPath.RawPath>): Uint8Array =>
  RawPath.toBytes(paths.map((path) => `${path === "" ? "." : path}\0`).join(""))

/** GNU tar writes "=" in the name of an attribute as `%3D`, for pax has no other way, and then "%" as `%25`. */
const plainName = (name: string) => name.replaceAll("%3D", "=").replaceAll("%25", "%")

/** Those that a layer can say; all of them to compare. */
const withPlainXattrs = (entry: TarEntry.TarEntry, { everyContent, report }: Options): TarEntry.TarEntry => {
  if (!entry.xattrs.some(({ name }) => name.includes("%"))) return entry
  const xattrs = entry.xattrs.flatMap(({ name: written, value }) => {
    const name = plainName(written)
    if (everyContent || !name.includes("=")) return [{ name, value }]
    const what = `the extended attribute ${RawPath.show(name)}: a layer cannot say a name with "="`
    report({ path: RawPath.show(entry.path), what })
    return []
  })
  return { ...entry, xattrs }
}

const selected = (entry: TarEntry.TarEntry, { xattr }: Options): TarEntry.TarEntry =>
  xattr === undefined || entry.xattrs.length === 0
    ? entry
    : { ...entry, xattrs: entry.xattrs.filter(({ name }) => xattr(name)) }

const batchSize = 128 * 1024

/** What a pipe gives are small pieces, each of which would cost as much as many; GNU tar waits while many are looked at. */
async function* batches(output: Readable): AsyncIterable<ReadonlyArray<Uint8Array>> {
  let batch: Array<Uint8Array> = []
  let size = 0
  for await (const chunk of output) {
    batch.push(chunk)
    size += chunk.length
    if (size < batchSize) continue
    yield batch
    batch = []
    size = 0
  }
  yield batch
}

function* eventsOf(reader: TarReader.Reader, batch: ReadonlyArray<Uint8Array>): Generator<TarReader.Event> {
  for (const chunk of batch) yield* reader.push(chunk)
}

const toEvents = (
  reader: TarReader.Reader,
  batch: ReadonlyArray<Uint8Array>,
  options: Options
): ReadonlyArray<Event> => {
  const events: Array<Event> = []
  for (const event of eventsOf(reader, batch)) {
    if (event._tag === "Data") events.push(event)
    if (event._tag !== "Entry") continue
    const entry = TarEntry.decode(event.header)
    const path = RawPath.split(entry.path).join("/")
    events.push({ _tag: "Entry", entry: withPlainXattrs(selected({ ...entry, path }, options), options) })
  }
  return events
}

/** The file went away between the walk and the reading. */
const isGone = (line: string) => /: (Cannot stat: No such file or directory|File removed before we read it)$/.test(line)
/** The file changed while it was read; its entry is as long as its header says all the same. */
export const isRace = (line: string): boolean => /: (file changed as we read it|File shrank by .*)$/.test(line)
const isVerdict = (line: string) => /^(Exiting with failure status|Error is not recoverable)/.test(line)
/** It says no more than that something went away. */
export const isHarmless = (line: string): boolean => isGone(line) || isVerdict(line)

const check = (outcome: GnuTar.Ended, report: Options["report"]): Effect.Effect<void, LayerError> => {
  const lines = outcome.lines.filter((line) => !isVerdict(line))
  const isSound = outcome.code !== null && outcome.code <= 2 && lines.every((line) => isGone(line) || isRace(line))
  if (outcome.code !== 0 && !isSound) return Effect.fail(GnuTar.failure("read the directory", { ...outcome, lines }))
  for (const line of lines) if (!isGone(line)) report(GnuTar.toLost(line))
  return Effect.void
}

export const fromGnuTar = (tar: GnuTar.GnuTar, options: Options): Source =>
  Stream.unwrap(
    Effect.gen(function* () {
      if (options.paths.length === 0) return Stream.empty
      const run = options.run ?? (yield* runAlone(tar, options))
      const { done, stdout } = run(listed(options.paths))
      const reader = TarReader.make()
      const output = Stream.fromAsyncIterable(
        batches(stdout),
        (cause) => new LayerError({ kind: "files", message: `reading from GNU tar: ${String(cause)}`, cause })
      )
      const ended = Effect.promise(() => done).pipe(
        Effect.flatMap((outcome) => check(outcome, options.report)),
        Effect.andThen(TarReader.attempt(reader.finish))
      )
      return output.pipe(
        Stream.mapEffect((batch) => TarReader.attempt(() => toEvents(reader, batch, options))),
        Stream.concat(Stream.fromEffectDrain(ended))
      )
    })
  )
