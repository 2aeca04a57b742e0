/** Random changes of a tree, made by the programs that people use: the same seed makes the same. */
import { execFileSync } from "node:child_process"
import * as Fs from "node:fs"
import type * as RandomTrees from "../layer/RandomTrees.ts"
import * as Tars from "../layer/Tars.ts"
import * as Trees from "../layer/Trees.ts"
import * as Cache from "../support/Cache.ts"
import * as RandomImage from "./RandomImage.ts"

/** A character for each byte, as everywhere here. */
const raw = (text: string) => Buffer.from(text, "latin1")
const quote = (path: string) => `'${path.replaceAll("'", "'\\''")}'`

interface View {
  readonly is: RandomTrees.Random
  readonly root: string
  /** Below the root; "" is the root's. */
  readonly paths: ReadonlyArray<string>
  readonly stats: (path: string) => Fs.Stats
  /** One of them, for a shell. None when there is no such thing. */
  readonly one: (matches: (stats: Fs.Stats, path: string) => boolean) => string | undefined
  /** A path that is not taken, for a shell. */
  readonly fresh: () => string
}

const names = [
  ...[
    "new",
    "a",
    "b",
    "caf\xc3\xa9",
    "\xff\xfe",
    "new\nline",
    " ",
    "-rf",
    "*",
    "it's",
    'quo"te',
    "back\\slash",
    "tab\t"
  ],
  ...[
    "equals=",
    "%25",
    "\x01\x7f",
    "wh",
    ".hidden",
    `n${"o".repeat(254)}`,
    `l${"g".repeat(110)}`,
    "\xe6\x96\x87".repeat(40)
  ]
]

const all = (root: Buffer, below = ""): ReadonlyArray<string> =>
  Fs.readdirSync(Tars.bytes(root, raw(below)), { withFileTypes: true, encoding: "buffer" }).flatMap((found) => {
    const path = `${below}/${found.name.toString("latin1")}`
    return found.isDirectory() ? [path, ...all(root, path)] : [path]
  })

/**
 * What Docker puts between image and container. The image has no such names, and for the deletion of one containerd
 * makes a name in the unpacked image that nobody can read.
 */
const isDocker = (path: string) => /^\/(?:dev|etc|proc|sys|\.dockerenv)(?:\/|$)/.test(path)

const view = (is: RandomTrees.Random, root: string): View => {
  const paths = ["", ...all(Buffer.from(root)).toSorted()].filter((path) => !isDocker(path))
  const stats = (path: string) => Fs.lstatSync(Tars.bytes(root, raw(path)))
  const shown = (path: string) => quote(`.${path}`)
  const directories = paths.filter((path) => path.length < 1500 && stats(path).isDirectory())
  const fresh = (): string => {
    const path = `${is.pick(directories)}/${is.pick(names)}`
    return paths.includes(path) ? fresh() : shown(path)
  }
  return {
    ...{ is, root, paths, stats, fresh },
    one: (matches) => {
      const found = paths.filter((path) => matches(stats(path), path))
      return found.length === 0 ? undefined : shown(is.pick(found))
    }
  }
}

const anything = () => true
const notRoot = (_: Fs.Stats, path: string) => path !== ""
const isFile = (stats: Fs.Stats) => stats.isFile()
const hasContent = (stats: Fs.Stats) => stats.isFile() && stats.size > 0
const isDirectory = (stats: Fs.Stats) => stats.isDirectory()
const isInner = (stats: Fs.Stats, path: string) => stats.isDirectory() && path !== ""
const noDirectory = (stats: Fs.Stats) => !stats.isDirectory()
const noSymlink = (stats: Fs.Stats) => !stats.isSymbolicLink()
const isLinked = (stats: Fs.Stats) => stats.isFile() && stats.nlink > 1

type Kind = (view: View) => string | undefined

/** On what matches, if there is any. */
const on =
  (matches: Parameters<View["one"]>[0], script: (path: string, view: View) => string): Kind =>
  (view) => {
    const path = view.one(matches)
    return path === undefined ? undefined : script(path, view)
  }

const at =
  (script: (path: string, view: View) => string): Kind =>
  (view) =>
    script(view.fresh(), view)

const content = (is: RandomTrees.Random) => `head -c ${is.int(3000)} /dev/zero | tr '\\0' ${is.pick(["y", "z"])}`
const time = (is: RandomTrees.Random) =>
  `@${is.pick([1, 1_500_000_000, 5_000_000_000])}.${String(is.int(1_000_000_000)).padStart(9, "0")}`

/** Something new, of any type. */
const something = (path: string, { is }: View): string =>
  is.pick([
    `${content(is)} > ${path}`,
    `: > ${path}`,
    `mkdir ${path}`,
    `mkdir ${path} && echo in > ${path}/in && ln ${path}/in ${path}/in2`,
    `ln -s ${is.pick(["nowhere", "/", "..", "'\xff \n'", "x".repeat(200)])} ${path}`,
    `mkfifo -m 640 ${path}`,
    `mknod ${path} c ${1 + is.int(300)} ${is.int(100_000)}`,
    `mknod ${path} b ${1 + is.int(300)} ${is.int(300)}`
  ])

const attribute = (path: string, { is }: View): string =>
  `setfattr -h -n ${is.pick(["user.a", "user.file", "user.dir", "'user.b c%25'"])} -v 0x${is.pick(["", "00ff0a", "3d"])} -- ${path}`

const capability = `0x${Tars.capabilities[2].toString("hex")}`
const rules = `0x${Trees.acl([1, 6], [2, 4, 1000], [4, 4], [0x10, 4], [0x20, 4]).toString("hex")}`

/** What restores the time of a file. `$REF` is a file outside of the tree. */
const under = (path: string, script: string) => `touch -r ${path} "$REF"; ${script}; touch -r "$REF" ${path}`

const placeTree = ({ is, root }: View): string => {
  const name = `tree-${is.int(1000)}`
  if (!Fs.existsSync(`${root}/${name}`)) Trees.place(`${root}/${name}`, ...RandomImage.tree(is, 2 + is.int(10)))
  return `: random tree at ${name}`
}

const kinds: Readonly<Record<string, Kind>> = {
  make: at(something),
  makeMore: at(something),
  tree: placeTree,
  longPath: at(
    (path) => `mkdir ${path} && cd ${path} && mkdir -p ${`${"p".repeat(240)}/`.repeat(3)} && cd p*/p*/p* && echo 1 > f`
  ),
  sparse: at((path) => `truncate -s 400k ${path}; printf x | dd of=${path} bs=1 seek=200000 conv=notrunc status=none`),
  overwrite: on(isFile, (path, { is }) => `${content(is)} > ${path}`),
  append: on(isFile, (path) => `printf more >> ${path}`),
  truncate: on(hasContent, (path, { is }) => `truncate -s ${is.int(3000)} ${path}`),
  /** Other content of the same size under the same time. */
  hidden: on(hasContent, (path) =>
    under(path, `s=$(stat -c %s ${path}); head -c $s /dev/zero | tr '\\0' h | dd of=${path} conv=notrunc status=none`)
  ),
  /** The same content, written again. */
  rewrite: on(isFile, (path) => under(path, `cat ${path} > "$REF.c"; cat "$REF.c" > ${path}`)),
  /** Copied up, and nothing else. */
  copyUp: on(noSymlink, (path) => `m=$(stat -c %a ${path}); chmod 0 ${path}; chmod $m ${path}`),
  remove: on(notRoot, (path) => `rm -rf -- ${path}`),
  removeMore: on(notRoot, (path) => `rm -rf -- ${path}`),
  clear: on(
    isInner,
    (path, { is }) => `rm -rf ${path}; mkdir ${path}${is.chance(0.5) ? `; echo new > ${path}/1` : ""}`
  ),
  replace: on(notRoot, (path, view) => `rm -rf -- ${path}; ${something(path, view)}`),
  rename: on(notRoot, (path, { fresh }) => `mv -T ${path} ${fresh()} || :`),
  renameOver: on(noDirectory, (path, { one }) => `mv -fT ${path} ${one(noDirectory) ?? path} || :`),
  renameDirectory: on(isInner, (path, { fresh }) => `mv -T ${path} ${fresh()} || :`),
  chmod: on(noSymlink, (path, { is }) => `chmod ${is.pick(["755", "700", "2755", "4711", "1777", "0"])} ${path}`),
  chown: on(
    anything,
    (path, { is }) => `chown -h ${is.pick([0, 1, 1000, 3_000_000])}:${is.pick([0, 5, 70_000])} ${path}`
  ),
  touch: on(anything, (path, { is }) => `touch -h -d ${time(is)} ${path}`),
  touchOld: on(noDirectory, (path, { is }) => `touch -h -d @-${1 + is.int(100_000_000)}.25 ${path}`),
  /** Within the second. */
  touchNanoseconds: on(
    isFile,
    (path, { is }) => `touch -d @$(stat -c %Y ${path}).${100_000_000 + is.int(800_000_000)} ${path}`
  ),
  link: on(noDirectory, (path, { fresh }) => `ln -P ${path} ${fresh()}`),
  linkOver: on(isFile, (path, { one }) => `ln -fP ${path} ${one(isFile) ?? path} || :`),
  unlink: on(
    isLinked,
    (path) => `cp -a ${path} ${path.replace(/'$/, ".c'")} && mv -f ${path.replace(/'$/, ".c'")} ${path} || :`
  ),
  attribute: on((stats) => stats.isFile() || stats.isDirectory(), attribute),
  attributeFile: on(isFile, attribute),
  trusted: on(anything, (path) => `setfattr -h -n trusted.t -v 0x01 -- ${path}`),
  noAttribute: on(noSymlink, (path) =>
    [
      `n=$(getfattr -m '^user' --absolute-names -- ${path} 2> /dev/null | sed -n 2p)`,
      `if [ -n "$n" ]; then setfattr -x "$(printf "$n")" -- ${path} || :; fi`
    ].join("\n")
  ),
  /** Of a directory of every image. */
  noDirectoryAttribute: () => `setfattr -x user.dir ./attributes 2> /dev/null || :`,
  capability: on(isFile, (path) => `setfattr -n security.capability -v ${capability} -- ${path}`),
  acl: on(isFile, (path) => `setfattr -n system.posix_acl_access -v ${rules} -- ${path}`),
  defaultAcl: on(isDirectory, (path) => `setfattr -n system.posix_acl_default -v ${rules} -- ${path}`),
  equals: on(isFile, (path) => `setfattr -n user.a=b -v 0x31 -- ${path}`),
  /** In the root, which is there in all layers: containerd's unpacking of it elsewhere gives names that nobody can read. */
  whiteoutName: ({ is }) => `: > ./.wh.${is.pick(["gone", "zeros", "to-directory"])}`
}

/** Rare, for a layer cannot say them, and what is reported is not compared. */
const rare = new Set(["equals", "whiteoutName", "noAttribute", "noDirectoryAttribute"])

const pickKind = (is: RandomTrees.Random): readonly [string, Kind] => {
  const [name, kind] = is.pick(Object.entries(kinds))
  return rare.has(name) && is.chance(0.6) ? pickKind(is) : [name, kind]
}

const run = (root: string, reference: string, script: string): void => {
  execFileSync("sh", ["-e"], {
    cwd: root,
    input: raw(script),
    env: { ...process.env, PATH: Cache.path(["attr"]), LC_ALL: "C", REF: reference },
    stdio: ["pipe", "pipe", "pipe"]
  })
}

/** Makes changes, and gives what it did. `reference` is the path of a file for its own use, outside of the tree. */
export const make = (is: RandomTrees.Random, root: string, reference: string, count: number): ReadonlyArray<string> =>
  Array.from({ length: count }, () => {
    const [name, kind] = pickKind(is)
    const script = kind(view(is, root))
    if (script !== undefined) run(root, reference, script)
    return `${name}: ${script ?? "nothing to do it on"}`
  })
