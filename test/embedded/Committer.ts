/** Processes that commit a container: `committerProgram.ts`, run to its end or killed in a commit. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { text } from "node:stream/consumers"
import { fileURLToPath } from "node:url"

const script = fileURLToPath(new URL("committerProgram.ts", import.meta.url))
const node = ["--conditions=effect-containerd-source", "--no-warnings", script]

const start = (root: string, container: string, count: number) =>
  spawn(process.execPath, [...node, root, container, String(count)], { stdio: ["ignore", "pipe", "pipe"] })

/** The numbers behind a word, one for each line that begins with it. */
const numbers = (output: string, word: string): ReadonlyArray<number> =>
  [...output.matchAll(new RegExp(`^${word} (\\d+)$`, "gm"))].map(([, number]) => Number(number))

/** Commits so many times. Gives how long each took, in milliseconds; fails with what it printed. */
export const finished = async (root: string, container: string, count: number): Promise<ReadonlyArray<number>> => {
  const child = start(root, container, count)
  const [output, errors, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "exit")])
  if (code !== 0) throw new Error(`the committer of ${container} ended with ${code}: ${errors}`)
  return numbers(output, "took")
}

export interface Killed {
  /** What commits have put into the container: the last that began, and the last that said that it ended. */
  readonly begun: number
  readonly ended: number | undefined
  /** What it was at. */
  readonly steps: ReadonlyArray<string>
}

/** Kills it so many milliseconds after the nth commit began. Fails when it ended before. */
export const killed = async (root: string, container: string, nth: number, after: number): Promise<Killed> => {
  const child = start(root, container, 1000)
  let output = ""
  const errors = text(child.stderr)
  // All that it printed has come then.
  const closed = once(child, "close")
  const begun = new Promise<void>((resolve) => {
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
      output += chunk
      if (numbers(output, "commit").length >= nth) resolve()
    })
  })
  await Promise.race([begun, closed])
  await new Promise((resolve) => setTimeout(resolve, after))
  child.kill("SIGKILL")
  await closed
  if (child.signalCode !== "SIGKILL") throw new Error(`the committer ended by itself: ${await errors}`)
  const steps = new Set<string>()
  for (const [, event = "", step = ""] of output.matchAll(/^(step|done|commit) (\w+)$/gm)) {
    if (event === "commit") steps.clear()
    else if (event === "step") steps.add(step)
    else steps.delete(step)
  }
  const generations = numbers(output, "commit")
  const ended = generations[numbers(output, "took").length - 1]
  return { begun: generations.at(-1) ?? 0, ended, steps: [...steps] }
}
