/**
 * Leaves entries out of a layer. It takes two readings: only the end of the tar tells whether a directory stays empty,
 * and whether a file that goes has another name that stays.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { LayerError } from "./LayerError.ts"
import * as RawPath from "./RawPath.ts"
import * as TarEntry from "./TarEntry.ts"
import * as TarReader from "./TarReader.ts"
import type * as TarRewrite from "./TarRewrite.ts"
import * as Whiteout from "./Whiteout.ts"

/** `if-empty`: a directory goes when nothing that stays is in it. A deletion is asked about under the name that is gone. */
export type Verdict = "keep" | "omit" | "if-empty"
export type Judged = Pick<TarEntry.TarEntry, "path" | "size" | "type">
export type Judge = (path: RawPath.RawPath, entry: Judged) => Verdict

/** The name under which a file's content stays. */
interface Moved {
  readonly path: RawPath.RawPath
  /** Directories that lead there and whose entries follow, the upper first: each may be new in the place of a file. */
  readonly below: ReadonlyArray<RawPath.RawPath>
}

/** What the first reading found. */
export interface Omissions {
  readonly omitted: ReadonlySet<RawPath.RawPath>
  /** Files whose first name goes. */
  readonly moved: ReadonlyMap<RawPath.RawPath, Moved>
  /** How many entries stay. */
  readonly kept: number
}

const cleaned = (path: RawPath.RawPath): RawPath.RawPath => RawPath.split(path).join("/")

/** The name that a deletion speaks of: that of the file, or of the directory that becomes opaque. */
export const subject = (path: RawPath.RawPath): RawPath.RawPath => {
  if (!path.includes(Whiteout.prefix)) return path
  const parent = RawPath.parent(path) ?? ""
  const name = path.slice(path.lastIndexOf("/") + 1)
  if (name === Whiteout.opaque) return parent
  return name.startsWith(Whiteout.prefix) ? RawPath.join(parent, name.slice(Whiteout.prefix.length)) : path
}

/** The directories that lead there, the upper first; not the root. */
const above = (path: RawPath.RawPath): ReadonlyArray<RawPath.RawPath> => {
  const parts = path.split("/").slice(0, -1)
  return parts.map((_, i) => parts.slice(0, i + 1).join("/"))
}

const scanner = (judge: Judge) => {
  // Both with how many directories came before.
  const omitted = new Map<RawPath.RawPath, number>()
  const directories = new Map<RawPath.RawPath, number>()
  const perhaps = new Set<RawPath.RawPath>()
  const moved = new Map<RawPath.RawPath, Moved>()
  let kept = 0
  const keep = (path: RawPath.RawPath, { link, type }: TarEntry.TarEntry) => {
    kept += 1
    const target = cleaned(link)
    const goes = type === "1" && !moved.has(target) ? omitted.get(target) : undefined
    if (goes !== undefined) {
      moved.set(target, { path, below: above(path).filter((one) => (directories.get(one) ?? -1) >= goes) })
    }
    if (perhaps.size === 0) return
    for (let up = RawPath.parent(path); up !== undefined; up = RawPath.parent(up)) {
      if (perhaps.delete(up)) kept += 1
    }
  }
  return {
    see: (entry: TarEntry.TarEntry) => {
      const path = cleaned(entry.path)
      const verdict = judge(subject(path), entry)
      if (entry.type === "5" && verdict !== "omit") directories.set(path, directories.size)
      if (verdict === "keep") keep(path, entry)
      else if (verdict === "omit") omitted.set(path, directories.size)
      else perhaps.add(path)
    },
    result: (): Omissions => ({ omitted: new Set([...omitted.keys(), ...perhaps]), moved, kept })
  }
}

/** The first reading, of an *uncompressed* layer. */
export const scan = <E, R>(
  tar: Stream.Stream<Uint8Array, E, R>,
  judge: Judge
): Effect.Effect<Omissions, E | LayerError, R> =>
  Effect.suspend(() => {
    const reader = TarReader.make()
    const { result, see } = scanner(judge)
    const onChunk = (chunk: Uint8Array) =>
      TarReader.attempt(() => {
        for (const event of reader.push(chunk)) if (event._tag === "Entry") see(TarEntry.decode(event.header))
      })
    return Stream.runForEach(tar, onChunk).pipe(Effect.andThen(TarReader.attempt(reader.finish)), Effect.map(result))
  })

/** The second one. */
export const omit =
  ({ moved, omitted }: Omissions): TarRewrite.Edit =>
  (entry) => {
    const path = cleaned(RawPath.fromBytes(entry.path))
    if (omitted.has(path)) {
      const other = moved.get(path)
      return other === undefined ? undefined : { ...entry, names: other }
    }
    if (entry.type !== "1" || moved.size === 0) return entry
    const link = moved.get(cleaned(TarEntry.decode(entry.header).link))?.path
    if (link === undefined) return entry
    return link === path ? undefined : { ...entry, names: { link } }
  }
