/** Snapshots with files in them, made and looked at through their mounts. */
import { lstatSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { Effect, type Scope } from "effect"
import { type Mount, Snapshotter } from "effect-containerd"
import * as Trees from "../layer/Trees.ts"
import { type Traits, unique } from "./Cases.ts"

export interface SnapshotTraits extends Traits {
  readonly snapshotter: string
  /** May set owners, and make devices. */
  readonly root: boolean
  /** A directory that shows what the mounts mount, for as long as the scope is open. */
  readonly mount: (mounts: ReadonlyArray<Mount.Mount>) => Effect.Effect<string, unknown, Scope.Scope>
}

export type Change = (dir: string) => void

export const file =
  (path: string, content: string): Change =>
  (dir) =>
    writeFileSync(join(dir, path), content)

/** Every path, not through symlinks. */
const paths = (dir: string, below = ""): ReadonlyArray<string> =>
  readdirSync(join(dir, below), { withFileTypes: true }).flatMap((entry) => {
    const path = join(below, entry.name)
    return entry.isDirectory() ? [path, ...paths(dir, path)] : [path]
  })

const show = (path: string): string => {
  const stats = lstatSync(path)
  if (stats.isDirectory()) return "/"
  return stats.isSymbolicLink() ? `-> ${readlinkSync(path)}` : readFileSync(path, "utf8")
}

/** Every path: `/` for a directory, `-> x` for a symlink, the content of a file. */
export const listing = (dir: string): Record<string, string> =>
  Object.fromEntries([...paths(dir)].sort().map((path) => [path, show(join(dir, path))]))

/** The files with what they hold. */
export const filesOf = (dir: string): Record<string, string> =>
  Object.fromEntries(
    [...paths(dir)]
      .sort()
      .filter((path) => lstatSync(join(dir, path)).isFile())
      .map((path) => [path, readFileSync(join(dir, path), "utf8")])
  )

/** Everything that there is to know. */
export const treeOf = (dir: string): Trees.Tree => {
  // Overlayfs notes something in a directory that is read for the first time, and GNU tar takes that for a change.
  paths(dir)
  return Trees.read(dir)
}

export const makeSnapshots = ({ mount, snapshotter }: SnapshotTraits) => {
  const snapshots = Effect.map(Snapshotter.Snapshotters, (all) => all.get(snapshotter))

  /** Mounted only meanwhile, for what somebody else mounts, too, must not be changed. */
  const within = <A>(mounts: ReadonlyArray<Mount.Mount>, f: (dir: string) => A) =>
    Effect.scoped(Effect.map(Effect.orDie(mount(mounts)), f))

  /** Does something to a new child of the parent, and commits it. Gives its name. */
  const commit = (parent: string, change: Change = () => {}) =>
    Effect.gen(function* () {
      const active = yield* (yield* snapshots).prepare({ key: unique("prepare"), parent })
      yield* within(active.mounts, change)
      const name = unique("committed")
      yield* active.commit(name)
      return name
    }).pipe(Effect.scoped)

  /** What a snapshot shows, seen through a view. */
  const look = <A>(name: string, see: (dir: string) => A) =>
    Effect.gen(function* () {
      const view = yield* (yield* snapshots).view({ key: unique("view"), parent: name })
      return yield* within(view.mounts, see)
    }).pipe(Effect.scoped)

  /**
   * What a layer says of the files: times in whole seconds, and nothing of the root directory (Differences). The native
   * snapshotter gives the directories of its copies the time of the copy.
   */
  const tree = (dir: string) =>
    Object.fromEntries(
      Object.entries(treeOf(dir))
        .filter(([path]) => path !== "/")
        .map(([path, { mtime, ...node }]) => {
          const isTimeless = node.type === "4" && snapshotter === "native"
          return [path, { ...node, mtime: isTimeless ? "" : String(BigInt(mtime) / 1_000_000_000n) }]
        })
    )

  return { snapshots, within, commit, look, tree }
}
