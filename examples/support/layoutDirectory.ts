/** The directory of a layout, which goes again when the run that made it fails. */
import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { Effect, Exit, type Scope } from "effect"
import { removeTree } from "effect-containerd/embedded/Files"
import { type Failed, failed } from "./cli.ts"

export interface Place {
  readonly path: string
  /** What there was before. */
  readonly before: "nothing" | "an empty directory" | "something"
}

/** Of directories that are not writable, too. */
const remove = (path: string) => Effect.ignoreCause(removeTree("quickstart", path), { log: "Warn" })

const layoutFiles = ["oci-layout", "index.json", "blobs", ".effect-containerd"]

/** Nobody has put an image there, and nobody is about to: SQLite has its log for as long as somebody has it open. */
const isUnused = (path: string): boolean => {
  const index = join(path, "index.json")
  const inUse = existsSync(join(path, ".effect-containerd/state.db-wal"))
  return !inUse && existsSync(index) && /"manifests":\[\]/.test(readFileSync(index, "utf8"))
}

const undo = Effect.fnUntraced(function* ({ before, path }: Place) {
  if (before === "something" || !isUnused(path)) return
  yield* Effect.forEach(layoutFiles, (name) => remove(join(path, name)), { discard: true })
  // Somebody else may have put something there meanwhile.
  if (before === "nothing" && readdirSync(path).length === 0) yield* remove(path)
})

/** A directory in which nobody else may look, gone with the scope. */
export const temporary: Effect.Effect<string, Failed, Scope.Scope> = Effect.suspend(() =>
  Effect.acquireRelease(make, remove)
)

/** In lower case throughout, for podman makes an image's name of it. */
const make = Effect.try({
  try: () => {
    const path = join(tmpdir(), `quickstart-${crypto.randomUUID().slice(0, 13)}`)
    mkdirSync(path, { mode: 0o700 })
    return path
  },
  catch: failed("name another directory with TMPDIR")
})

const look = (path: string): Place => ({
  path,
  before: !existsSync(path) ? "nothing" : readdirSync(path).length === 0 ? "an empty directory" : "something"
})

/** The directory that was named, or a new temporary one. It stays, unless the scope ends with a failure. */
export const layoutDirectory = (named: string | undefined): Effect.Effect<Place, Failed, Scope.Scope> =>
  named === undefined
    ? Effect.acquireRelease(
        Effect.map(make, (path): Place => ({ path, before: "nothing" })),
        ({ path }, exit) => (Exit.isFailure(exit) ? remove(path) : Effect.void)
      )
    : Effect.acquireRelease(
        Effect.try({
          try: () => look(resolve(named)),
          catch: failed("give another directory with --dir")
        }),
        (place, exit) => (Exit.isFailure(exit) ? Effect.ignoreCause(undo(place), { log: "Warn" }) : Effect.void)
      )
