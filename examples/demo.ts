/**
 * The main job on a machine that has no containerd: `npm run demo`, as root on Debian or a system like it.
 *
 * Brings containerd, runc and busybox (Debian's packages, unpacked into a cache directory, nothing is installed), starts
 * a private daemon, runs a container, changes it, commits it while it runs, and runs the image that came of it.
 * Everything but the cache is gone at the end.
 */

import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import { NodeRuntime } from "@effect/platform-node"
import { Console, Data, Effect, Option, References } from "effect"
import { Containerd as Client, Commit } from "effect-containerd"
import * as BaseImage from "../test/support/BaseImage.ts"
import * as Container from "../test/support/Container.ts"
import * as Containerd from "../test/support/Containerd.ts"
import { progressLine } from "./support/progressLine.ts"

class CannotRun extends Data.TaggedError("CannotRun")<{ readonly message: string }> {}

const provision = Effect.callback<void, CannotRun>((resume) => {
  const script = fileURLToPath(new URL("../test/support/provision.sh", import.meta.url))
  const child = spawn("bash", [script, "containerd-2", "runc", "busybox"], { stdio: ["ignore", "ignore", "inherit"] })
  child.on("error", ({ message }) => resume(Effect.fail(new CannotRun({ message }))))
  child.on("exit", (code) =>
    resume(code === 0 ? Effect.void : Effect.fail(new CannotRun({ message: "containerd could not be brought" })))
  )
  return Effect.sync(() => void child.kill())
})

const checkRoot = Effect.suspend(() =>
  process.platform === "linux" && process.getuid?.() === 0
    ? Effect.void
    : Effect.fail(
        new CannotRun({ message: "containers need Linux and root: run this with sudo, or in a machine of its own" })
      )
)

const change = `
echo 'hello from the container' > /greeting
echo changed > /data/change.txt
rm /data/delete.txt
`

const report = ({ config, durationMs, image, layer, parent, pausedMs }: Commit.Committed) => {
  const rows = [
    ["image", image.name],
    ["digest", image.target.digest],
    ["config", config.digest],
    ["parent", Option.match(parent, { onNone: () => "none", onSome: ({ name }) => name })],
    ["layer", Option.match(layer, { onNone: () => "none", onSome: ({ descriptor }) => descriptor.digest })],
    ["size", Option.match(layer, { onNone: () => "0 bytes", onSome: ({ descriptor }) => `${descriptor.size} bytes` })],
    ["time", `${durationMs} ms, of which the container was paused for ${pausedMs} ms`]
  ]
  return rows.map(([name = "", value]) => `  ${name.padEnd(8)}${value}`).join("\n")
}

const demo = Effect.gen(function* () {
  yield* checkRoot
  yield* provision
  const containerd = yield* Containerd.start("2.x")
  const base = yield* BaseImage.busybox()
  yield* BaseImage.importImage(containerd, base)
  yield* Console.log(`A private containerd listens on ${containerd.address}.`)

  const container = yield* Container.run(containerd, { image: base.ref })
  yield* container.exec(change)
  yield* Console.log(`The container ${container.id} runs ${base.ref} and has changed:${change}`)

  const committed = yield* Commit.commit({
    container: container.id,
    name: "demo:1",
    author: "The demo <demo@example.org>",
    message: "what the container had become"
  }).pipe(progressLine, Effect.provide(Client.layer({ address: containerd.address })))
  yield* Console.log(
    `It was committed, and runs on (${(yield* container.status).toLowerCase()}):\n${report(committed)}`
  )

  const script = "cat /greeting /data/change.txt; ls /data"
  const said = yield* Container.runOnce(containerd, { image: committed.image.name }, script)
  yield* Console.log(`\nThe image runs. In it, "${script}" says:\n${said.replace(/^/gm, "  ").trimEnd()}`)
  yield* Console.log(
    "\nOn this machine's own containerd: npm run commit -- --namespace default CONTAINER app:1   (--help tells more)"
  )
})

demo.pipe(
  Effect.scoped,
  Effect.tapError(({ message }) => Console.error(`error: ${message}`)),
  Effect.provideService(References.LogToStderr, true),
  (main) => NodeRuntime.runMain(main, { disableErrorReporting: true })
)
