/**
 * The files of an archive, be it a directory, a tar or a gzipped tar.
 *
 * @since 0.1.0
 */
import { createReadStream, type Dirent } from "node:fs"
import { open, readdir, stat } from "node:fs/promises"
import { join, relative } from "node:path"
import { createGunzip } from "node:zlib"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { extract } from "tar-stream"
import { type ArchiveError, failure } from "./ArchiveError.ts"

/** A file of an archive. */
export interface Entry {
  /** From the root of the archive, without `./` before it. */
  readonly name: string
  /** Bytes. */
  readonly size: number
  /** What a symlink or hard link points to; files of old `docker save` archives are sometimes links. */
  readonly link: string | undefined
  readonly body: Stream.Stream<Uint8Array, ArchiveError>
}

interface Skippable extends Entry {
  /** A tar gives its next entry only when it has got rid of this one. */
  readonly skip: Effect.Effect<void>
}

const plain = (name: string) => name.replace(/^(\.?\/)+/, "")

/** Without what a layout's owner keeps beside it under a name with a dot: file systems, not blobs. */
const filesIn = async (path: string): Promise<ReadonlyArray<Dirent>> => {
  const top = (await readdir(path, { withFileTypes: true })).filter(({ name }) => !name.startsWith("."))
  const below = top
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => readdir(join(path, name), { recursive: true, withFileTypes: true }))
  return [...top, ...(await Promise.all(below)).flat()].filter((entry) => entry.isFile())
}

const files = (path: string, onError: (cause: unknown) => ArchiveError): Stream.Stream<Skippable, ArchiveError> =>
  Stream.unwrap(Effect.map(Effect.tryPromise({ try: () => filesIn(path), catch: onError }), Stream.fromIterable)).pipe(
    Stream.mapEffect((entry) => fileEntry(path, entry, onError))
  )

const fileEntry = (root: string, entry: Dirent, onError: (cause: unknown) => ArchiveError) => {
  const path = join(entry.parentPath, entry.name)
  return Effect.map(
    Effect.tryPromise({ try: () => stat(path), catch: onError }),
    ({ size }): Skippable => ({
      name: relative(root, path),
      size,
      link: undefined,
      skip: Effect.void,
      body: Stream.suspend(() => Stream.fromAsyncIterable<Uint8Array, ArchiveError>(createReadStream(path), onError))
    })
  )
}

const isGzip = async (path: string) => {
  const file = await open(path)
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(2), 0, 2, 0)
    return bytesRead === 2 && buffer[0] === 0x1f && buffer[1] === 0x8b
  } finally {
    await file.close()
  }
}

const isBytes = (chunk: unknown): chunk is Uint8Array => chunk instanceof Uint8Array

/** tar-stream reads entries one by one; destroying it lets go of the file, too. */
const openTar = (path: string, gzipped: boolean) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const entries = extract()
      const file = createReadStream(path, { highWaterMark: 1024 * 1024 })
      const source = gzipped ? file.pipe(createGunzip()) : file
      const fail = (error: Error) => entries.destroy(error)
      entries.on("error", () => {})
      file.on("error", fail)
      source.on("error", fail)
      source.pipe(entries)
      return { entries, close: () => void file.destroy() }
    }),
    ({ close, entries }) =>
      Effect.sync(() => {
        close()
        entries.destroy()
      })
  )

const tarEntries = (path: string, onError: (cause: unknown) => ArchiveError): Stream.Stream<Skippable, ArchiveError> =>
  Stream.unwrap(
    Effect.gen(function* () {
      const gzipped = yield* Effect.tryPromise({ try: () => isGzip(path), catch: onError })
      const { entries } = yield* openTar(path, gzipped)
      return Stream.fromAsyncIterable(entries, onError).pipe(
        // The next entry comes only when this one has been read.
        Stream.rechunk(1),
        Stream.map((entry): Skippable => {
          const { linkname, name, size = 0 } = entry.header
          const body = Stream.filter(Stream.fromAsyncIterable<unknown, ArchiveError>(entry, onError), isBytes)
          return {
            name: plain(name),
            size,
            link: linkname ?? undefined,
            body,
            skip: Effect.sync(() => void entry.resume())
          }
        })
      )
    })
  )

/** Runs an effect for each file and link of an archive, in its order. A body that the effect does not read is skipped. */
export const forEach = <E, R>(
  path: string,
  use: (entry: Entry) => Effect.Effect<void, E, R>
): Effect.Effect<void, ArchiveError | E, R> => {
  const onError = failure(path)
  const entries = Stream.unwrap(
    Effect.map(Effect.tryPromise({ try: () => stat(path), catch: onError }), (stats) =>
      stats.isDirectory() ? files(path, onError) : tarEntries(path, onError)
    )
  )
  return Stream.runForEach(entries, (entry) => Effect.andThen(use(entry), entry.skip))
}
