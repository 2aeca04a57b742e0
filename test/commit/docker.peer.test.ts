import { request } from "node:http"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { Commit } from "effect-containerd"
import * as Container from "../support/Container.ts"
import { describeDaemons } from "../support/Daemons.ts"
import * as Dockerd from "../support/Dockerd.ts"
import * as Host from "../support/Host.ts"

/** `docker commit` without the start of the command: the call to the engine that it makes. */
const dockerCommit = (socketPath: string, container: string) =>
  Effect.callback<number, Error>((resume) => {
    const started = performance.now()
    const call = request(
      { socketPath, method: "POST", path: `/commit?container=${container}&repo=beside` },
      (response) => {
        response
          .resume()
          .on("end", () =>
            resume(
              response.statusCode === 201
                ? Effect.succeed(performance.now() - started)
                : Effect.fail(new Error(`docker commit: status ${response.statusCode}`))
            )
          )
      }
    )
    call.on("error", (error) => resume(Effect.fail(error))).end()
  })

const median = (values: ReadonlyArray<number>) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0

describeDaemons("beside docker commit on one containerd 2.x", () => {
  layer(Host.layer("2.x", { rootOnTmpfs: true }), { excludeTestServices: true })((it) => {
    it.effect(
      "takes no longer for a small change",
      () =>
        Effect.gen(function* () {
          const { base, containerd } = yield* Host.Host
          const dockerd = yield* Dockerd.start(containerd)
          yield* dockerd.docker(["load", "--input", base.archive])
          const id = (yield* dockerd.docker(["run", "-d", "--network", "none", base.ref, "sleep", "10000"])).trim()
          const container = yield* Container.run(containerd, { image: base.ref })
          const measure = Effect.gen(function* () {
            const ours: Array<number> = []
            const theirs: Array<number> = []
            for (let round = 0; round < 24; round++) {
              const change = `echo ${round} > /data/change.txt`
              yield* container.exec(change)
              yield* dockerd.docker(["exec", id, "sh", "-c", change])
              ours.push((yield* Commit.commit({ container: container.id, name: "beside" })).durationMs)
              theirs.push(yield* dockerCommit(dockerd.socket, id))
            }
            // The first commit of a process loads the interface definitions and opens the connection.
            return median(ours.slice(1)) / median(theirs.slice(1))
          })
          // Not by vitest, whose second try finds the daemons gone.
          const ratio = yield* Effect.repeat(measure, { until: (found) => found <= 1, times: 2 })
          assert.isAtMost(ratio, 1)
        }),
      { timeout: 120_000 }
    )
  })
})
