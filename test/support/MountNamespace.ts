import { spawn } from "node:child_process"
import { once } from "node:events"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { Effect, type Scope } from "effect"
import * as Debris from "./Debris.ts"
import type { DaemonError } from "./Process.ts"

/** Each pair of a file and what is mounted over it. */
const script = `
while [ $# -gt 0 ]; do mount --bind "$2" "$1"; shift 2; done
echo ready
exec sleep infinity
`

/**
 * A mount namespace in which files of this machine have other contents, for daemons that read them. Gives its path; it
 * goes with the scope and the processes in it.
 */
export const make = (files: Readonly<Record<string, string>>): Effect.Effect<string, DaemonError, Scope.Scope> =>
  Effect.gen(function* () {
    const directory = yield* Debris.directory
    const pairs = Object.entries(files).flatMap(([path, content], i) => {
      const source = join(directory, String(i))
      writeFileSync(source, content)
      return [path, source]
    })
    const args = ["--mount", "--propagation", "slave", "sh", "-ec", script, "sh", ...pairs]
    const child = yield* Effect.acquireRelease(
      Effect.sync(() => spawn("setpriv", ["--pdeathsig", "KILL", "unshare", ...args])),
      (child) => Effect.sync(() => void child.kill("SIGKILL"))
    )
    yield* Effect.promise(() => Promise.race([once(child.stdout, "data"), once(child, "exit")]))
    return `/proc/${child.pid}/ns/mnt`
  })
