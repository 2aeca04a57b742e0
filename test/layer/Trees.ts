/** Trees of files for tests: made by GNU tar or by Node, read without any code of the sources. */
import { execFileSync } from "node:child_process"
import { createHash } from "node:crypto"
import * as Fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import * as Tars from "./Tars.ts"

export const isRoot = process.geteuid?.() === 0

const isGnu = () => {
  try {
    return execFileSync("tar", ["--version"], { encoding: "utf8" }).includes("GNU tar")
  } catch {
    return false
  }
}
export const hasGnuTar = isGnu()

const remove = (path: string) => {
  execFileSync("chmod", ["-R", "u+rwX", path])
  Fs.rmSync(path, { recursive: true, force: true })
}

/** A directory that goes with the test. */
export const temporary = Effect.acquireRelease(
  Effect.sync(() => Fs.mkdtempSync(join(tmpdir(), "effect-containerd-layer-"))),
  (path) => Effect.sync(() => remove(path))
)

/** Extracts by GNU tar itself, below a directory that is made when it is missing. */
export const place = (root: string, ...entries: ReadonlyArray<Uint8Array>): string => {
  Fs.mkdirSync(root, { recursive: true })
  const args = ["-x", "-p", "-P", "-C", root, "--numeric-owner", "--xattrs", "--xattrs-include=*"]
  execFileSync("tar", [...args, "--delay-directory-restore", "--warning=no-timestamp"], {
    input: Tars.bytes(...entries, Tars.end)
  })
  return root
}

/** As snapshots are copied. */
export const copy = (from: string, to: string): string => {
  execFileSync("cp", ["-a", "--", `${from}/.`, to])
  return to
}

export const time = 1_700_000_000

export const directory = (name: string | Uint8Array, fields: Tars.Fields = {}): Buffer =>
  Tars.header({ name, type: "5", mode: 0o755, mtime: time, ...fields })

export const regular = (
  name: string | Uint8Array,
  content: string | Uint8Array = "",
  fields: Tars.Fields = {}
): Buffer => Tars.file({ name, mtime: time, ...fields }, content)

export const symlink = (name: string, link: string): Buffer =>
  Tars.header({ name, type: "2", link, mode: 0o777, mtime: time })

export const hardLink = (name: string, link: string): Buffer => Tars.header({ name, type: "1", link, mtime: time })

export const whiteout = (name: string): Buffer => Tars.header({ name, mode: 0, mtime: 0 })

/** The entry with pax records before it: `name` to value. */
export const withPax = (records: Readonly<Record<string, string | Uint8Array>>, entry: Uint8Array): Buffer =>
  Tars.bytes(
    Tars.paxHeader(Tars.bytes(...Object.entries(records).map(([key, value]) => Tars.paxRecord(key, value)))),
    entry
  )

/** A list of the kernel's form: `[tag, permissions, id]`. */
export const acl = (...entries: ReadonlyArray<readonly [tag: number, permissions: number, id?: number]>): Buffer => {
  const list = Buffer.alloc(4 + 8 * entries.length)
  list.writeUInt32LE(2, 0)
  entries.forEach(([tag, permissions, id = 0xffff_ffff], index) => {
    list.writeUInt16LE(tag, 4 + 8 * index)
    list.writeUInt16LE(permissions, 6 + 8 * index)
    list.writeUInt32LE(id, 8 + 8 * index)
  })
  return list
}

export interface Node {
  readonly type: string
  readonly mode: string
  readonly owner: string
  readonly size: number
  /** Nanoseconds. */
  readonly mtime: string
  readonly content: string
  readonly device: string
  /** Other names of the same file. */
  readonly links: string
  readonly xattrs: string
}

export type Tree = Readonly<Record<string, Node>>

const paths = (root: Buffer, below: string): ReadonlyArray<string> =>
  Fs.readdirSync(full(root, below), { withFileTypes: true, encoding: "buffer" }).flatMap((entry) => {
    const path = `${below}/${entry.name.toString("latin1")}`
    return entry.isDirectory() ? [path, ...paths(root, path)] : [path]
  })

const full = (root: Buffer, path: string) => Tars.bytes(root, Buffer.from(path, "latin1"))

/** By path, as GNU tar prints them into an archive. */
const xattrsOf = (root: string): ReadonlyMap<string, string> => {
  const args = ["-c", "-C", root, "--format=pax", "--xattrs", "--xattrs-include=*", "--hard-dereference"]
  const options = ["--warning=no-file-ignored", "--warning=no-file-changed", "."]
  const tar = execFileSync("tar", [...args, ...options], { maxBuffer: 2 ** 30, stdio: ["ignore", "pipe", "ignore"] })
  return new Map(
    Tars.decode(tar).map(({ path, records }) => [
      path.replace(/^\.?\//, "/").replace(/\/$/, "") || "/",
      records
        .filter((record) => record.startsWith("SCHILY.xattr"))
        .toSorted()
        .join("; ")
    ])
  )
}

const contentOf = (path: Buffer, stats: Fs.BigIntStats): string => {
  if (stats.isSymbolicLink()) return Fs.readlinkSync(path, { encoding: "buffer" }).toString("latin1")
  if (!stats.isFile()) return ""
  return createHash("sha256").update(Fs.readFileSync(path)).digest("hex")
}

/** Everything below a directory, and the directory itself as "/". Paths have a character for each byte. */
export const read = (root: string): Tree => {
  const base = Buffer.from(root)
  const xattrs = hasGnuTar ? xattrsOf(root) : new Map<string, string>()
  const found = ["/", ...paths(base, "")].map((path) => {
    return [path, Fs.lstatSync(full(base, path), { bigint: true })] as const
  })
  const names = new Map<bigint, Array<string>>()
  for (const [path, { ino }] of found) names.set(ino, [...(names.get(ino) ?? []), path])
  return Object.fromEntries(
    found.map(([path, stats]) => [
      path,
      {
        type: (stats.mode >> 12n).toString(8),
        mode: (stats.mode & 0o7777n).toString(8),
        owner: `${stats.uid}:${stats.gid}`,
        size: stats.isFile() ? Number(stats.size) : 0,
        mtime: `${stats.mtimeNs}`,
        content: contentOf(full(base, path), stats),
        device: `${stats.rdev}`,
        links: (names.get(stats.ino) ?? []).toSorted().join(" "),
        xattrs: xattrs.get(path) ?? ""
      }
    ])
  )
}

/** Some of what there is to know of each path. */
export const pick = <K extends keyof Node>(tree: Tree, ...keys: ReadonlyArray<K>) =>
  Object.fromEntries(
    Object.entries(tree).map(([path, node]) => [path, Object.fromEntries(keys.map((key) => [key, node[key]]))])
  )

/** Processes that were started for that directory. */
export const processesFor = (directory: string): ReadonlyArray<string> =>
  Fs.readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .map((name) => {
      try {
        return Fs.readFileSync(`/proc/${name}/cmdline`, "utf8")
      } catch {
        return ""
      }
    })
    .filter((command) => command.includes(directory))

/** The time of the file system's clock, in nanoseconds. */
export const now = (base: string): bigint => {
  const path = join(base, ".clock")
  Fs.writeFileSync(path, "")
  const { ctimeNs } = Fs.statSync(path, { bigint: true })
  Fs.rmSync(path)
  return ctimeNs
}

/** A file that is one hole. */
export const sparse = (path: string, size: number): void => {
  Fs.writeFileSync(path, "")
  Fs.truncateSync(path, size)
}
