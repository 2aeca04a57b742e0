/** A small root file system that runs, made of what this machine has: no network, no root. */
import { spawnSync } from "node:child_process"
import {
  accessSync,
  chmodSync,
  constants,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  realpathSync,
  statSync,
  writeFileSync
} from "node:fs"
import { dirname, join } from "node:path"
import { Effect } from "effect"
import { type Failed, failed } from "./cli.ts"

const tools = [
  "sh",
  "cat",
  "chmod",
  "cp",
  "echo",
  "env",
  "id",
  "ln",
  "ls",
  "mkdir",
  "mv",
  "rm",
  "rmdir",
  "sleep",
  "touch"
]
const directories = ["bin", "dev", "etc", "home", "opt", "proc", "run", "srv", "sys", "usr", "var"]

/** Debian's ls, busybox and Fedora's libraries are in these; the PATH is for NixOS and Guix. */
const searched = () => ["/bin", "/usr/bin", ...(process.env["PATH"] ?? "").split(":").filter((dir) => dir !== "")]

const isProgram = (path: string): boolean => {
  try {
    accessSync(path, constants.R_OK | constants.X_OK)
    return statSync(path).isFile()
  } catch {
    return false
  }
}

const find = (tool: string): string | undefined => {
  const found = searched()
    .map((directory) => join(directory, tool))
    .find(isProgram)
  return found === undefined ? undefined : realpathSync(found)
}

/**
 * The shared libraries that a program needs, and its loader: glibc's ldd and musl's print lines such as
 * `libc.so.6 => /lib/libc.so.6 (0x7f…)`. Of a static program and of a script they say that there is nothing.
 */
const librariesOf = (program: string): ReadonlyArray<string> => {
  const env = { PATH: searched().join(":"), LC_ALL: "C" }
  const { error, stdout } = spawnSync("ldd", [program], { encoding: "utf8", env })
  if (error !== undefined) throw error
  return [...stdout.matchAll(/(\/\S+) \(0x[0-9a-f]+\)/g)].map(([, path = ""]) => path)
}

/** One program under several names, as busybox is, is one file with several names again. */
const copyTools = (root: string): ReadonlyArray<string> => {
  const copies = new Map<string, string>()
  for (const tool of tools) {
    const program = find(tool)
    if (program === undefined) continue
    const path = join(root, "bin", tool)
    const copy = copies.get(program)
    if (copy === undefined) copyFileSync(program, path)
    else linkSync(copy, path)
    chmodSync(path, 0o755)
    copies.set(program, copy ?? path)
  }
  return [...copies.keys()]
}

/** To the place where the loader looks for it. */
const copyLibrary = (root: string, library: string): void => {
  const path = join(root, library)
  if (existsSync(path)) return
  mkdirSync(dirname(path), { recursive: true })
  copyFileSync(library, path)
  chmodSync(path, 0o755)
}

const writeTexts = (root: string): void => {
  const etc = (name: string, text: string) => writeFileSync(join(root, "etc", name), text)
  // The machine's own would put the names of its users into an image.
  etc("passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n")
  etc("group", "root:x:0:\nnogroup:x:65534:\n")
  etc("issue", "A small root file system\n")
  etc("motd", "Welcome.\n")
  etc("shells", "/bin/sh\n")
  const release = ["/etc/os-release", "/usr/lib/os-release"].find((path) => existsSync(path))
  if (release === undefined) etc("os-release", 'NAME="Linux"\nID=linux\n')
  else copyFileSync(release, join(root, "etc/os-release"))
}

const make = (root: string): void => {
  for (const directory of directories) mkdirSync(join(root, directory))
  mkdirSync(join(root, "root"), { mode: 0o700 })
  mkdirSync(join(root, "tmp"))
  chmodSync(join(root, "tmp"), 0o1777)
  for (const program of copyTools(root)) for (const library of librariesOf(program)) copyLibrary(root, library)
  writeTexts(root)
}

/** Modes are those of the image, whatever the user's files get. */
const withUmask = (run: () => void): void => {
  const before = process.umask(0o022)
  try {
    run()
  } finally {
    process.umask(before)
  }
}

/** Fills an empty directory with a shell, a few tools, the libraries that they need, and the usual directories. */
export const smallRoot = (root: string): Effect.Effect<void, Failed> =>
  Effect.try({
    try: () => withUmask(() => make(root)),
    catch: failed("no root file system could be made of this machine's programs, so give one with --from")
  })
