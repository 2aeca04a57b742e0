import { randomUUID } from "node:crypto"
import { assert, layer } from "@effect/vitest"
import { Effect, Option } from "effect"
import { Commit } from "effect-containerd"
import * as Container from "../support/Container.ts"
import { versions } from "../support/Containerd.ts"
import { describeDaemons } from "../support/Daemons.ts"
import * as Host from "../support/Host.ts"
import * as Inventory from "../support/Inventory.ts"
import * as Tree from "../support/Tree.ts"
import * as Commits from "./Commits.ts"

const first = `
echo one > /data/change.txt; rm /data/delete.txt; echo same > /data/same; touch -d @1000000000 /data/same
mkdir -p /data/passing/deep && echo x > /data/passing/deep/file; rm -rf /data/opaque; mkdir /data/opaque; echo o > /data/opaque/mine
echo linked > /data/one && ln /data/one /data/two; chmod 711 /home/user; ln -s nowhere /data/link
`

const second = `
rm -rf /data/passing /data/link; echo two > /data/two; rm /data/opaque/mine; chmod 755 /home/user
echo SAME > /data/same; touch -d @1000000000 /data/same
mkdir /data/passing; echo new > /data/passing/new; mkfifo /data/fifo
`

/** Of a file that the base has, too. */
const hidden =
  "cp -p /data/keep.txt /data/old; tr a-z A-Z < /data/old > /data/keep.txt; touch -r /data/old /data/keep.txt"

const ways: ReadonlyArray<readonly [string, Omit<Commit.CommitOptions, "container">, ReadonlyArray<string>]> = [
  ["squash", { squash: true }, []],
  ["squash 1", { squash: 1 }, ["data/.wh.delete.txt"]],
  ["replaceTop", { replaceTop: true }, ["data/.wh.delete.txt"]],
  ["squash, exclude", { squash: true, exclude: ["bin", "etc/passwd"] }, []],
  ["squash 1, created", { squash: 1, created: "2024-05-06T07:08:09Z", rewriteTimestamp: true }, []]
]

for (const version of versions) {
  describeDaemons(`a layer of more than the container's own change, by the host on containerd ${version}`, () => {
    layer(Host.layer(version), { excludeTestServices: true })((it) => {
      /** A container that was committed and made anew from its own image, and has changed again. */
      const again = Effect.fnUntraced(function* () {
        const { base, containerd } = yield* Host.Host
        const id = `again-${randomUUID()}`
        const name = `docker.io/library/${id}:1`
        yield* Effect.scoped(
          Effect.gen(function* () {
            const container = yield* Container.run(containerd, { id, image: base.ref })
            yield* container.exec(first)
            yield* Commits.exactly(container, { name, replaceTop: true })
          })
        )
        const container = yield* Container.run(containerd, { id, image: name })
        yield* container.exec(second)
        return container
      })

      it.effect.each(ways)("is what the differ makes of it (%s)", ([, given, whiteouts]) =>
        Effect.gen(function* () {
          const { containerd } = yield* Host.Host
          const container = yield* again()
          const treeOf = Effect.fnUntraced(function* (differ: Commit.DifferChoice) {
            const committed = yield* Commit.commit({ container: container.id, differ, ...given })
            assert.strictEqual(committed.differ, differ)
            const key = Option.getOrThrow(committed.chainId)
            return {
              committed,
              tree: Commits.belowRoot(yield* Tree.ofSnapshot(containerd, { snapshotter: "overlayfs", key }))
            }
          })
          const { committed, tree } = yield* treeOf("host")
          assert.deepStrictEqual(committed.notCarried, [])
          yield* Commits.consistent(committed)
          if (given.created !== undefined) {
            assert.deepStrictEqual((yield* treeOf("host")).committed.image, committed.image)
          }
          const names = yield* Commits.names(committed)
          if (given.squash === true) assert.notMatch(names.join("\n"), /\.wh\./)
          else assert.includeMembers([...names], [...whiteouts])
          if (given.exclude === undefined && given.created === undefined) {
            const shown = Commits.belowRoot(yield* container.tree(Commits.exact))
            Commits.assertSame(Commits.belowRoot(yield* Commits.consistent(committed)), shown)
          }
          Commits.assertSame(tree, (yield* treeOf("containerd")).tree)
        })
      )

      it.effect("leaves nothing when the commit fails after all was read", () =>
        Effect.gen(function* () {
          const { containerd } = yield* Host.Host
          const container = yield* again()
          const before = yield* Inventory.take(containerd)
          // A label that containerd refuses.
          const labels = { [`effect/${"k".repeat(4096)}`]: "v" }
          const options = { container: container.id, name: "failed:1", differ: "host", labels } as const
          for (const way of [{ squash: true }, { replaceTop: true }]) {
            const error = yield* Effect.flip(Commit.commit({ ...options, ...way }))
            assert.strictEqual(error.step, "createImage")
            assert.deepStrictEqual(yield* Inventory.take(containerd), before)
            assert.isFalse(yield* container.isFrozen)
          }
        })
      )

      it.effect("is exact where size and time tell nothing, and of a container that does not run, too", () =>
        Effect.gen(function* () {
          const container = yield* again()
          yield* container.exec(hidden)
          yield* container.stop
          yield* Commits.exactly(container, { squash: true })
          yield* Commits.exactly(container, { replaceTop: true })
        })
      )
    })
  })
}
