/** Trees with everything that a layer has a form for, and changes of everything. */
import * as Fs from "node:fs"
import { join } from "node:path"
import * as Tars from "../layer/Tars.ts"
import * as Trees from "../layer/Trees.ts"

const { bytes } = Tars
const { directory, hardLink, place, regular, symlink, withPax } = Trees

/** Bytes that are no UTF-8, control characters, and the longest name that there is. */
export const oddNames: ReadonlyArray<Uint8Array> = [
  bytes([0xff, 0xfe, 0x80]),
  bytes("new\nline\ttab"),
  bytes("-rf *"),
  bytes("\\x41 \\101"),
  bytes("ü 文件"),
  bytes("n".repeat(255)),
  bytes([...Array.from({ length: 254 }, () => 0xc3), 0x28])
]

/** `name` with whatever bytes, in a pax record, with a time to the nanosecond. */
const named = (name: Uint8Array, time: string, entry: Uint8Array) => withPax({ path: name, mtime: time }, entry)

const below = (parent: string, name: Uint8Array) => bytes(parent, "/", name)

const access = Trees.acl([1, 6], [2, 4, 1000], [4, 4], [0x10, 6], [0x20, 4])
const inherited = Trees.acl([1, 7], [2, 7, 1000], [4, 5], [0x10, 7], [0x20, 5])
const posixAcl = "SCHILY.xattr.system.posix_acl"

/** What any user may make. Its names begin with the prefix. */
const plain = (prefix: string): ReadonlyArray<Uint8Array> => [
  directory(prefix),
  named(bytes(`${prefix}/exact`), "1600000000.123456789", regular("x", "exact")),
  named(bytes(`${prefix}/old`), "-1.5", regular("x", "before 1970")),
  regular(`${prefix}/setuid`, "u", { mode: 0o4755 }),
  regular(`${prefix}/setgid`, "g", { mode: 0o2755 }),
  directory(`${prefix}/sticky`, { mode: 0o1777 }),
  regular(`${prefix}/closed`, "c", { mode: 0o400 }),
  regular(`${prefix}/one`, "linked"),
  hardLink(`${prefix}/two`, `${prefix}/one`),
  directory(`${prefix}/deep`, { mode: 0o750 }),
  hardLink(`${prefix}/deep/three`, `${prefix}/one`),
  symlink(`${prefix}/dangling`, "../nowhere"),
  hardLink(`${prefix}/deep/dangling too`, `${prefix}/dangling`),
  withPax({ linkpath: bytes([0xff], "/", "t".repeat(900)) }, symlink(`${prefix}/far`, "x")),
  Tars.header({ name: `${prefix}/fifo`, type: "6", mode: 0o620 }),
  withPax({ "SCHILY.xattr.user.a": bytes([0, 10, 255]) }, regular(`${prefix}/xattrs`, "x")),
  withPax({ "SCHILY.xattr.user.d": "1" }, directory(`${prefix}/xattrs.d`)),
  withPax({ [`${posixAcl}_access`]: access }, regular(`${prefix}/acl`, "a", { mode: 0o664 })),
  withPax({ [`${posixAcl}_default`]: inherited }, directory(`${prefix}/acl.d`)),
  directory(`${prefix}/names`),
  ...oddNames.map((name, i) => named(below(`${prefix}/names`, name), `17000000${i}.5`, regular("x", `name ${i}`))),
  named(below(`${prefix}/names`, bytes([0x80], "d")), "1700000100", directory("x"))
]

/** What needs root. */
const privileged = (prefix: string): ReadonlyArray<Uint8Array> => {
  const capability = { "SCHILY.xattr.security.capability": Tars.capabilities[2] }
  const device = (name: string, type: "3" | "4", numbers: string) => {
    const block = Tars.header({ name: `${prefix}/${name}`, type, mode: 0o640, uid: 0, gid: 6 })
    block.set(bytes(numbers), 329)
    return Tars.sealed(block)
  }
  return [
    regular(`${prefix}/owned`, "o", { uid: 1234, gid: 5678, mode: 0o6755 }),
    withPax({ uid: "4294967294", gid: "3000000", mtime: "1.000000001" }, regular(`${prefix}/far-owner`, "o")),
    regular(`${prefix}/nobody-reads`, "s", { uid: 1, mode: 0 }),
    directory(`${prefix}/nobody-enters`, { uid: 1, mode: 0 }),
    regular(`${prefix}/nobody-enters/inside`, "i", { uid: 2 }),
    device("character", "3", "0000001\x000000003\0"),
    device("block", "4", "0000007\x000000011\0"),
    // podman gives the device what its link says.
    Tars.header({
      ...{ name: `${prefix}/character too`, link: `${prefix}/character` },
      type: "1",
      mode: 0o640,
      gid: 6
    }),
    withPax(capability, regular(`${prefix}/capable`, "c", { mode: 0o755, uid: 5 })),
    withPax({ "SCHILY.xattr.trusted.t": "1" }, regular(`${prefix}/trusted`, "t"))
  ]
}

/** Of a tree that is to be the layer of an image, or that GNU tar makes. */
export const entries = (name: string): ReadonlyArray<Uint8Array> => [
  ...plain(name),
  ...(Trees.isRoot ? privileged(name) : [])
]

/** A file with data in front, in the middle and at the end, and holes between. */
const sparse = (path: string): void => {
  Trees.sparse(path, 8 * 1024 * 1024 + 1)
  const file = Fs.openSync(path, "r+")
  for (const position of [0, 4 * 1024 * 1024 + 17, 8 * 1024 * 1024]) Fs.writeSync(file, "!", position)
  Fs.closeSync(file)
}

/** Everything that this user may make, below `root`/`name`. */
export const add = (root: string, name: string): void => {
  // GNU tar alone takes this name for "user.%", so it is in no layer that others unpack.
  const percent = withPax({ "SCHILY.xattr.user.%25": "%" }, regular(`${name}/percent`, "%"))
  place(root, ...entries(name), percent)
  sparse(join(root, name, "sparse"))
  Fs.utimesSync(join(root, name), 1_500_000_000, 1_500_000_000)
}

/** A root file system. */
export const make = (root: string): string => {
  place(root, directory("./"), directory("etc"), regular("etc/name", "base\n"))
  add(root, "base")
  return root
}

/** Changes what `make` made: adds everything once more, and removes, replaces and edits. */
export const change = (root: string): void => {
  add(root, "new")
  Fs.rmSync(join(root, "base/deep"), { recursive: true })
  Fs.rmSync(join(root, "base/sticky"), { recursive: true })
  Fs.writeFileSync(join(root, "base/sticky"), "a file now")
  Fs.writeFileSync(join(root, "etc/name"), "changed\n")
  Fs.chmodSync(join(root, "etc"), 0o711)
  Fs.linkSync(join(root, "base/exact"), join(root, "new/exact too"))
}
