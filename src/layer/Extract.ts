/**
 * Extracts a layer into a directory.
 *
 * A layer comes from anywhere. Whatever it says, nothing outside of the directory is made, changed, removed or linked
 * to, and what it asks for that no layer may do is refused before it has an effect.
 *
 * @since 0.1.0
 */
import { realpathSync, statSync } from "node:fs"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Digest from "../oci/Digest.ts"
import type { Lost } from "./Concession.ts"
import * as ExtractFinish from "./ExtractFinish.ts"
import * as ExtractRun from "./ExtractRun.ts"
import { makeNode } from "./ExtractWithNode.ts"
import { makeGnuTar } from "./ExtractWriter.ts"
import * as GnuTar from "./GnuTar.ts"
import { LayerError } from "./LayerError.ts"
import * as Metadata from "./Metadata.ts"
import * as RawPath from "./RawPath.ts"
import * as Rights from "./Rights.ts"
import * as TarEntry from "./TarEntry.ts"
import * as TarReader from "./TarReader.ts"
import * as TreeModel from "./TreeModel.ts"

export interface Options {
  /** Of what the directory holds before; default: nothing is recorded. */
  readonly metadata?: Metadata.Metadata | undefined
  /** Default: those of this process. */
  readonly rights?: Rights.Rights | undefined
  /** Default: the one in the PATH. Without one, what Node has no call for is given up and reported. */
  readonly gnuTar?: Option.Option<GnuTar.GnuTar> | undefined
}

export interface Extracted {
  /** Of the tar as it came, to its last byte. */
  readonly diffId: Digest.Digest
  /** Bytes of the tar. */
  readonly size: number
  /** What the user or the machine could not do. What the directory's metadata can keep is in there. */
  readonly notApplied: ReadonlyArray<Lost>
  /** Of the whole directory after the extraction: store it beside it, and give it to the differ and the next layer. */
  readonly metadata: Metadata.Metadata
}

const rootOf = (directory: string): string => {
  const root = realpathSync(directory)
  if (statSync(root).isDirectory()) return root
  throw new LayerError({ kind: "files", message: `${JSON.stringify(directory)} is no directory` })
}

const start = Effect.fnUntraced(function* (directory: string, options: Options) {
  const root = yield* TarReader.attempt(() => rootOf(directory), "files")
  const gnuTar = options.gnuTar ?? (yield* GnuTar.find)
  const available = options.rights ?? (yield* Rights.current)
  const rights = Option.isSome(gnuTar) ? available : Rights.withNodeAlone(available)
  const [writer, stamper] = Option.isSome(gnuTar)
    ? yield* Effect.all([makeGnuTar(gnuTar.value, root, rights), makeGnuTar(gnuTar.value, root, rights, "times")])
    : yield* Effect.map(makeNode(root, rights), (node) => [node, node] as const)
  const run = ExtractRun.make({
    ...{ root: Buffer.from(root), model: TreeModel.make(root), rights, writer },
    now: yield* Clock.currentTimeNanos,
    metadata: options.metadata ?? Metadata.empty
  })
  return { run, stamper, writer }
})

/** Forms of attributes that some archivers write and no container tool reads. */
const ignoredRecords = ({ path, pax }: TarReader.Header): ReadonlyArray<Lost> =>
  pax
    .filter(({ key }) => /^(SCHILY\.acl|LIBARCHIVE\.xattr|RHT\.security)\./.test(key))
    .map(({ key }) => ({ path: RawPath.show(RawPath.fromBytes(path)), what: `the pax record ${RawPath.show(key)}` }))

/** Of chunks of any size, parts that can be given on one after the other. */
const partSize = 1024 * 1024
const parts = (chunk: Uint8Array): ReadonlyArray<Uint8Array> =>
  chunk.length <= partSize
    ? [chunk]
    : Array.from({ length: Math.ceil(chunk.length / partSize) }, (_, i) =>
        chunk.subarray(i * partSize, (i + 1) * partSize)
      )

/**
 * Applies an *uncompressed* layer to a directory that holds what the layers below it hold (OCI image spec, layer.md
 * "Applying Changesets"), and hashes it on its way.
 *
 * As containerd does it: names are cleaned and resolved inside of the directory, as in a root, so an absolute symlink
 * begins there; whiteouts take away what lower layers brought and nothing of this one; a directory that is
 * there keeps its content and gets the attributes of its entry; anything else is replaced; parents that are missing are
 * made with the mode 0755. Unlike containerd an entry for the root counts, and extended attributes in `trusted.` are
 * set where that is allowed, but for those of overlayfs.
 *
 * Fails with a `LayerError`: `unsafe` for a name that is absolute, climbs out through ".." or a symlink, has a NUL or
 * more than 255 bytes in a component, leads through a file or in a circle of symlinks, or changes its type, for a hard link to nothing, to a directory or outside,
 * and for a whiteout of no name; `tar` for a damaged archive; `files` when the file system or GNU tar fails. Then the
 * directory holds a part of the layer: throw it away.
 */
export const extract = <E, R>(
  tar: Stream.Stream<Uint8Array, E, R>,
  directory: string,
  options: Options = {}
): Effect.Effect<Extracted, LayerError | E, R> =>
  Effect.gen(function* () {
    const { run, stamper, writer } = yield* start(directory, options)
    const hasher = Digest.hasher()
    const reader = TarReader.make()
    const ignored: Array<Lost> = []
    const onPart = Effect.fnUntraced(function* (part: Uint8Array) {
      for (const event of yield* TarReader.attempt(() => reader.push(part))) {
        if (event._tag === "Data" && run.takesContent) yield* TarReader.attempt(() => writer.data(event.bytes), "files")
        if (event._tag !== "Entry") continue
        ignored.push(...ignoredRecords(event.header))
        yield* ExtractRun.apply(run, yield* TarReader.attempt(() => TarEntry.decode(event.header)))
      }
      yield* writer.flush
    })
    const onChunk = (chunk: Uint8Array) => {
      hasher.update(chunk)
      return Effect.forEach(parts(chunk), onPart, { discard: true })
    }
    yield* Stream.runForEach(tar, onChunk)
    yield* TarReader.attempt(reader.finish)
    yield* ExtractFinish.finish(run, stamper)
    return {
      diffId: hasher.digest(),
      size: hasher.size,
      notApplied: [...ignored, ...run.lost, ...writer.lost],
      metadata: yield* TarReader.attempt(() => ExtractFinish.metadata(run), "files")
    }
  }).pipe(Effect.scoped)
