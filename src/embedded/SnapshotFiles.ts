/**
 * What lies beside the file system of a snapshot: its metadata, and the mark of when its copy was finished.
 *
 * @since 0.1.0
 */
import { lstatSync, readFileSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import * as Result from "effect/Result"
import * as Metadata from "../layer/Metadata.ts"
import { isMissing } from "./EmbeddedError.ts"
import * as Files from "./Files.ts"
import type { Paths } from "./Layout.ts"

const metadataOf = (snapshot: string) => join(snapshot, "metadata.json")
const copiedOf = (snapshot: string) => join(snapshot, "copied")

/** A child begins with the metadata of its parent. Its copy is done: the clock that counts is the file system's. */
export const inherit = (paths: Paths, parent: string, child: string): void => {
  const metadata = readMetadata(paths.snapshot(parent))
  const directory = paths.fs(child)
  writeMetadata(paths, directory, metadata.paths.size === 0 ? metadata : Metadata.identify(metadata, directory))
  writeFileSync(copiedOf(paths.snapshot(child)), "")
}

/** The snapshot whose file system that directory is; `undefined` for any other directory. */
const snapshotOf = (paths: Paths, directory: string): string | undefined => {
  const snapshot = dirname(directory)
  return dirname(snapshot) === paths.snapshots ? snapshot : undefined
}

export interface Beside {
  readonly metadata: Metadata.Metadata
  /** Nanoseconds since 1970; `undefined` for what is no copy. */
  readonly copied: bigint | undefined
}

const readMetadata = (snapshot: string): Metadata.Metadata => {
  try {
    return Result.getOrThrow(Metadata.fromJson(readFileSync(metadataOf(snapshot), "utf8")))
  } catch (cause) {
    if (!isMissing(cause)) throw cause
    return Metadata.empty
  }
}

/** Of a directory that is no snapshot's there is nothing. Throws when the metadata are damaged. */
export const read = (paths: Paths, directory: string): Beside => {
  const snapshot = snapshotOf(paths, directory)
  if (snapshot === undefined) return { metadata: Metadata.empty, copied: undefined }
  const mark = lstatSync(copiedOf(snapshot), { bigint: true, throwIfNoEntry: false })
  return { metadata: readMetadata(snapshot), copied: mark?.mtimeNs }
}

/** Nothing is written where there is nothing to say. */
export const writeMetadata = (paths: Paths, directory: string, metadata: Metadata.Metadata): void => {
  const snapshot = snapshotOf(paths, directory)
  if (snapshot === undefined) return
  const path = metadataOf(snapshot)
  if (Metadata.isEmpty(metadata)) Files.unlinkIfThere(path)
  else Files.replaceFile(path, `${path}.new`, Buffer.from(Metadata.toJson(metadata)))
}
