/**
 * Copies a file system tree: data shared where the file system can share it, else copied with its holes.
 *
 * @since 0.1.0
 */
import { execFile } from "node:child_process"
import {
  type BigIntStats,
  chmodSync,
  constants,
  copyFileSync,
  lchownSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  readlinkSync,
  symlinkSync
} from "node:fs"
import { copyFile, readdir } from "node:fs/promises"
import { promisify } from "node:util"
import * as Effect from "effect/Effect"
import { ContainerdError, Unimplemented } from "../core/ContainerdError.ts"
import { toContainerdError } from "./EmbeddedError.ts"

const run = promisify(execFile)
const method = "Snapshots.Prepare"

/** Asked once for a process. */
let gnuCp: Promise<boolean> | undefined

/** GNU's cp keeps what Node has no call for: extended attributes, ACLs, nanoseconds, devices, FIFOs, holes. */
const hasGnuCp: Effect.Effect<boolean> = Effect.promise(() => {
  gnuCp ??= run("cp", ["--version"]).then(
    ({ stdout }) => stdout.includes("GNU coreutils"),
    () => false
  )
  return gnuCp
})

const copyWithCp = (from: string, to: string) =>
  Effect.tryPromise({
    try: (signal) =>
      run("cp", ["-a", "--reflink=auto", "--sparse=auto", "--", `${from}/.`, to], {
        signal,
        env: { ...process.env, LC_ALL: "C" }
      }),
    catch: toContainerdError(method)
  })

const below = (directory: Buffer, name: Buffer) => Buffer.concat([directory, Buffer.from("/"), name])

/** What an ordinary user may not do: give a file to somebody else. */
const ifAllowed = (change: () => void): void => {
  try {
    change()
  } catch (cause) {
    if (!(cause instanceof Error && "code" in cause && cause.code === "EPERM")) throw cause
  }
}

const copyAttributes = (to: Buffer, stats: BigIntStats): void => {
  ifAllowed(() => lchownSync(to, Number(stats.uid), Number(stats.gid)))
  // After the owner: a change of owner takes away set-user-ID.
  if (!stats.isSymbolicLink()) chmodSync(to, Number(stats.mode & 0o7777n))
  lutimesSync(to, Number(stats.atimeNs) / 1e9, Number(stats.mtimeNs) / 1e9)
}

const copyChildren = async (from: Buffer, to: Buffer, links: Map<string, Buffer>): Promise<void> => {
  for (const name of await readdir(from, { encoding: "buffer" })) {
    await copyNode(below(from, name), below(to, name), links)
  }
}

/** Above, in bytes, other fibers run while a file is copied; below, the switch would cost more than the copy. */
const largeFile = 256 * 1024

const copyContent = (from: Buffer, to: Buffer, size: bigint): Promise<void> | void =>
  size > largeFile ? copyFile(from, to, constants.COPYFILE_FICLONE) : copyFileSync(from, to, constants.COPYFILE_FICLONE)

const copyNode = async (from: Buffer, to: Buffer, links: Map<string, Buffer>): Promise<void> => {
  const stats = lstatSync(from, { bigint: true })
  const inode = `${stats.dev}:${stats.ino}`
  const first = links.get(inode)
  if (first !== undefined) return linkSync(first, to)
  if (!stats.isDirectory() && stats.nlink > 1n) links.set(inode, to)
  if (stats.isDirectory()) {
    mkdirSync(to, { recursive: true, mode: 0o700 })
    await copyChildren(from, to, links)
  } else if (stats.isSymbolicLink()) {
    symlinkSync(readlinkSync(from, { encoding: "buffer" }), to)
  } else if (stats.isFile()) {
    await copyContent(from, to, stats.size)
  } else {
    const message = `${from}: devices, FIFOs and sockets can only be copied with GNU cp, which is not in the PATH`
    throw new ContainerdError({ method, reason: new Unimplemented({ message }) })
  }
  copyAttributes(to, stats)
}

const copyWithNode = (from: string, to: string) =>
  Effect.tryPromise({
    try: () => copyNode(Buffer.from(from), Buffer.from(to), new Map()),
    catch: toContainerdError(method)
  })

/**
 * Copies what is in the directory `from`, and its own attributes, into the directory `to`, which is there or is made.
 *
 * With GNU `cp` in the `PATH` everything is kept that the user has the right to set. Without it, extended attributes and
 * ACLs are not, times are exact to the microsecond, and special files fail with `Unimplemented`.
 */
export const copyTree = (from: string, to: string): Effect.Effect<void, ContainerdError> =>
  Effect.flatMap(hasGnuCp, (gnu) => Effect.asVoid(gnu ? copyWithCp(from, to) : copyWithNode(from, to)))

/** For the tests of what happens without GNU `cp`. */
export { copyWithNode }
