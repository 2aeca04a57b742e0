import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { gunzipSync } from "node:zlib"
import { assert, layer } from "@effect/vitest"
import { Effect, Option, Stream } from "effect"
import { Commit, ContentStore } from "effect-containerd"
import * as Tars from "../layer/Tars.ts"
import * as Container from "../support/Container.ts"
import { describeDaemons } from "../support/Daemons.ts"
import * as Debris from "../support/Debris.ts"
import * as Host from "../support/Host.ts"

/** The names in the layer of a commit, in their order. */
const pathsOf = Effect.fnUntraced(function* (options: Commit.CommitOptions) {
  const { layer } = yield* Commit.commit(options)
  if (Option.isNone(layer)) return []
  const store = yield* ContentStore.ContentStore
  const blob = yield* Stream.mkUint8Array(store.read(layer.value.descriptor.digest))
  return Tars.decode(gunzipSync(blob)).map(({ path }) => path.replace(/\/$/, ""))
})

describeDaemons("what a runtime makes to mount something over", () => {
  layer(Host.layer("2.x"), { excludeTestServices: true })((it) => {
    const cases = [
      ["overlayfs", "host"],
      ["overlayfs", "containerd"],
      ["native", "containerd"]
    ] as const

    it.effect.each(cases)(
      "is not in the layer, unless it is asked for; moby TestCommitHostBindMount (%s, %s)",
      ([snapshotter, differ]) =>
        Effect.gen(function* () {
          const { base, containerd } = yield* Host.Host
          const outside = yield* Debris.directory
          writeFileSync(join(outside, "file"), "outside")
          const mounts = [
            [outside, "/mnt/dir"],
            [join(outside, "file"), "/etc/hosts"],
            [join(outside, "file"), "/mnt/used/file"]
          ]
          const flags = mounts.flatMap(([src, dst]) => ["--mount", `type=bind,src=${src},dst=${dst},options=rbind:ro`])
          const container = yield* Container.run(containerd, { image: base.ref, snapshotter, flags })
          const target = { container: container.id, differ }
          // The host names the root, and a directory that has not changed only above what has.
          const [root, etc] = differ === "host" ? [["."], []] : [[], ["etc"]]
          assert.deepStrictEqual(yield* pathsOf(target), [...root, ...etc, "mnt", "mnt/used"])
          assert.deepStrictEqual(yield* pathsOf({ ...target, stubs: "keep" }), [
            ...[...root, "etc", "etc/hosts", "mnt", "mnt/dir", "mnt/used", "mnt/used/file"]
          ])

          yield* container.exec("echo kept > /mnt/used/own; : > /empty; mkdir /mnt/other")
          assert.deepStrictEqual(yield* pathsOf(target), [
            ...[...root, "empty", ...etc, "mnt", "mnt/other", "mnt/used", "mnt/used/own"]
          ])
        })
    )
  })
})
