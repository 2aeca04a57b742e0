/**
 * Reads what a walk finds while it still goes on, and holds it in memory: so the container is frozen for no longer than it
 * takes to read what is there, once.
 *
 * @since 0.1.0
 */
import type { BigIntStats } from "node:fs"
import { Readable, type Writable } from "node:stream"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as DiffSource from "../layer/DiffSource.ts"
import { LayerError } from "../layer/LayerError.ts"
import * as RawPath from "../layer/RawPath.ts"
import * as TarHeader from "../layer/TarHeader.ts"
import { isDeletion } from "../layer/TreeChanges.ts"
import { HostUnavailable } from "./HostUnavailable.ts"
import type { Reading } from "./Reader.ts"

export interface ReadAhead {
  /** Something that is to be read, after the directories that lead there and were seen. */
  readonly see: (path: RawPath.RawPath, stats: BigIntStats) => void
  /** Nothing more will be seen. Whether all of it is being read. */
  readonly end: () => boolean
  /** After the end, once all was read: the tar of it. */
  readonly tar: Effect.Effect<DiffSource.Reading, LayerError | HostUnavailable>
}

/** Bytes that all commits of this process may hold together. */
const most = 48 * 1024 * 1024
let left = most

/** What is taken comes back when the scope closes. */
const allowance = Effect.acquireRelease(
  Effect.sync(() => ({ taken: 0 })),
  ({ taken }) =>
    Effect.sync(() => {
      left += taken
    })
)

/**
 * Bytes of an entry in a tar. Hard links, and files with holes, are not what they seem: the tar would lose them. All that
 * is gone may be one device with many names, which need not be one.
 */
const sizeOf = (stats: BigIntStats): number => {
  if (stats.isDirectory() || isDeletion(stats)) return 3 * TarHeader.blockSize
  const isWhole = stats.nlink === 1n && (!stats.isFile() || stats.blocks * 512n >= stats.size)
  const size = stats.isFile() ? Number(stats.size) : 0
  return isWhole ? 3 * TarHeader.blockSize + size + TarHeader.paddingSize(size) : Number.POSITIVE_INFINITY
}

/** GNU tar hears of them while the walk goes on; not of each alone. */
const some = 64

const teller = (names: Writable) => {
  const told = new Set<RawPath.RawPath>()
  let paths: Array<RawPath.RawPath> = []
  const flush = () => {
    if (paths.length > 0) names.write(DiffSource.listed(paths))
    paths = []
  }
  /** With the directories that lead there. */
  const tell = (path: RawPath.RawPath, isDirectory: boolean) => {
    const up = RawPath.parent(path)
    if (up !== undefined && !told.has(up)) tell(up, true)
    if (isDirectory) told.add(path)
    paths.push(path)
    if (paths.length >= some) flush()
  }
  return {
    tell,
    end: () => {
      flush()
      names.end()
    }
  }
}

const tooLarge = () => new HostUnavailable({ message: "its extended attributes are too large to be read at once" })

const toError = (cause: unknown) =>
  cause instanceof HostUnavailable
    ? cause
    : new LayerError({ kind: "files", message: `reading from GNU tar: ${String(cause)}`, cause })

const holder = (stdout: Readable, other: Writable | undefined) => {
  const chunks: Array<Uint8Array> = []
  const read = async () => {
    let size = 0
    for await (const chunk of stdout) {
      size += chunk.length
      if (size > 2 * most) throw tooLarge()
      chunks.push(chunk)
      other?.write(chunk)
    }
    other?.end()
  }
  const done = read()
  // Who asks for it hears of its failure.
  done.catch(() => undefined)
  const drop = () => {
    stdout.destroy()
    chunks.length = 0
  }
  return { chunks, done, drop }
}

interface Into {
  /** What is read goes there, too. */
  readonly copyTo: Writable | undefined
  /** As soon as it is clear that it will not be held. */
  readonly onTooMuch: () => void
}

export const make = Effect.fnUntraced(function* ({ ended, names, stdout }: Reading, { copyTo, onTooMuch }: Into) {
  const allowed = yield* allowance
  const { end, tell } = teller(names)
  const { chunks, done, drop } = holder(stdout, copyTo)
  let isHeld = true
  const giveUp = () => {
    isHeld = false
    left += allowed.taken
    allowed.taken = 0
    drop()
    onTooMuch()
  }
  return {
    see: (path, stats) => {
      if (!isHeld) return
      const size = sizeOf(stats)
      if (size > left) return giveUp()
      left -= size
      allowed.taken += size
      tell(path, stats.isDirectory())
    },
    end: () => {
      if (isHeld) end()
      return isHeld
    },
    tar: Effect.tryPromise({
      try: async () => {
        await done
        return { stdout: Readable.from(chunks), done: Promise.resolve(await ended()) }
      },
      catch: toError
    })
  } satisfies ReadAhead
}) satisfies (reading: Reading, into: Into) => Effect.Effect<ReadAhead, never, Scope.Scope>
