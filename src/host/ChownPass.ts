/**
 * Docker gives every file of a container in a user namespace to the ids of the namespace when it makes the container, so
 * that the upper directory holds the whole image. Nobody else does that.
 *
 * @since 0.1.0
 */
import { type BigIntStats, readdirSync } from "node:fs"
import * as Effect from "effect/Effect"
import type * as RawPath from "../layer/RawPath.ts"
import { attempt } from "../layer/TarReader.ts"
import type { TreeChanges } from "../layer/TreeChanges.ts"
import * as HostDiff from "./HostDiff.ts"

/** Of everything that the upper directory holds. */
type Times = ReadonlyMap<RawPath.RawPath, Pick<BigIntStats, "ctimeNs" | "size">>

const namesIn = (directory: string) => readdirSync(directory, { encoding: "latin1" })

/** Only then does the upper directory hold everything. */
const isIn = (upper: string, lower: string): boolean => {
  const names = new Set(namesIn(upper))
  return namesIn(lower).every((name) => names.has(name))
}

/** Nanoseconds that pass between two files at most; the next is copied first, with 50 MB/s at least. */
const pause = (size: bigint) => 50_000_000n + size * 20n

/**
 * When the pass ended, in nanoseconds since 1970 by the clock of the file system. It goes from file to file without a
 * rest, and the container cannot have begun right after it: what was touched after a rest may have been touched by the
 * container. To be wrong there costs time, and nothing else.
 */
const end = (times: Times): bigint => {
  const [first, ...others] = [...times.values()].toSorted((a, b) => (a.ctimeNs < b.ctimeNs ? -1 : 1))
  let last = first?.ctimeNs ?? 0n
  for (const { ctimeNs, size } of others) {
    if (ctimeNs > last + pause(size)) break
    last = ctimeNs
  }
  return last
}

/** What nothing but the pass has touched, and is the same as far as it was compared, is the same. */
const without = (found: TreeChanges, times: Times): TreeChanges => {
  const last = end(times)
  const isTouched = (path: RawPath.RawPath) => (times.get(path)?.ctimeNs ?? last + 1n) > last
  return { ...found, suspects: found.suspects.filter(isTouched), directories: found.directories.filter(isTouched) }
}

/** {@link HostDiff.compare}, but for what the pass alone has touched. */
export const compare = Effect.fnUntraced(function* (trees: HostDiff.Trees) {
  const { lower, upper } = trees
  const isPassed = yield* attempt(() => lower !== undefined && isIn(upper, lower), "files")
  if (!isPassed) return yield* HostDiff.compare(trees)
  const times = new Map<RawPath.RawPath, BigIntStats>()
  const found = yield* HostDiff.compare(trees, { onSeen: (path, stats) => times.set(path, stats) })
  return yield* attempt(() => without(found, times), "files")
})
