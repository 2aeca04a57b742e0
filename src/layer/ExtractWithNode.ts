/**
 * Puts entries into a directory where there is no GNU tar. Node has calls for files, directories, symlinks, hard links,
 * owners, modes and times; the last are exact to a microsecond.
 *
 * @since 0.1.0
 */
import * as Fs from "node:fs"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { ExtractWriter } from "./ExtractWriter.ts"
import * as RawPath from "./RawPath.ts"
import type * as Rights from "./Rights.ts"
import type * as TarEntry from "./TarEntry.ts"
import { attempt } from "./TarReader.ts"

const isThere = (cause: unknown) => cause instanceof Error && "code" in cause && cause.code === "EEXIST"

/** The writer's own non-directory makes room. */
const replacing = (path: Buffer, create: () => void): void => {
  try {
    create()
  } catch (cause) {
    if (!isThere(cause)) throw cause
    Fs.unlinkSync(path)
    create()
  }
}

const makeDirectory = (path: Buffer): void => {
  try {
    Fs.mkdirSync(path, { mode: 0o700 })
  } catch (cause) {
    if (!isThere(cause)) throw cause
  }
}

const seconds = (nanos: bigint): number => Number(nanos / 1000n) / 1e6

const describe = (path: Buffer, { gid, mode, mtime, type, uid }: TarEntry.TarEntry, rights: Rights.Rights): void => {
  if (rights.owners !== undefined) Fs.lchownSync(path, uid, gid)
  // After the owner: a change of owner takes set-id bits away.
  if (type !== "2") Fs.chmodSync(path, mode)
  Fs.lutimesSync(path, seconds(mtime), seconds(mtime))
}

interface OpenFile {
  readonly descriptor: number
  readonly path: Buffer
  readonly entry: TarEntry.TarEntry
}

export const makeNode = (directory: string, rights: Rights.Rights): Effect.Effect<ExtractWriter, never, Scope.Scope> =>
  Effect.gen(function* () {
    const root = Buffer.from(directory)
    const lost = [{ path: "", what: "times are exact to a microsecond only: GNU tar is not in the PATH" }]
    const directories = new Map<RawPath.RawPath, TarEntry.TarEntry>()
    let file: OpenFile | undefined

    const close = () => {
      if (file === undefined) return
      Fs.closeSync(file.descriptor)
      describe(file.path, file.entry, rights)
      file = undefined
    }
    yield* Effect.addFinalizer(() => Effect.sync(() => file !== undefined && Fs.closeSync(file.descriptor)))

    const create = (entry: TarEntry.TarEntry): void => {
      const path = RawPath.below(root, entry.path)
      if (entry.type === "5") {
        makeDirectory(path)
        directories.set(entry.path, entry)
      } else if (entry.type === "1") {
        replacing(path, () => Fs.linkSync(RawPath.below(root, entry.link), path))
      } else if (entry.type === "2") {
        replacing(path, () => Fs.symlinkSync(RawPath.toBytes(entry.link), path))
        describe(path, entry, rights)
      } else {
        replacing(path, () => {
          file = { descriptor: Fs.openSync(path, "wx", 0o600), path, entry }
        })
      }
    }

    return {
      entry: (entry) => {
        close()
        create(entry)
      },
      data: (bytes) => {
        for (let rest = bytes; file !== undefined && rest.length > 0; ) {
          rest = rest.subarray(Fs.writeSync(file.descriptor, rest))
        }
      },
      flush: Effect.void,
      settle: attempt(() => {
        close()
        // What is deepest first: a directory may close itself to its owner.
        for (const [path, entry] of [...directories].toReversed()) describe(RawPath.below(root, path), entry, rights)
        directories.clear()
      }, "files"),
      lost
    } satisfies ExtractWriter
  })
