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

export interface Both {
  readonly lower: DiffSource.Source
  readonly upper: DiffSource.Source
}

type Found<A> = ReadonlyMap<RawPath.RawPath, A>

const readBoth = <A>({ lower, upper }: Both, read: (source: DiffSource.Source) => Effect.Effect<A, LayerError>) =>
  Effect.all([read(lower), read(upper)], { concurrency: 2 })

/** A hash of content and attributes of each path. */
const fingerprints = (source: DiffSource.Source): Effect.Effect<Found<string>, LayerError> =>
  Effect.suspend(() => {
    const found = new Map<RawPath.RawPath, string>()
    let current: { readonly path: RawPath.RawPath; readonly hash: Hash } | undefined
    const close = () => {
      if (current !== undefined) found.set(current.path, current.hash.digest("hex"))
    }
    const onEvent = (event: DiffSource.Event) => {
      if (event._tag === "Data") return void current?.hash.update(event.bytes)
      close()
      current = { path: event.entry.path, hash: createHash("sha256") }
      const xattrs = event.entry.xattrs.toSorted((a, b) => (a.name < b.name ? -1 : 1))
      for (const { name, value } of xattrs) current.hash.update(`${name.length} ${name} ${value.length} `).update(value)
    }
    return source.pipe(
      Stream.runForEach((events) => Effect.sync(() => events.forEach(onEvent))),
      Effect.map(() => {
        close()
        return found
      })
    )
  })

/** Those of the paths whose content or attributes differ. */
export const differing = (both: Both, paths: ReadonlyArray<RawPath.RawPath>) =>
  Effect.map(readBoth(both, fingerprints), ([lower, upper]) =>
    paths.filter((path) => lower.get(path) !== upper.get(path))
  )

const xattrNames = (source: DiffSource.Source): Effect.Effect<Found<ReadonlySet<string>>, LayerError> =>
  Effect.suspend(() => {
    const found = new Map<RawPath.RawPath, ReadonlySet<string>>()
    const onEvent = (event: DiffSource.Event) => {
      if (event._tag === "Data") return
      const { path, xattrs } = event.entry
      found.set(path, new Set(xattrs.map(({ name }) => name)))
    }
    return source.pipe(
      Stream.runForEach((events) => Effect.sync(() => events.forEach(onEvent))),
      Effect.as(found)
    )
  })

/**
 * Attributes of directories that are gone. An entry for a directory adds to what is there, and a layer has no word for
 * the removal.
 */
export const removedXattrs = (both: Both): Effect.Effect<ReadonlyArray<Lost>, LayerError> =>
  Effect.map(readBoth(both, xattrNames), ([lower, upper]) =>
    [...lower].flatMap(([path, names]) =>
      [...names]
        .filter((name) => upper.get(path)?.has(name) === false)
        .map((name) => ({
          path: RawPath.show(path),
          what: `the removal of the extended attribute ${RawPath.show(name)}: a layer cannot say that of a directory`
        }))
    )
  )
