/**
 * Changes of files that survive a crash at any moment.
 *
 * @since 0.1.0
 */
import {
  closeSync,
  fsyncSync,
  linkSync,
  lstatSync,
  openSync,
  renameSync,
  statSync,
  unlinkSync,
  writeFileSync
} from "node:fs"
import { chmod, readdir, rm } from "node:fs/promises"
import { dirname } from "node:path"
import * as Effect from "effect/Effect"
import type { ContainerdError } from "../core/ContainerdError.ts"
import { isMissing, toContainerdError } from "./EmbeddedError.ts"

/** Makes new and renamed names of a directory last. */
export const syncDirectory = (path: string): void => {
  const descriptor = openSync(path, "r")
  try {
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}

const writeDurably = (path: string, bytes: Uint8Array): void => {
  const descriptor = openSync(path, "w", 0o644)
  try {
    writeFileSync(descriptor, bytes)
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}

/** A reader sees the old file or the new one. `temporary` is on the same file system, and nobody else's. */
export const replaceFile = (path: string, temporary: string, bytes: Uint8Array): void => {
  writeDurably(temporary, bytes)
  renameSync(temporary, path)
  syncDirectory(dirname(path))
}

/** As `replaceFile`, but leaves a file alone that is there already. */
export const createFile = (path: string, temporary: string, bytes: Uint8Array): void => {
  writeDurably(temporary, bytes)
  try {
    linkSync(temporary, path)
    syncDirectory(dirname(path))
  } catch (cause) {
    if (!(cause instanceof Error && "code" in cause && cause.code === "EEXIST")) throw cause
  } finally {
    unlinkSync(temporary)
  }
}

/** The size of a file in bytes; `undefined` when it is not there. */
export const sizeOf = (path: string): number | undefined => statSync(path, { throwIfNoEntry: false })?.size

export const unlinkIfThere = (path: string): void => {
  try {
    unlinkSync(path)
  } catch (cause) {
    if (!isMissing(cause)) throw cause
  }
}

const isDenied = (cause: unknown) =>
  cause instanceof Error && "code" in cause && (cause.code === "EACCES" || cause.code === "EPERM")

/** Names are bytes: what is not UTF-8 would not be found again under the text that it is read as. */
const childOf = (directory: Buffer, name: Buffer) => Buffer.concat([directory, Buffer.from("/"), name])

const openDirectories = async (directory: Buffer): Promise<void> => {
  await chmod(directory, 0o700)
  for (const entry of await readdir(directory, { withFileTypes: true, encoding: "buffer" })) {
    if (entry.isDirectory()) await openDirectories(childOf(directory, entry.name))
  }
}

/** An image may hold directories that its owner may not write to, and then an ordinary user cannot empty them. */
const removeAnyTree = async (path: string): Promise<void> => {
  try {
    await rm(path, { recursive: true, force: true })
  } catch (cause) {
    if (!isDenied(cause)) throw cause
    await openDirectories(Buffer.from(path))
    await rm(path, { recursive: true, force: true })
  }
}

/** Removes a directory with all that is in it. What is gone already, or is being removed by somebody else, is success. */
export const removeTree = (method: string, path: string): Effect.Effect<void, ContainerdError> =>
  Effect.tryPromise({ try: () => removeAnyTree(path), catch: toContainerdError(method) }).pipe(
    Effect.retry({ times: 2 }),
    Effect.catch((error) => (sizeOf(path) === undefined ? Effect.void : Effect.fail(error)))
  )

export interface TreeSize {
  /** Bytes that the files take on the disk. */
  readonly size: number
  readonly inodes: number
}

/** Calls for single files are synchronous, as ten times as fast; between directories other fibers run. */
const measure = async (directory: Buffer, seen: Set<string>, sum: { size: number; inodes: number }): Promise<void> => {
  for (const name of await readdir(directory, { encoding: "buffer" })) {
    const path = childOf(directory, name)
    if (count(path, seen, sum)) await measure(path, seen, sum)
  }
}

/** True for a directory. */
const count = (path: Buffer, seen: Set<string>, sum: { size: number; inodes: number }): boolean => {
  const stats = lstatSync(path, { bigint: true })
  const inode = `${stats.dev}:${stats.ino}`
  if (seen.has(inode)) return false
  if (stats.nlink > 1n) seen.add(inode)
  sum.inodes += 1
  sum.size += Number(stats.blocks) * 512
  return stats.isDirectory()
}

/** As `du`: a file with several names counts once. */
export const measureTree = (method: string, path: string): Effect.Effect<TreeSize, ContainerdError> =>
  Effect.tryPromise({
    try: async () => {
      const sum = { size: 0, inodes: 0 }
      const root = Buffer.from(path)
      if (count(root, new Set(), sum)) await measure(root, new Set(), sum)
      return sum
    },
    catch: toContainerdError(method)
  })
