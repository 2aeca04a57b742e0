/**
 * Docker gives every file of a container in a user namespace to the ids of the namespace when it makes the container, so
 * that the upper directory holds the whole image. Nobody else does that.
 *
 * @since 0.1.0
 */
import { type BigIntStats, lstatSync, readdirSync } from "node:fs"
import * as RawPath from "../layer/RawPath.ts"
import { tick, unlessGone } from "../layer/TreeChanges.ts"

const namesIn = (directory: Buffer) =>
  unlessGone(() => readdirSync(directory, { encoding: "buffer" }).map(RawPath.fromBytes), [])

const statsOf = (path: Buffer) => unlessGone(() => lstatSync(path, { bigint: true, throwIfNoEntry: false }), undefined)

const isChowned = (upper: Buffer, lower: Buffer): boolean => {
  const names = new Set(namesIn(upper))
  return namesIn(lower).every((name) => names.has(name))
}

function* everything(root: Buffer): Generator<BigIntStats> {
  const pending: Array<RawPath.RawPath> = [""]
  for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
    for (const name of namesIn(RawPath.below(root, path))) {
      const below = RawPath.join(path, name)
      const stats = statsOf(RawPath.below(root, below))
      if (stats === undefined) continue
      yield stats
      if (stats.isDirectory()) pending.push(below)
    }
  }
}

/** Nanoseconds that pass between two files at most; the next is copied first, with 50 MB/s at least. */
const pause = ({ size }: BigIntStats) => 50_000_000n + size * 20n

/**
 * When the pass ended, in nanoseconds since 1970 by the clock of the file system; 0 when there was none. It goes from
 * file to file without a rest, and the container cannot have begun right after it: what was touched after a rest may
 * have been touched by the container. To be wrong there costs time, and nothing else.
 */
export const end = (upperPath: string, lowerPath: string): bigint => {
  const upper = Buffer.from(upperPath)
  if (!isChowned(upper, Buffer.from(lowerPath))) return 0n
  const [first, ...others] = [...everything(upper)].toSorted((a, b) => (a.ctimeNs < b.ctimeNs ? -1 : 1))
  let last = first?.ctimeNs ?? 0n
  for (const stats of others) {
    if (stats.ctimeNs > last + pause(stats)) break
    last = stats.ctimeNs
  }
  return last
}

/** The first moment that is not of the pass, whatever the clock's ticks. */
export const after = (end: bigint): bigint => (end === 0n ? 0n : end + tick + 1n)
