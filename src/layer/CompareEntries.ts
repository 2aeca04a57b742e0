/**
 * Compares what can only be found by reading: contents and extended attributes of the same paths in two directories.
 *
 * @since 0.1.0
 */
import { createHash, type Hash } from "node:crypto"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Lost } from "./Concession.ts"
import type * as DiffSource from "./DiffSource.ts"
import type { LayerError } from "./LayerError.ts"
import * as RawPath from "./RawPath.ts"
import type { Xattr } from "./TarEntry.ts"

/** What was read of a path. */
export interface Seen {
  readonly xattrs: ReadonlyArray<Xattr>
  /** A hash; none of what has no content. */
  readonly content: string | undefined
}

export type AllSeen = ReadonlyMap<RawPath.RawPath, Seen>

export const read = (source: DiffSource.Source): Effect.Effect<AllSeen, LayerError> =>
  Effect.suspend(() => {
    const found = new Map<RawPath.RawPath, Seen>()
    let current: { readonly path: RawPath.RawPath; readonly xattrs: ReadonlyArray<Xattr> } | undefined
    let hash: Hash | undefined
    const close = () => {
      if (current !== undefined) found.set(current.path, { xattrs: current.xattrs, content: hash?.digest("hex") })
      hash = undefined
    }
    const onEvent = (event: DiffSource.Event) => {
      if (event._tag === "Data") {
        hash ??= createHash("sha256")
        hash.update(event.bytes)
        return
      }
      close()
      current = event.entry
    }
    return source.pipe(
      Stream.runForEach((events) => Effect.sync(() => events.forEach(onEvent))),
      Effect.map(() => {
        close()
        return found
      })
    )
  })

const sameXattrs = (a: ReadonlyArray<Xattr>, b: ReadonlyArray<Xattr>): boolean => {
  const values = new Map(a.map(({ name, value }) => [name, value]))
  return (
    values.size === b.length &&
    b.every(({ name, value }) => {
      const other = values.get(name)
      return other !== undefined && Buffer.compare(other, value) === 0
    })
  )
}

/** What is in only one of the directories is not the same. */
export const isSame = (a: Seen | undefined, b: Seen | undefined): boolean =>
  a !== undefined && b !== undefined && a.content === b.content && sameXattrs(a.xattrs, b.xattrs)

/** Attributes that are gone. An entry for a directory adds to what is there, and a layer has no word for the removal. */
export const removedXattrs = (path: RawPath.RawPath, lower: Seen | undefined, upper: Seen | undefined): Array<Lost> => {
  if (lower === undefined || upper === undefined) return []
  const kept = new Set(upper.xattrs.map(({ name }) => name))
  return lower.xattrs
    .filter(({ name }) => !kept.has(name))
    .map(({ name }) => ({
      path: RawPath.show(path),
      what: `the removal of the extended attribute ${RawPath.show(name)}: a layer cannot say that of a directory`
    }))
}
