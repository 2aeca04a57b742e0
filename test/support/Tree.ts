import { createHash, randomUUID } from "node:crypto"
import { type BigIntStats, lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync } from "node:fs"
import { join } from "node:path"
import { Effect, type Scope } from "effect"
import * as Cache from "./Cache.ts"
import type { RunningContainerd } from "./Containerd.ts"
import { DaemonError, run } from "./Process.ts"

/** One thing of a file tree, as a value that tests can compare. */
export interface TreeEntry {
  /** From "/". A byte that is not UTF-8 reads `\xff`. */
  readonly path: string
  readonly type: "file" | "directory" | "symlink" | "fifo" | "socket" | "character-device" | "block-device"
  /** Without the bits of the type. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly mtime?: string
  /** Of a file, as its digest. */
  readonly size?: number
  readonly sha256?: string
  /** Of a symlink. */
  readonly target?: string
  /** Of a device: major:minor. */
  readonly device?: string
  /** Of a hard link: the first path of the same inode. */
  readonly sameAs?: string
  /** Names with their values in hex. */
  readonly xattrs?: Readonly<Record<string, string>>
}

export interface Options {
  /** Default: seconds. */
  readonly mtime?: "nanoseconds" | "seconds" | "none" | undefined
  /** Default: true. Where a tree is made again, directories may get their times from what is written into them. */
  readonly directoryMtime?: boolean | undefined
}

export interface SnapshotRef {
  readonly snapshotter: string
  /** The key of an active snapshot or of a view, or the name of a committed one. */
  readonly key: string
  readonly namespace?: string | undefined
}

/** Lossless: two names never read the same. */
const printable = (bytes: Buffer): string => {
  const text = bytes.toString("utf8")
  const isUtf8 = Buffer.from(text, "utf8").equals(bytes)
  return isUtf8 && !text.includes("\\x") ? text : bytes.toString("latin1").replace(/[\x80-\xff]|\\(?=x)/g, escaped)
}

const escaped = (char: string): string => `\\x${char.charCodeAt(0).toString(16)}`

const typeOf = (stats: BigIntStats): TreeEntry["type"] => {
  if (stats.isFile()) return "file"
  if (stats.isDirectory()) return "directory"
  if (stats.isSymbolicLink()) return "symlink"
  if (stats.isFIFO()) return "fifo"
  if (stats.isCharacterDevice()) return "character-device"
  return stats.isBlockDevice() ? "block-device" : "socket"
}

/** The kernel's encoding of a device number. */
const device = (rdev: bigint): string =>
  `${((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & ~0xfffn)}:${(rdev & 0xffn) | ((rdev >> 12n) & ~0xffn)}`

const mtimeOf = (stats: BigIntStats, { mtime = "seconds", directoryMtime = true }: Options): string | undefined => {
  if (mtime === "none" || (!directoryMtime && stats.isDirectory())) return undefined
  const [seconds, nanos] = [stats.mtimeNs / 1_000_000_000n, stats.mtimeNs % 1_000_000_000n]
  return mtime === "seconds" ? `${seconds}` : `${seconds}.${String(nanos).padStart(9, "0")}`
}

/** Every path below a directory and the directory itself as "", in the order of their bytes. */
const paths = (root: Buffer, below = Buffer.alloc(0)): ReadonlyArray<Buffer> => {
  const here = Buffer.concat([root, below])
  const names = readdirSync(here, { withFileTypes: true, encoding: "buffer" })
  names.sort((a, b) => Buffer.compare(a.name, b.name))
  return names.reduce<Array<Buffer>>(
    (all, entry) => {
      const path = Buffer.concat([below, Buffer.from("/"), entry.name])
      return all.concat(entry.isDirectory() ? paths(root, path) : [path])
    },
    [below]
  )
}

type Xattrs = ReadonlyMap<string, Readonly<Record<string, string>>>

/** Paths as latin1, for they are any bytes. */
const readXattrs = (root: string): Effect.Effect<Xattrs, DaemonError> =>
  run(Cache.program("attr", "getfattr"), [
    ...["--recursive", "--physical", "--no-dereference", "--absolute-names"],
    ...["--dump", "--match=-", "--encoding=hex", root]
  ]).pipe(
    Effect.map((output) => {
      const found = new Map<string, Readonly<Record<string, string>>>()
      for (const block of output.split("\n\n").filter((text) => text.startsWith("# file: "))) {
        const [header = "", ...lines] = block.split("\n").filter((line) => line !== "")
        const octal = header.replace("# file: ", "").slice(root.length)
        const path = octal.replace(/\\([0-7]{3})/g, (_, digits) => String.fromCharCode(Number.parseInt(digits, 8)))
        found.set(path, Object.fromEntries(lines.map((line) => splitAt(line, "="))))
      }
      return found
    })
  )

const splitAt = (line: string, separator: string): readonly [string, string] => {
  const index = line.indexOf(separator)
  return index < 0 ? [line, ""] : [line.slice(0, index), line.slice(index + 1)]
}

const walk = (root: string, xattrs: Xattrs, options: Options): ReadonlyArray<TreeEntry> => {
  const firstOfInode = new Map<string, string>()
  return paths(Buffer.from(root)).map((below): TreeEntry => {
    const full = Buffer.concat([Buffer.from(root), below])
    const stats = lstatSync(full, { bigint: true })
    const [type, path, mtime] = [typeOf(stats), printable(below) || "/", mtimeOf(stats, options)]
    const inode = `${stats.dev}:${stats.ino}`
    const first = type === "directory" ? undefined : firstOfInode.get(inode)
    if (first === undefined) firstOfInode.set(inode, path)
    const attributes = xattrs.get(below.toString("latin1"))
    return {
      path,
      type,
      mode: Number(stats.mode & 0o7777n),
      uid: Number(stats.uid),
      gid: Number(stats.gid),
      ...(mtime === undefined ? {} : { mtime }),
      ...(type === "file" ? { size: Number(stats.size), sha256: sha256(readFileSync(full)) } : {}),
      ...(type === "symlink" ? { target: printable(readlinkSync(full, "buffer")) } : {}),
      ...(type.endsWith("-device") ? { device: device(stats.rdev) } : {}),
      ...(first === undefined ? {} : { sameAs: first }),
      ...(attributes === undefined ? {} : { xattrs: attributes })
    }
  })
}

const sha256 = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex")

/** The tree below a directory of this machine. */
export const ofDirectory = (
  root: string,
  options: Options = {}
): Effect.Effect<ReadonlyArray<TreeEntry>, DaemonError> =>
  Effect.flatMap(readXattrs(root), (xattrs) =>
    Effect.try({
      try: () => walk(root, xattrs, options),
      catch: (error) => new DaemonError({ command: `walk ${root}`, detail: String(error) })
    })
  )

/** `mount -t TYPE SOURCE TARGET -o OPTIONS`, as ctr prints it. */
const parseMount = (command: string) => {
  const [, , type = "", source = "", , , options = ""] = command.trim().split(" ")
  return { type, source, options: options.split(",") }
}

/**
 * Never the container's own mount a second time: an upper directory that is mounted twice is undefined behaviour.
 * As the topmost of read-only layers it shows the same tree.
 */
const readOnly = (command: string): ReadonlyArray<string> => {
  const { type, source, options } = parseMount(command)
  if (type !== "overlay") return ["--options", "bind,ro", source]
  const value = (name: string) => options.find((option) => option.startsWith(`${name}=`))?.slice(name.length + 1)
  const layers = [value("upperdir"), value("lowerdir")].filter((layer) => layer !== undefined).join(":")
  const kept = options.filter((option) => ["userxattr", "metacopy=on", "redirect_dir=on"].includes(option))
  return ["-t", "overlay", "overlay", "--options", ["ro", "index=off", ...kept, `lowerdir=${layers}`].join(",")]
}

const unmount = (target: string): Effect.Effect<void> =>
  Effect.ignoreCause(run("umount", [target]), { log: "Warn", message: `cleanup failed: ${target}` })

/** A key of which there are mounts: a committed snapshot has none, so it lends a view. */
const mountable = (
  containerd: RunningContainerd,
  { snapshotter, key, namespace }: SnapshotRef
): Effect.Effect<string, DaemonError, Scope.Scope> =>
  Effect.gen(function* () {
    const snapshots = (...args: ReadonlyArray<string>) =>
      containerd.ctr(["snapshots", "--snapshotter", snapshotter, ...args], { namespace })
    const info = yield* snapshots("info", key)
    if (!/"Kind": "Committed"/.test(info)) return key
    const view = `tree-${randomUUID()}`
    yield* Effect.acquireRelease(snapshots("view", view, key), () => Effect.ignoreCause(snapshots("rm", view)))
    return view
  })

/** Mounts any snapshot read-only, for as long as the scope is open, and gives the directory. */
export const mount = (
  containerd: RunningContainerd,
  ref: SnapshotRef
): Effect.Effect<string, DaemonError, Scope.Scope> =>
  Effect.gen(function* () {
    const target = join(containerd.directory, `tree-${randomUUID()}`)
    // ctr has no lease for a view, so a collection may take it away before it is mounted.
    const commands = yield* mountable(containerd, ref).pipe(
      Effect.flatMap((key) =>
        containerd.ctr(["snapshots", "--snapshotter", ref.snapshotter, "mounts", target, key], {
          namespace: ref.namespace
        })
      ),
      Effect.retry({ times: 5 })
    )
    mkdirSync(target)
    for (const command of commands.trim().split("\n")) {
      yield* Effect.acquireRelease(run("mount", [...readOnly(command), target]), () => unmount(target))
    }
    return target
  })

/** The tree of any snapshot, ids as the host has them. */
export const ofSnapshot = (
  containerd: RunningContainerd,
  ref: SnapshotRef,
  options: Options = {}
): Effect.Effect<ReadonlyArray<TreeEntry>, DaemonError> =>
  Effect.scoped(Effect.flatMap(mount(containerd, ref), (root) => ofDirectory(root, options)))
