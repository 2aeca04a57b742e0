/**
 * Reads entries of a directory with GNU tar, and large files without it.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as DiffSource from "./DiffSource.ts"
import type * as GnuTar from "./GnuTar.ts"
import { select } from "./LargeFiles.ts"
import { LayerError } from "./LayerError.ts"
import type * as RawPath from "./RawPath.ts"
import { readLargeFiles } from "./ReadLargeFiles.ts"

type Events = ReadonlyArray<DiffSource.Event>

/** Where in the layer the path of an entry stands. */
type PositionOf = (path: RawPath.RawPath) => number

/** Gives what comes before a position, and keeps the rest. */
const upTo = (batches: AsyncIterator<Events>, positionOf: PositionOf) => {
  let kept: Events = []
  return async function* (position: number): AsyncGenerator<Events, void> {
    for (;;) {
      const end = kept.findIndex((event) => event._tag === "Entry" && positionOf(event.entry.path) >= position)
      const before = end < 0 ? kept : kept.slice(0, end)
      if (before.length > 0) yield before
      kept = kept.slice(before.length)
      if (end >= 0) return
      const next = await batches.next()
      if (next.done === true) return
      kept = next.value
    }
  }
}

const onError = (cause: unknown) =>
  cause instanceof LayerError
    ? cause
    : new LayerError({ kind: "files", message: `cannot read the directory: ${String(cause)}`, cause })

/** Puts what was read here between the entries of GNU tar, each at its place. */
const merge = (
  tar: DiffSource.Source,
  large: AsyncGenerator<Events, void>,
  positionOf: PositionOf
): DiffSource.Source => {
  const before = upTo(large, positionOf)
  async function* woven(events: Events): AsyncGenerator<Events, void> {
    let from = 0
    for (const [index, event] of events.entries()) {
      if (event._tag === "Data") continue
      for await (const others of before(positionOf(event.entry.path))) {
        if (index > from) yield events.slice(from, index)
        from = index
        yield others
      }
    }
    if (events.length > from) yield events.slice(from)
  }
  return tar.pipe(
    Stream.flatMap((events) => Stream.fromAsyncIterable(woven(events), onError)),
    Stream.concat(Stream.fromAsyncIterable(before(Number.POSITIVE_INFINITY), onError))
  )
}

const positions = (paths: ReadonlyArray<RawPath.RawPath>): PositionOf => {
  const order = new Map(paths.map((path, index) => [path, index]))
  return (path) => order.get(path) ?? 0
}

/**
 * What {@link DiffSource.fromGnuTar} gives. `large` are the paths of files that are worth it; those of them that have
 * extended attributes, or more than one name, GNU tar reads all the same.
 */
export const fromBoth = (
  tar: GnuTar.GnuTar,
  options: DiffSource.Options,
  large: ReadonlyArray<RawPath.RawPath>
): DiffSource.Source =>
  Stream.unwrap(
    Effect.gen(function* () {
      const files = yield* select(tar, options.root, large)
      if (files.size === 0) return DiffSource.fromGnuTar(tar, options)
      const paths = options.paths.filter((path) => !files.has(path))
      const read = yield* Effect.acquireRelease(
        Effect.sync(() => readLargeFiles(files, options)),
        // A read that is under way ends by itself.
        (read) => Effect.sync(() => void read.return().catch(() => undefined))
      )
      return merge(DiffSource.fromGnuTar(tar, { ...options, paths }), read, positions(options.paths))
    })
  )
