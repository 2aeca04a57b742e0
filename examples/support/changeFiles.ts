/** Changes some files of a container's root file system, whatever is in it. */
import {
  accessSync,
  appendFileSync,
  chmodSync,
  constants,
  lstatSync,
  mkdirSync,
  readdirSync,
  symlinkSync,
  unlinkSync,
  writeFileSync
} from "node:fs"
import { join, relative } from "node:path"
import { Effect } from "effect"
import { Failed, failed } from "./cli.ts"

/** Without these a container may not start, or not say who it is. */
const needed = /^(dev|proc|sys)$|^etc\/(passwd|group|shadow|nsswitch\.conf|os-release|ld\.so\.)|\.so(\.|$)/
const maxSize = 64 * 1024

const isAllowed = (path: string, mode: number): boolean => {
  try {
    accessSync(path, mode)
    return true
  } catch {
    return false
  }
}

/** Symlinks are not followed, here and below: those of an image lead anywhere on this machine. */
const isOpenDirectory = (path: string): boolean =>
  lstatSync(path, { throwIfNoEntry: false })?.isDirectory() === true &&
  isAllowed(path, constants.R_OK | constants.W_OK | constants.X_OK)

/** A small text, most likely: no program, no library. */
const isHarmless = (path: string): boolean => {
  const found = lstatSync(path, { throwIfNoEntry: false })
  if (found?.isFile() !== true || (found.mode & 0o111) !== 0 || found.size > maxSize) return false
  return isAllowed(path, constants.R_OK | constants.W_OK)
}

/** Files that may be changed, in the order of their names. */
function* harmless(root: string, directory: string): Generator<string> {
  const here = join(root, directory)
  if (!isOpenDirectory(here)) return
  for (const entry of readdirSync(here, { withFileTypes: true }).toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = join(directory, entry.name)
    if (needed.test(path)) continue
    if (entry.isDirectory()) yield* harmless(root, path)
    else if (isHarmless(join(root, path))) yield join(root, path)
  }
}

/** At most three, of /etc if it has so many. */
const choose = (root: string): ReadonlyArray<string> => {
  const chosen = new Set<string>()
  for (const directory of ["etc", ""]) {
    for (const path of harmless(root, directory)) {
      if (chosen.size === 3) break
      chosen.add(path)
    }
  }
  return [...chosen]
}

/** A directory that is not there yet. The root itself may be read-only, as Fedora's is. */
const newDirectory = (root: string): string | undefined => {
  const parent = ["", "opt", "srv", "root", "home", "tmp", "var", "etc"]
    .map((name) => join(root, name))
    .find(isOpenDirectory)
  if (parent === undefined) return undefined
  const taken = new Set(readdirSync(parent))
  const names = ["quickstart", ...Array.from(taken, (_, i) => `quickstart-${i + 2}`)]
  return join(parent, names.find((name) => !taken.has(name)) ?? "quickstart")
}

const change = (root: string): boolean => {
  const directory = newDirectory(root)
  if (directory === undefined) return false
  const [edited, locked, deleted] = choose(root)
  mkdirSync(directory)
  writeFileSync(join(directory, "hello.txt"), "hello from the container\n")
  writeFileSync(join(directory, "hello.sh"), `#!/bin/sh\ncat /${relative(root, directory)}/hello.txt\n`)
  chmodSync(join(directory, "hello.sh"), 0o755)
  symlinkSync("hello.txt", join(directory, "latest"))
  if (edited !== undefined) appendFileSync(edited, "changed by the quickstart\n")
  if (locked !== undefined) chmodSync(locked, (lstatSync(locked).mode & 0o777) === 0o600 ? 0o644 : 0o600)
  if (deleted !== undefined) unlinkSync(deleted)
  return true
}

/** Adds a directory, files and a symlink, and edits, locks and deletes a file each, as far as there are any. */
export const changeFiles = (root: string): Effect.Effect<void, Failed> =>
  Effect.try({
    try: () => change(root),
    catch: failed("the container's files could not be changed, so take another image with --from")
  }).pipe(
    Effect.filterOrFail(
      (done) => done,
      () => new Failed({ message: `nothing may be written to ${root}: take another image, or run this as root` })
    ),
    Effect.asVoid
  )
