import { spawn } from "node:child_process"
import { mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { Commit } from "effect-containerd"
import * as Container from "../support/Container.ts"
import { describeDaemons } from "../support/Daemons.ts"
import * as Debris from "../support/Debris.ts"
import * as Host from "../support/Host.ts"
import * as Commits from "./Commits.ts"

/**
 * What runs over and over in the container's files, as fast as it can. A name that is not there just now is no matter.
 * It is a process of this machine: it must follow no link, and all that it sees of the machine is read-only.
 */
const attack = (root: string, body: string) => {
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
  const args = ["--mount", "sh", "-ec", script, "sh", process.execPath, "-e", program]
  return Effect.acquireRelease(
    Effect.sync(() => spawn("unshare", args, { cwd: root, stdio: "ignore" })),
    (child) =>
      Effect.callback<void>((resume) => {
        child.on("exit", () => resume(Effect.void))
        child.kill("SIGKILL")
      })
  )
}

const rounds = 20

/** Commits while the container is under way; every image must be whole. */
const commitAll = Effect.fnUntraced(function* (container: Container.Container, check: (text: string) => void) {
  const seen = new Set<string>()
  for (let round = 0; round < rounds; round++) {
    const how = { pause: false, compression: "uncompressed", differ: "host" } as const
    const committed = yield* Commit.commit({ container: container.id, name: "race:1", ...how })
    yield* Commits.consistent(committed)
    const text = (yield* Commits.entries(committed)).map(({ content, link, path }) => `${path} ${link} ${content}`)
    check(text.join("\n"))
    seen.add(text.join("\n"))
  }
  // Otherwise there was no race.
  assert.isAbove(seen.size, 1)
  assert.strictEqual(yield* container.status, "RUNNING")
})

const swap = (outside: string) => `
  fs.renameSync("data/swap", "data/real")
  fs.symlinkSync(${JSON.stringify(outside)}, "data/swap")
  fs.unlinkSync("data/swap")
  fs.renameSync("data/real", "data/swap")`

const rename = `
  fs.renameSync("data/a", "data/c"); fs.renameSync("data/b", "data/a"); fs.renameSync("data/c", "data/b")
  fs.rmSync("data/full", { recursive: true, force: true })
  fs.mkdirSync("data/full/deep", { recursive: true }); fs.writeFileSync("data/full/deep/" + i, "x")
  fs.renameSync("data/full", "data/empty"); fs.rmSync("data/empty", { recursive: true }); fs.mkdirSync("data/empty")`

const change = `
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

describeDaemons("a commit by the host of a container that is not frozen", () => {
  layer(Host.layer("2.x"), { excludeTestServices: true })((it) => {
    const started = Effect.gen(function* () {
      const { base, containerd } = yield* Host.Host
      const container = yield* Container.run(containerd, { image: base.ref })
      return { container, root: yield* container.root }
    })

    it.effect(
      "never leaves it, whatever a directory becomes while it is read",
      () =>
        Effect.gen(function* () {
          const { container, root } = yield* started
          const outside = yield* Debris.directory
          for (let i = 0; i < 50; i++) writeFileSync(join(outside, `file${i}`), "of the host")
          mkdirSync(join(outside, "deep"))
          yield* container.exec(
            "mkdir -p /data/swap/deep; for i in $(seq 0 49); do echo mine > /data/swap/file$i; done"
          )
          const look = () => ["", ...readdirSync(outside)].map((name) => [name, statSync(join(outside, name)).mtimeMs])
          const before = look()
          yield* attack(root, swap(outside))
          yield* commitAll(container, (text) => assert.notInclude(text, "of the host"))
          assert.deepStrictEqual(look(), before)
        }),
      120_000
    )

    it.effect(
      "is whole, whatever is renamed over what",
      () =>
        Effect.gen(function* () {
          const { container, root } = yield* started
          const fill =
            "for d in a b; do mkdir -p /data/$d/sub; for i in $(seq 50); do echo $d > /data/$d/sub/$i; done; done"
          yield* container.exec(`${fill}; mkdir /data/empty`)
          yield* attack(root, rename)
          yield* commitAll(container, () => undefined)
        }),
      120_000
    )

    it.effect(
      "is whole, whatever grows, shrinks and vanishes",
      () =>
        Effect.gen(function* () {
          const { container, root } = yield* started
          yield* container.exec(
            "mkdir /data/many; for i in $(seq 0 49); do head -c 100000 /dev/zero > /data/many/$i; done"
          )
          yield* attack(root, change)
          yield* commitAll(container, () => undefined)
        }),
      120_000
    )
  })
})
