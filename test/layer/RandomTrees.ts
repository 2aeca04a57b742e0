/** Random trees and random changes of them: the same seed gives the same. */
import * as Fs from "node:fs"
import * as Tars from "./Tars.ts"
import * as Trees from "./Trees.ts"

const { bytes, header } = Tars

export interface Random {
  /** From 0 on, below `count`. */
  readonly int: (count: number) => number
  readonly pick: <A>(all: ReadonlyArray<A>) => A
  readonly chance: (part: number) => boolean
}

/** mulberry32 */
export const random = (seed: number): Random => {
  let state = seed
  const next = () => {
    state = (state + 0x6d2b79f5) | 0
    let value = Math.imul(state ^ (state >>> 15), 1 | state)
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value
    return ((value ^ (value >>> 14)) >>> 0) / 2 ** 32
  }
  const int = (count: number) => Math.floor(next() * count)
  const pick = <A>(all: ReadonlyArray<A>): A => {
    const one = all[int(all.length)]
    if (one === undefined) throw new Error("nothing to pick from")
    return one
  }
  return { int, pick, chance: (part) => next() < part }
}

/** A character for each byte, as everywhere here. */
const names = [
  "a",
  "b",
  "c",
  "d",
  "a-b",
  "a.b",
  "\xff\x80",
  "\xc3\xbc",
  "new\nline",
  " ",
  "-x",
  "*",
  `long${"g".repeat(120)}`
]

const raw = (path: string) => Buffer.from(path, "latin1")
const ids = Trees.isRoot ? [0, 0, 1, 1000, 3_000_000] : [0]

const list = Trees.acl([1, 6], [2, 4, 1000], [4, 4], [0x10, 4], [0x20, 4])

const xattrs = (is: Random, type: string): ReadonlyArray<readonly [string, Uint8Array]> => [
  ...(/[05]/.test(type) && is.chance(0.2) ? [["user.a", bytes([0, is.int(256), 10])] as const] : []),
  ...(/[05]/.test(type) && is.chance(0.1) ? [["user.%25 b", bytes("%")] as const] : []),
  ...(type === "0" && is.chance(0.1) ? [["system.posix_acl_access", list] as const] : []),
  ...(Trees.isRoot && is.chance(0.1) ? [["trusted.t", bytes("t")] as const] : []),
  ...(Trees.isRoot && type === "0" && is.chance(0.1) ? [["security.capability", Tars.capabilities[2]] as const] : [])
]

const entry = (is: Random, path: string, type: string, files: ReadonlyArray<string>): Buffer => {
  const special = /[346]/.test(type)
  const content = type === "0" ? bytes("x".repeat(is.int(2000))) : bytes()
  const attributes = type === "1" ? [] : xattrs(is, type)
  const hasList = attributes.some(([name]) => name.startsWith("system."))
  const records = [
    Tars.paxRecord("path", raw(path)),
    Tars.paxRecord("mtime", `${1_600_000_000 + is.int(1000)}.${String(is.int(1_000_000_000)).padStart(9, "0")}`),
    ...attributes.map(([name, value]) => Tars.paxRecord(`SCHILY.xattr.${name}`, value)),
    ...(type === "1" ? [Tars.paxRecord("linkpath", raw(is.pick(files)))] : []),
    ...(type === "2" ? [Tars.paxRecord("linkpath", is.pick(["/etc/passwd", "../..", "a", "\xff"]))] : [])
  ]
  const block = header({
    ...{ type, size: content.length, dialect: "pax", name: "x", uid: is.pick(ids), gid: is.pick(ids) },
    // A list of access rules has a mode of its own.
    // GNU tar cannot set attributes on what is read-only for an ordinary user.
    mode:
      hasList || (!Trees.isRoot && attributes.length > 0)
        ? 0o644 | (type === "5" ? 0o111 : 0)
        : is.pick(type === "5" ? [0o755, 0o700, 0o1777] : [0o644, 0o600, 0o4755, 0o444])
  })
  if (type === "3" || type === "4") block.set(bytes(`000000${is.int(8)}\x00000000${is.int(8)}\x00`), 329)
  return bytes(Tars.paxHeader(bytes(...records)), Tars.sealed(block), special ? bytes() : Tars.padded(content))
}

const types = ["0", "0", "0", "0", "5", "5", "2", "1", "6", ...(Trees.isRoot ? ["3", "4"] : [])]

/** The entries of a tree, parents first. */
export const entries = (is: Random, count: number): ReadonlyArray<Uint8Array> => {
  const directories = [""]
  const taken = new Set<string>()
  const files: Array<string> = []
  return Array.from({ length: count }, () => {
    const path = `${is.pick(directories)}${is.pick(names)}`
    const type = is.pick(types)
    if (taken.has(path) || (type === "1" && files.length === 0)) return bytes()
    taken.add(path)
    if (type === "5" && path.length < 600) directories.push(`${path}/`)
    if (type !== "5") files.push(path)
    return entry(is, path, type, files.slice(0, -1).length > 0 ? files.slice(0, -1) : files)
  })
}

const all = (root: Buffer, below = ""): ReadonlyArray<string> =>
  Fs.readdirSync(bytes(root, raw(below)), { withFileTypes: true, encoding: "buffer" }).flatMap((found) => {
    const path = `${below}/${found.name.toString("latin1")}`
    return found.isDirectory() ? [path, ...all(root, path)] : [path]
  })

const change = (is: Random, root: Buffer, base: string): void => {
  const paths = ["", ...all(root)]
  const at = (path: string) => bytes(root, raw(path))
  const path = is.pick(paths)
  const stats = Fs.lstatSync(at(path))
  const isOpen = stats.isFile() && (Trees.isRoot || (stats.mode & 0o200) !== 0)
  const directories = paths.filter((one) => Fs.lstatSync(at(one)).isDirectory())
  const fresh = `${is.pick(directories)}/${is.pick(names)}`
  const free = !paths.includes(fresh) && fresh.length < 1500
  const kind = is.int(10)
  if (kind < 2 && path !== "") Fs.rmSync(at(path), { recursive: true })
  else if (kind === 2 && isOpen) Fs.writeFileSync(at(path), "y".repeat(is.int(3000)))
  else if (kind === 3 && isOpen) {
    // Other content of the same size under the same time.
    Fs.writeFileSync(at(path), Buffer.alloc(stats.size, "z"))
    Fs.lutimesSync(at(path), stats.atime, stats.mtime)
  } else if (kind === 4 && !stats.isSymbolicLink()) Fs.chmodSync(at(path), is.pick([0o755, 0o700, 0o2755]))
  else if (kind === 5 && Trees.isRoot) Fs.lchownSync(at(path), is.pick(ids), is.pick(ids))
  else if (kind === 6 && free && !stats.isDirectory()) Fs.linkSync(at(path), at(fresh))
  else if (kind === 7 && free && path !== "" && !`${fresh}/`.startsWith(`${path}/`)) Fs.renameSync(at(path), at(fresh))
  else if (kind === 8) Fs.lutimesSync(at(path), is.int(10_000), is.int(10_000))
  else if (free) {
    const type = is.pick(types.filter((one) => one !== "1"))
    Trees.place(base, entry(is, fresh.slice(1), type, []))
  }
}

/** Changes a tree in place. */
export const mutate = (is: Random, root: string, count: number): void => {
  for (let i = 0; i < count; i++) change(is, Buffer.from(root), root)
}
