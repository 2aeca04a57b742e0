import { mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { Commit } from "effect-containerd"
import * as Container from "../support/Container.ts"
import { describeDaemons } from "../support/Daemons.ts"
import * as Debris from "../support/Debris.ts"
import * as Host from "../support/Host.ts"
import { attack, change } from "./Attack.ts"
import * as Commits from "./Commits.ts"

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
