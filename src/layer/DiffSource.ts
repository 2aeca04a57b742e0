/**
 * Reads entries of a directory, with their content, for a layer or to compare them.
 *
 * @since 0.1.0
 */
import { Readable } from "node:stream"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Child } from "./ChildProcess.ts"
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
  /** GNU tar, started for this: see {@link start}. */
  readonly child?: Child | undefined
}

/** In the order of the paths; what is gone meanwhile is left out. */
export type Source = Stream.Stream<ReadonlyArray<Event>, LayerError>

/**
 * SELinux labels belong to the policy of a machine: no tool puts them into a layer. ACLs come as extended attributes,
 * which is what everybody reads.
 */
const args = ({ everyContent, root }: Pick<Options, "everyContent" | "root">): ReadonlyArray<string> => [
  ...[
    "-c",
    "-f",
    "-",
    "-b",
    "128",
    "-C",
    root,
    "--format=pax",
    "--numeric-owner",
    "--pax-option=delete=atime,delete=ctime"
  ],
  ...["--xattrs", "--xattrs-include=*", "--xattrs-exclude=security.selinux", "--no-acls", "--no-selinux"],
  ...["--warning=no-timestamp", "--quoting-style=escape", ...(everyContent ? ["--hard-dereference"] : [])],
  ...["--no-recursion", "--null", "--verbatim-files-from", "--no-unquote", "-T", "-"]
]

const namesPerChunk = 1000

function* listed(paths: ReadonlyArray<RawPath.RawPath>): Generator<Buffer> {
  for (let at = 0; at < paths.length; at += namesPerChunk) {
    const names = paths.slice(at, at + namesPerChunk).map((path) => `${path === "" ? "." : path}\0`)
    yield RawPath.toBytes(names.join(""))
  }
}

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

const batchSize = 1024 * 1024

/** What a pipe gives are small pieces, each of which would cost as much as many. */
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
const isRace = (line: string) => /: (file changed as we read it|File shrank by .*)$/.test(line)
const isVerdict = (line: string) => /^(Exiting with failure status|Error is not recoverable)/.test(line)

const check = (outcome: GnuTar.Ended, report: Options["report"]): Effect.Effect<void, LayerError> => {
  const lines = outcome.lines.filter((line) => !isVerdict(line))
  const isSound = outcome.code !== null && outcome.code <= 2 && lines.every((line) => isGone(line) || isRace(line))
  if (outcome.code !== 0 && !isSound) return Effect.fail(GnuTar.failure("read the directory", { ...outcome, lines }))
  for (const line of lines) if (!isGone(line)) report(GnuTar.toLost(line))
  return Effect.void
}

/** Waits for names until its scope closes. To start it takes a while, which need not be when the names are there. */
export const start = (tar: GnuTar.GnuTar, options: Pick<Options, "everyContent" | "root">) =>
  GnuTar.startScoped(tar, args(options))

export const fromGnuTar = (tar: GnuTar.GnuTar, options: Options): Source =>
  Stream.unwrap(
    Effect.gen(function* () {
      if (options.paths.length === 0) return Stream.empty
      const child = options.child ?? (yield* start(tar, options))
      Readable.from(listed(options.paths)).pipe(child.stdin)
      const reader = TarReader.make()
      const output = Stream.fromAsyncIterable(
        batches(child.stdout),
        (cause) => new LayerError({ kind: "files", message: `reading from GNU tar: ${String(cause)}`, cause })
      )
      const ended = Effect.promise(() => child.done).pipe(
        Effect.flatMap((outcome) => check(outcome, options.report)),
        Effect.andThen(TarReader.attempt(reader.finish))
      )
      return output.pipe(
        Stream.mapEffect((batch) => TarReader.attempt(() => toEvents(reader, batch, options))),
        Stream.concat(Stream.fromEffectDrain(ended))
      )
    })
  )
