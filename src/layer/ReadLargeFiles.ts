/**
 * Reads large files on Node's threads: a mebibyte ahead of whoever takes them, into memory that comes back.
 *
 * @since 0.1.0
 */
import * as Fs from "node:fs"
import * as LentBytes from "../internal/LentBytes.ts"
import type { Event, Options } from "./DiffSource.ts"
import { toEntry } from "./DiffWithNode.ts"
import type { LargeFiles } from "./LargeFiles.ts"
import * as RawPath from "./RawPath.ts"
import type * as TarEntry from "./TarEntry.ts"
import { unlessGone } from "./TreeChanges.ts"

const bufferSize = 1024 * 1024

/** What takes the place of a file is not followed, and not waited for. */
const flags = Fs.constants.O_RDONLY | Fs.constants.O_NOFOLLOW | Fs.constants.O_NONBLOCK

type From = Pick<Options, "report" | "root">

interface Found {
  readonly entry: TarEntry.TarEntry
  /** None when it is no file any more. */
  readonly descriptor: number | undefined
}

/** The header says what was opened. */
const openFile = (full: Buffer, path: RawPath.RawPath): Found | undefined => {
  const descriptor = Fs.openSync(full, flags)
  const entry = toEntry(path, full, Fs.fstatSync(descriptor, { bigint: true }))
  if (entry?.type === "0") return { entry, descriptor }
  Fs.closeSync(descriptor)
  return undefined
}

/** None when it is gone. */
const find = (root: Buffer, path: RawPath.RawPath): Found | undefined =>
  unlessGone(() => {
    const full = RawPath.below(root, path)
    const entry = toEntry(path, full, Fs.lstatSync(full, { bigint: true }))
    return entry === undefined || entry.type === "0" ? openFile(full, path) : { entry, descriptor: undefined }
  }, undefined)

/** One buffer, and what is in it. */
interface Batch {
  readonly events: Array<Event>
  readonly buffer: Buffer
  used: number
}

const read = (descriptor: number, { buffer, used }: Batch, size: number): Promise<number> =>
  new Promise((resolve, reject) => {
    Fs.read(descriptor, buffer, used, size, null, (error, count) => (error === null ? resolve(count) : reject(error)))
  })

const add = (batch: Batch, size: number): void => {
  batch.events.push({ _tag: "Data", bytes: batch.buffer.subarray(batch.used, batch.used + size) })
  batch.used += size
}

/** How much is missing to what its header says, in words of GNU tar. */
const shrank = (path: RawPath.RawPath, left: number) => ({
  path: RawPath.show(path),
  what: `File shrank by ${left} bytes; padding with zeros`
})

const isChanged = (descriptor: number, { size }: TarEntry.TarEntry, ctime: bigint): boolean => {
  const stats = Fs.fstatSync(descriptor, { bigint: true })
  return stats.ctimeNs !== ctime || stats.size > BigInt(size)
}

/** As many bytes of each as its header says, as from GNU tar, in batches that are full. */
async function* batches(files: LargeFiles, { report, root }: From): AsyncGenerator<ReadonlyArray<Event>> {
  const directory = Buffer.from(root)
  const pool = LentBytes.pool(bufferSize)
  const next = (): Batch => ({ events: [], buffer: pool.take(), used: 0 })
  const lend = ({ buffer, events, used }: Batch) => {
    pool.lend(buffer, used)
    return events
  }
  let batch = next()

  async function* content(entry: TarEntry.TarEntry, descriptor: number) {
    let isShort = false
    for (let left = entry.size; left > 0; ) {
      if (batch.used === bufferSize) {
        yield lend(batch)
        batch = next()
      }
      const room = Math.min(left, bufferSize - batch.used)
      const count = isShort ? 0 : await read(descriptor, batch, room)
      if (count === 0) {
        if (!isShort) report(shrank(entry.path, left))
        isShort = true
        batch.buffer.fill(0, batch.used, batch.used + room)
      }
      const size = count === 0 ? room : count
      add(batch, size)
      left -= size
    }
  }

  for (const [path, ctime] of files) {
    const found = find(directory, path)
    if (found === undefined) continue
    const { descriptor, entry } = found
    batch.events.push({ _tag: "Entry", entry })
    let isSame = false
    try {
      if (descriptor !== undefined) {
        yield* content(entry, descriptor)
        isSame = !isChanged(descriptor, entry, ctime)
      }
    } finally {
      if (descriptor !== undefined) Fs.closeSync(descriptor)
    }
    if (!isSame) report({ path: RawPath.show(path), what: "file changed as we read it" })
  }
  yield lend(batch)
}

const ignore = () => undefined

/** The next one is made while one is used. */
async function* ahead<A>(source: AsyncGenerator<A, void>): AsyncGenerator<A, void> {
  const pull = () => {
    const next = source.next()
    // Who asks for it hears of its failure.
    next.catch(ignore)
    return next
  }
  try {
    let next = pull()
    for (let result = await next; result.done !== true; result = await next) {
      next = pull()
      yield result.value
    }
  } finally {
    await source.return()
  }
}

/** In their order; what is gone is left out. The bytes are lent: see {@link LentBytes}. */
export const readLargeFiles = (files: LargeFiles, from: From): AsyncGenerator<ReadonlyArray<Event>, void> =>
  ahead(batches(files, from))
