/**
 * Which files of a layer Node reads itself: large ones without extended attributes, for which it has no call. By way of
 * GNU tar and its pipe they take twice as long.
 *
 * @since 0.1.0
 */
import { lstatSync } from "node:fs"
import { text } from "node:stream/consumers"
import * as Effect from "effect/Effect"
import * as DiffSource from "./DiffSource.ts"
import * as GnuTar from "./GnuTar.ts"
import * as RawPath from "./RawPath.ts"
import { attempt } from "./TarReader.ts"
import { type Change, unlessGone } from "./TreeChanges.ts"

/** Bytes. */
export interface Limits {
  /** Of one file. */
  readonly least: number
  /** Of all of them: fewer are not worth one more process. */
  readonly together: number
}

export const usual: Limits = { least: 32 * 1024, together: 32 * 1024 * 1024 }

export const none: Limits = { least: Number.POSITIVE_INFINITY, together: 0 }

/** Those that are worth it; none when all of them together are not. */
export const among = (changes: ReadonlyArray<Change>, { least, together }: Limits): ReadonlyArray<RawPath.RawPath> => {
  const large = changes.filter(({ size = -1 }) => size >= least)
  const total = large.reduce((sum, { size = 0 }) => sum + size, 0)
  return total < together ? [] : large.map(({ path }) => path)
}

/** By path, when something of the file changed last: as long as that stays, it gets no extended attributes. */
export type LargeFiles = ReadonlyMap<RawPath.RawPath, bigint>

const ctimesOf = (root: Buffer, paths: ReadonlyArray<RawPath.RawPath>): LargeFiles => {
  const found = new Map<RawPath.RawPath, bigint>()
  for (const path of paths) {
    const stats = unlessGone(() => lstatSync(RawPath.below(root, path), { bigint: true }), undefined)
    // One with other names is written once, and then as links.
    if (stats?.nlink === 1n) found.set(path, stats.ctimeNs)
  }
  return found
}

/** GNU tar tells which have some when it lists what it writes. Into nothing: then it reads no content. */
const flags = ["-c", "-vv", "-f", "/dev/null", ...DiffSource.flagsOfEntries]

/** A regular file that is no hard link. With extended attributes it would have `*` after its mode. */
const plain = /^-[-rwxsStT]{9} {2}\d+\/\d+ +\d+ \d{4}-\d\d-\d\d \d\d:\d\d (.+)$/

const list = Effect.fnUntraced(function* (tar: GnuTar.GnuTar, root: string, paths: ReadonlyArray<RawPath.RawPath>) {
  const { done, stdin, stdout } = yield* GnuTar.startScoped(tar, ["-C", root, ...flags])
  stdin.end(DiffSource.listed(paths))
  const listing = yield* Effect.promise(() => text(stdout).catch(() => ""))
  const { lines } = yield* Effect.promise(() => done)
  // Attributes that cannot be read are not shown, and are to be reported by whoever writes the layer.
  return lines.every(DiffSource.isHarmless) ? listing.split("\n") : []
}, Effect.scoped)

/** Those of the paths that have no extended attributes; where GNU tar does not say so clearly, none. */
export const select = Effect.fnUntraced(function* (
  tar: GnuTar.GnuTar,
  root: string,
  paths: ReadonlyArray<RawPath.RawPath>
) {
  const found = new Map<RawPath.RawPath, bigint>()
  if (paths.length === 0) return found
  // Before they are listed, so that what comes between is seen.
  const ctimes = yield* attempt(() => ctimesOf(Buffer.from(root), paths), "files")
  for (const line of yield* list(tar, root, paths)) {
    const [, name] = plain.exec(line) ?? []
    const path = name === undefined ? undefined : GnuTar.toName(name)
    const ctime = path === undefined ? undefined : ctimes.get(path)
    if (path !== undefined && ctime !== undefined) found.set(path, ctime)
  }
  return found
})
