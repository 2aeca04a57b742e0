import { assert, layer } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { type Containerd as Client, Commit } from "effect-containerd"
import * as Container from "../support/Container.ts"
import type { Version } from "../support/Containerd.ts"
import { describeDaemons } from "../support/Daemons.ts"
import * as Host from "../support/Host.ts"
import type { DaemonError } from "../support/Process.ts"

/** Times are those of the machine, so they are clamped. */
const change = `
echo one > /one && mkdir /data/new && ln /one /data/new/two && ln -s one /link
rm /data/delete.txt && rm -r /data/opaque && chmod 600 /data/change.txt
`

class Machines extends Context.Service<
  Machines,
  ReadonlyArray<Layer.Layer<Host.Host | Client.Services, DaemonError>>
>()("test/Machines") {}

const versions: ReadonlyArray<Version> = ["2.x", "2.x"]
const machines = Layer.succeed(
  Machines,
  versions.map((version) => Host.layer(version))
)

describeDaemons("two machines", () => {
  layer(machines, { excludeTestServices: true })((it) => {
    it.effect("give the same digests for the same state and time", () =>
      Effect.gen(function* () {
        const committed = yield* Effect.forEach(yield* Machines, (machine) =>
          Effect.gen(function* () {
            const { base, containerd } = yield* Host.Host
            const container = yield* Container.run(containerd, { image: base.ref })
            yield* container.exec(change)
            const options = { created: "2024-05-06T07:08:09Z", rewriteTimestamp: true }
            const { config, image, layer } = yield* Commit.commit({
              container: container.id,
              name: "same:1",
              ...options
            })
            return { config, image, layer }
          }).pipe(Effect.scoped, Effect.provide(machine))
        )
        assert.deepStrictEqual(committed[1], committed[0])
      })
    )
  })
})
