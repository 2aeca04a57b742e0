import { spawn } from "node:child_process"
import { once } from "node:events"
import { text } from "node:stream/consumers"
import { fileURLToPath } from "node:url"

const script = fileURLToPath(new URL("writerProgram.ts", import.meta.url))

const start = (root: string, count: number, name: string) =>
  spawn(
    process.execPath,
    ["--conditions=effect-containerd-source", "--no-warnings", script, root, String(count), name],
    {
      stdio: ["ignore", "pipe", "pipe"]
    }
  )

/** Starts a writer, waits until it is at it, and kills it some milliseconds later. Gives its signal. */
export const killed = async (root: string, name: string, after: number): Promise<string | null> => {
  const child = start(root, 100_000, name)
  const exit = once(child, "exit")
  await Promise.race([once(child.stdout, "data"), exit])
  await new Promise((resolve) => setTimeout(resolve, after))
  child.kill("SIGKILL")
  await exit
  return child.signalCode
}

/** Runs a writer to its end. Fails with what it printed. */
export const finished = async (root: string, count: number, name: string): Promise<void> => {
  const child = start(root, count, name)
  const [errors, [code]] = await Promise.all([text(child.stderr), once(child, "exit")])
  if (code !== 0) throw new Error(`writer ${name} ended with ${code}: ${errors}`)
}
