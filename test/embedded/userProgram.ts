/**
 * Run by a test as another user: `userProgram.ts WHAT ROOT IMAGE`. `keep` makes a container of the image in the
 * archive, commits it after some changes, makes a container of that image, commits that and exports the image beside
 * the root. `closed` commits what the user may not read. Both print what they were told.
 */
import * as Fs from "node:fs"
import { join } from "node:path"
import { Effect, Stream } from "effect"
import { Commit, Containers, Embedded, Leases } from "effect-containerd"
import * as Layout from "../suite/Layout.ts"

const [what = "", root = "", archive = ""] = process.argv.slice(2)

const print = (value: unknown) => Effect.sync(() => process.stdout.write(JSON.stringify(value)))

/** Touches files that this user could not make as they should be, in ways that leave them what they are. */
const touch = (rootfs: string): void => {
  // The kernel takes set-user-ID from a file that is written to, so its time is all that changes.
  Fs.utimesSync(join(rootfs, "owned"), 1, 1)
  Fs.linkSync(join(rootfs, "null"), join(rootfs, "null too"))
  // A layer names the first one in full, and these sort before the old names.
  Fs.linkSync(join(rootfs, "secret"), join(rootfs, "a secret"))
  Fs.linkSync(join(rootfs, "ping"), join(rootfs, "a ping"))
  // What takes the place of a file is another file.
  Fs.renameSync(join(rootfs, "moved"), join(rootfs, "there"))
  Fs.writeFileSync(join(rootfs, "moved"), "new")
  // It is there with 0500; who leaves it so leaves it what it is.
  Fs.chmodSync(join(rootfs, "hidden"), 0o700)
  Fs.writeFileSync(join(rootfs, "hidden/new"), "n")
  Fs.chmodSync(join(rootfs, "hidden"), 0o500)
  Fs.writeFileSync(join(rootfs, "mine"), "m")
  Fs.rmSync(join(rootfs, "gone"))
}

const keep = Effect.gen(function* () {
  const first = yield* Embedded.createContainer("base:1", { id: "one" })
  touch(first.rootfs)
  yield* Commit.commit({ container: "one", name: "app:1" })
  const second = yield* Embedded.createContainer("app:1", { id: "two" })
  Fs.appendFileSync(join(second.rootfs, "owned"), ", twice")
  yield* Commit.commit({ container: "two", name: "app:2" })
  yield* Embedded.exportArchive(["docker.io/library/app:2"], `${root}.tar`)
  yield* print({ first: first.notApplied, second: second.notApplied })
})

const closings: ReadonlyArray<readonly [open: (rootfs: string) => void, close: (rootfs: string) => void]> = [
  [(rootfs) => Fs.chmodSync(join(rootfs, "owned"), 0o644), (rootfs) => Fs.chmodSync(join(rootfs, "owned"), 0)],
  [(rootfs) => Fs.chmodSync(join(rootfs, "hidden"), 0o755), (rootfs) => Fs.chmodSync(join(rootfs, "hidden"), 0)],
  [(rootfs) => Fs.chmodSync(rootfs, 0o755), (rootfs) => Fs.chmodSync(rootfs, 0)]
]

const inventory = Effect.gen(function* () {
  const leases = yield* (yield* Leases.Leases).list()
  return JSON.stringify([Layout.files(root), leases])
})

const closed = Effect.gen(function* () {
  const { rootfs } = yield* Embedded.createContainer("base:1", { id: "one" })
  const before = yield* inventory
  const messages = yield* Effect.forEach(
    closings,
    Effect.fnUntraced(function* ([open, close]) {
      close(rootfs)
      const { message } = yield* Effect.flip(Commit.commit({ container: "one", name: "app:1" }))
      open(rootfs)
      return message.replace(rootfs, "ROOTFS")
    })
  )
  const isClean = before === (yield* inventory)
  for (const [, close] of closings) close(rootfs)
  // What is closed can be taken away all the same.
  yield* Embedded.removeContainer("one")
  const left = yield* Stream.runCollect((yield* Containers.Containers).list())
  yield* print({ messages, isClean, isGone: left.length === 0 && !Fs.existsSync(rootfs) })
})

const program = Effect.gen(function* () {
  yield* Embedded.importArchive(archive)
  if (what === "keep") yield* keep
  else yield* closed
})

await Effect.runPromise(Effect.provide(program, Embedded.layer({ root })))
