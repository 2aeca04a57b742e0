/**
 * Reads entries of a directory where there is no GNU tar: all but extended attributes and ACLs.
 *
 * @since 0.1.0
 */
import * as Fs from "node:fs"
import * as Stream from "effect/Stream"
import type { Event, Options, Source } from "./DiffSource.ts"
import { LayerError } from "./LayerError.ts"
import * as RawPath from "./RawPath.ts"
import * as TarEntry from "./TarEntry.ts"

const chunkSize = 256 * 1024

const types: ReadonlyArray<readonly [format: bigint, type: TarEntry.Type]> = [
  [0o100000n, "0"],
  [0o120000n, "2"],
  [0o020000n, "3"],
  [0o060000n, "4"],
  [0o040000n, "5"],
  [0o010000n, "6"]
]

const typeOf = ({ mode }: Fs.BigIntStats) => types.find(([format]) => format === (mode & 0o170000n))?.[1]

/** The kernel's encoding of a device number (`makedev(3)`). */
const major = (rdev: bigint) => Number(((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & ~0xfffn))
const minor = (rdev: bigint) => Number((rdev & 0xffn) | ((rdev >> 12n) & ~0xffn))

/** What an entry says of itself but for extended attributes; none of a socket. */
export const toEntry = (path: RawPath.RawPath, full: Buffer, stats: Fs.BigIntStats): TarEntry.TarEntry | undefined => {
  const type = typeOf(stats)
  if (type === undefined) return undefined
  const isDevice = type === "3" || type === "4"
  return {
    path,
    type,
    mode: Number(stats.mode & 0o7777n),
    uid: Number(stats.uid),
    gid: Number(stats.gid),
    size: type === "0" ? Number(stats.size) : 0,
    mtime: TarEntry.bounded(stats.mtimeNs),
    link: type === "2" ? RawPath.fromBytes(Fs.readlinkSync(full, { encoding: "buffer" })) : "",
    major: isDevice ? major(stats.rdev) : 0,
    minor: isDevice ? minor(stats.rdev) : 0,
    xattrs: []
  }
}

/** As many bytes as the entry says: a file that shrank is filled up with zeros, as GNU tar does it. */
function* contentOf(descriptor: number, entry: TarEntry.TarEntry, report: Options["report"]): Generator<Event> {
  for (let left = entry.size; left > 0; ) {
    const bytes = Buffer.alloc(Math.min(left, chunkSize))
    const read = Fs.readSync(descriptor, bytes, 0, bytes.length, null)
    if (read === 0)
      report({ path: RawPath.show(entry.path), what: "the file shrank while it was read: zeros fill it up" })
    const part = read === 0 ? bytes : bytes.subarray(0, read)
    left -= part.length
    yield { _tag: "Data", bytes: part }
  }
}

function* readPath(path: RawPath.RawPath, options: Options, seen: Map<string, string>): Generator<Event> {
  const full = RawPath.below(Buffer.from(options.root), path)
  const stats = Fs.lstatSync(full, { bigint: true, throwIfNoEntry: false })
  const entry = stats === undefined ? undefined : toEntry(path, full, stats)
  if (stats === undefined || entry === undefined) return
  const inode = `${stats.dev}:${stats.ino}`
  const first = entry.type === "5" || options.everyContent ? undefined : seen.get(inode)
  if (first !== undefined) {
    yield { _tag: "Entry", entry: { ...entry, type: "1", link: first, size: 0, major: 0, minor: 0 } }
    return
  }
  if (stats.nlink > 1n) seen.set(inode, path)
  const flags = Fs.constants.O_RDONLY | Fs.constants.O_NOFOLLOW
  const descriptor = entry.type === "0" ? Fs.openSync(full, flags) : undefined
  try {
    yield { _tag: "Entry", entry }
    if (descriptor !== undefined) yield* contentOf(descriptor, entry, options.report)
  } finally {
    if (descriptor !== undefined) Fs.closeSync(descriptor)
  }
}

/** An asynchronous one, so that it is asked for one part after the other. */
async function* readAll(options: Options): AsyncGenerator<ReadonlyArray<Event>> {
  const seen = new Map<string, string>()
  if (options.paths.length > 0) {
    options.report({ path: "", what: "extended attributes and ACLs: GNU tar, which reads them, is not in the PATH" })
  }
  for (const path of options.paths) for (const event of readPath(path, options, seen)) yield [event]
}

export const fromNode = (options: Options): Source =>
  Stream.fromAsyncIterable(
    readAll(options),
    (cause) => new LayerError({ kind: "files", message: `cannot read the directory: ${String(cause)}`, cause })
  ).pipe(Stream.rechunk(1))
