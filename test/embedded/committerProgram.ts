/**
 * A program that commits a container, over and over: `committerProgram.ts ROOT CONTAINER COUNT`. Each time it changes
 * files of the container first, and the image takes over the name from the one before. It prints a line for each commit
 * and for the start and the end of each of its steps.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { Effect } from "effect"
import { Commit, Embedded } from "effect-containerd"

const [root = "", container = "", count = ""] = process.argv.slice(2)

/** The pipe takes it at once, so it is there when the process is killed. */
const say = (...words: ReadonlyArray<string | number>) =>
  Effect.sync(() => void process.stdout.write(`${words.join(" ")}\n`))

const progress = (event: Commit.Event) =>
  event._tag === "StepStarted" ? say("step", event.step) : say("done", event.step)

/** Files in whole directories, so that a commit adds, changes and deletes. */
const change = (rootfs: string, generation: number): void => {
  rmSync(join(rootfs, `d${generation - 1}`), { recursive: true, force: true })
  mkdirSync(join(rootfs, `d${generation}`), { recursive: true })
  for (let i = 0; i < 40; i++) {
    writeFileSync(join(rootfs, `d${generation}`, `f${i}`), crypto.getRandomValues(new Uint8Array(10_000)))
  }
  writeFileSync(join(rootfs, "generation"), String(generation))
}

const program = Effect.gen(function* () {
  const rootfs = yield* Embedded.rootfs(container)
  const first = Number(readFileSync(join(rootfs, "generation"), "utf8")) + 1
  for (let generation = first; generation < first + Number(count); generation++) {
    change(rootfs, generation)
    yield* say("commit", generation)
    const labels = { generation: String(generation) }
    const { durationMs } = yield* Commit.commit({ container, name: `${container}:1`, labels })
    yield* say("took", durationMs)
  }
})

await Effect.runPromise(
  program.pipe(Effect.provideService(Commit.Progress, progress), Effect.provide(Embedded.layer({ root })))
)
