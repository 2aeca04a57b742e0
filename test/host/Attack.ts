/** Changes to a container's files while they are read. */
import { spawn } from "node:child_process"
import { Effect } from "effect"

/**
 * What runs over and over in the container's files, as fast as it can. A name that is not there just now is no matter.
 * It is a process of this machine: it must follow no link, and all that it sees of the machine is read-only.
 */
export const attack = (root: string, body: string, owner = 0) => {
  const program = `
    const fs = require("node:fs")
    const { O_APPEND, O_CREAT, O_NOFOLLOW, O_WRONLY } = fs.constants
    const open = (name, use) => {
      const file = fs.openSync(name, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW)
      try { use(file) } finally { fs.closeSync(file) }
    }
    let i = 0
    const step = () => { ${body} }
    for (;;) { i += 1; try { step() } catch {} }`
  const script = 'mount --make-rprivate / && mount -o remount,bind,ro / && exec "$@"'
  const args = [
    "--mount",
    "sh",
    "-ec",
    script,
    "sh",
    "setpriv",
    `--reuid=${owner}`,
    `--regid=${owner}`,
    "--clear-groups",
    process.execPath,
    "-e",
    program
  ]
  return Effect.acquireRelease(
    Effect.sync(() => spawn("unshare", args, { cwd: root, stdio: "ignore" })),
    (child) =>
      Effect.callback<void>((resume) => {
        child.on("exit", () => resume(Effect.void))
        child.kill("SIGKILL")
      })
  )
}

/** Of the files in data/many. */
export const change = `
  const name = "data/many/" + (i % 50)
  if (i % 3 === 0) open(name, (file) => fs.writeSync(file, "y".repeat(i % 20000)))
  if (i % 3 === 1) open(name, (file) => fs.ftruncateSync(file, i % 1000))
  if (i % 7 === 0) fs.rmSync(name, { force: true })
  if (i % 11 === 0) fs.linkSync(name, "data/many/link" + (i % 5))
  if (i % 13 === 0) fs.rmSync("data/many/link" + (i % 5), { force: true })
  if (i % 17 === 0) fs.renameSync(name, "data/many/" + ((i + 7) % 50))
  if (i % 19 === 0) { fs.rmSync(name, { force: true }); fs.mkdirSync(name) }
  if (i % 23 === 0) fs.rmdirSync(name)
  if (i % 31 === 0) {
    fs.rmSync(name, { force: true })
    require("node:child_process").execFileSync("mknod", [name, "c", "1", "3"])
  }
  if (i % 29 === 0) { fs.rmSync(name, { force: true }); fs.symlinkSync("/nowhere", name) }`
