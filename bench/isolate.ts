/**
 * Runs the benchmarks in mounts of their own: Docker finds ranges of ids for a user namespace in /etc/subuid, podman its
 * policy in /etc/containers, and keeps a cache below /var/lib whatever its settings say. The machine's own files stay as they are.
 */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdirSync, writeFileSync } from "node:fs"
import { dirname } from "node:path"
import { Effect } from "effect"
import { DaemonError, run } from "../test/support/Process.ts"

const mark = "EFFECT_CONTAINERD_BENCH_ISOLATED"

/** This program again, in a mount namespace; gives its exit code. Ends with us, whatever ends us. */
export const again: Effect.Effect<number, DaemonError> = Effect.callback((resume) => {
  const args = ["--pdeathsig", "TERM", "unshare", "--mount"]
  const program = [process.execPath, ...process.execArgv, ...process.argv.slice(1)]
  const child = spawn("setpriv", [...args, ...program], { stdio: "inherit", env: { ...process.env, [mark]: "yes" } })
  const exit = once(child, "exit")
  exit.then(
    ([code]) => resume(Effect.succeed(typeof code === "number" ? code : 1)),
    (error) => resume(Effect.fail(new DaemonError({ command: "unshare", detail: String(error) })))
  )
  return Effect.promise(async () => {
    child.kill("SIGINT")
    await exit
  })
})

export const isIsolated = (): boolean => process.env[mark] === "yes"

/** Whom Docker maps containers' ids for; a user that every Debian has. */
export const remapped = { user: "nobody", group: "nogroup" } as const

/** Docker looks for the user's name in both files. */
const range = `${remapped.user}:100000:65536\n`

const settings = {
  "/etc/subuid": range,
  "/etc/subgid": range,
  // podman does not commit without one, and no option names another place.
  "/etc/containers/policy.json": JSON.stringify({ default: [{ type: "insecureAcceptAnything" }] })
}

/** Puts our files in the place of the machine's, as long as this process runs. */
export const prepare: Effect.Effect<void, DaemonError> = Effect.gen(function* () {
  yield* run("mount", ["-t", "tmpfs", "tmpfs", "/var/lib"])
  const [upper, work] = ["/var/lib/etc", "/var/lib/etc-work"]
  for (const directory of [upper, work]) mkdirSync(directory)
  yield* run("mount", ["-t", "overlay", "-o", `lowerdir=/etc,upperdir=${upper},workdir=${work}`, "overlay", "/etc"])
  for (const [path, text] of Object.entries(settings)) {
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, text)
  }
})
