/**
 * The documents of our images beside those that `docker commit` writes for the same containers: equal, field by field,
 * but for what GoldenDifferences.ts tells.
 */
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { isDeepStrictEqual } from "node:util"
import { assert, layer } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { Containerd } from "effect-containerd"
import * as BaseImage from "../support/BaseImage.ts"
import * as RealContainerd from "../support/Containerd.ts"
import { describeDaemons } from "../support/Daemons.ts"
import * as Dockerd from "../support/Dockerd.ts"
import { type Commits, commits, refOf } from "./Golden.ts"
import { cases, parents } from "./GoldenCases.ts"
import { differences, differing, expected } from "./GoldenDifferences.ts"

/** Both images of every case. */
class Golden extends Context.Service<Golden, ReadonlyArray<Commits>>()("test/Golden") {}

const load = (dockerd: Dockerd.RunningDockerd) =>
  Effect.fnUntraced(function* ([name, options]: readonly [string, BaseImage.Options]) {
    const { archive } = yield* BaseImage.busybox({ ...options, ref: refOf(name) })
    yield* dockerd.docker(["load", "--input", archive])
  })

const golden = Layer.effect(
  Golden,
  Effect.gen(function* () {
    const containerd = yield* RealContainerd.start("2.x")
    const dockerd = yield* Dockerd.start(containerd)
    yield* Effect.forEach(Object.entries<BaseImage.Options>(parents), load(dockerd), { concurrency: 4 })
    const file = join(dockerd.directory, "added")
    writeFileSync(file, "added\n")
    return yield* Effect.forEach(cases, (one) => commits(dockerd, one, file), { concurrency: 4 }).pipe(
      Effect.provide(Containerd.layer({ address: containerd.address, namespace: "moby" }))
    )
  })
)

const byField = <A extends { readonly field: string }>(list: ReadonlyArray<A>) =>
  list.toSorted((a, b) => (a.field < b.field ? -1 : 1))

const differencesFile = new URL("../../docs/differences-from-docker.md", import.meta.url)

describeDaemons("beside docker commit", () => {
  layer(golden, { excludeTestServices: true, timeout: 120_000 })((it) => {
    it.effect(
      `${cases.length} containers with their changes give the same documents, but for the differences; moby TestCommitChange, podman published ports`,
      () =>
        Effect.gen(function* () {
          const all = yield* Golden
          assert.lengthOf(all, cases.length)
          const wrong = all.flatMap((one) => {
            const found = byField(differing(one))
            const wanted = byField(expected(one))
            const ours = found.map(({ field, ours }) => ({ field, ours }))
            return isDeepStrictEqual(ours, wanted) ? [] : [{ name: one.one.name, wanted, found }]
          })
          assert.deepStrictEqual(wrong, [])
        }),
      120_000
    )

    it.effect("each difference is there, and none that is not in the table for users", () =>
      Effect.gen(function* () {
        const all = yield* Golden
        const fields = new Set(all.flatMap((one) => differing(one)).map(({ field }) => field))
        assert.deepStrictEqual([...fields].sort(), differences.map(({ field }) => field).sort())
        const table = readFileSync(differencesFile, "utf8")
        for (const { field, reason } of differences) assert.include(table, `| ${field} | ${reason} |`)
      })
    )
  })
})
