import { request } from "node:http"
import { join } from "node:path"
import { assert, layer } from "@effect/vitest"
import { Effect, Option } from "effect"
import { Commit } from "effect-containerd"
import { describeDaemons } from "../support/Daemons.ts"
import { run as runProgram } from "../support/Process.ts"
import { describeEngines, docker, Engine, layer as engine, runDetached, sandboxed } from "./Engine.ts"

const stateOf = (id: string) => docker("inspect", "-f", "{{.State.Status}} {{.State.Dead}}", id)

/** What dockerd itself says of a commit. */
const dockerCommit = Effect.fnUntraced(function* (id: string) {
  const { socket: socketPath } = yield* Engine
  return yield* Effect.callback<{ readonly status: number | undefined; readonly text: string }>((resume) => {
    request({ socketPath, method: "POST", path: `/commit?container=${id}` }, (response) => {
      const chunks: Array<Buffer> = []
      response
        .on("data", (chunk: Buffer) => void chunks.push(chunk))
        .on("end", () => {
          resume(Effect.succeed({ status: response.statusCode, text: Buffer.concat(chunks).toString() }))
        })
    }).end()
  })
})

/** Both refuse it, in the same words. */
const refused = Effect.fnUntraced(function* (id: string) {
  const error = yield* Effect.flip(Commit.commit({ container: id }))
  const { status, text } = yield* dockerCommit(id)
  assert.deepStrictEqual([error.step, error.reason._tag, error.isRetryable], ["resolve", "Uncommittable", false])
  assert.strictEqual(status, 409)
  assert.deepStrictEqual(JSON.parse(text), { message: error.reason.message })
})

describeDaemons("containers of a Docker Engine that run in gVisor", () => {
  layer(sandboxed, { excludeTestServices: true })((it) => {
    it.effect("are refused, for their files are not in the snapshot, and committed when that is allowed", () =>
      Effect.gen(function* () {
        const script = "echo 1 > /1; dmesg; exec sleep 1000"
        const id = yield* docker("run", "-d", "--network", "none", "--runtime", "secure", "base:1", "sh", "-c", script)
        // gVisor ends now and then by itself, on some kernels.
        const logs = Effect.andThen(docker("start", id), docker("logs", id))
        const said = yield* Effect.repeat(logs, { until: (log) => log.includes("gVisor"), times: 50 })
        assert.include(said, "gVisor")
        const error = yield* Effect.flip(Commit.commit({ container: id }))
        assert.strictEqual(error.reason._tag, "Uncommittable")
        assert.match(error.message, /the container runs in gVisor, .*: allow sandboxed containers/)
        assert.isTrue(Option.isNone((yield* Commit.commit({ container: id, allowSandboxed: true })).layer))
        yield* docker("rm", "-f", id)
      })
    )
  })
})

describeEngines("containers of a Docker Engine, by their state", (version) => {
  layer(engine(version), { excludeTestServices: true })((it) => {
    it.effect("are refused when they are dead, as Docker refuses them", () =>
      Effect.gen(function* () {
        const { directory } = yield* Engine
        const id = yield* docker("create", "--network", "none", "base:1", "sh")
        const config = join(directory, "root", "containers", id, "hostconfig.json")
        yield* Effect.gen(function* () {
          yield* Effect.acquireRelease(runProgram("chattr", ["+i", config]), () =>
            Effect.orDie(runProgram("chattr", ["-i", config]))
          )
          yield* Effect.flip(docker("rm", id))
          assert.strictEqual(yield* stateOf(id), "dead true")
          yield* refused(id)
        }).pipe(Effect.scoped)
        yield* docker("rm", id)
      })
    )

    it.effect("stay paused when somebody has paused them", () =>
      Effect.gen(function* () {
        const id = yield* runDetached("echo 1 > /1")
        yield* docker("pause", id)
        const { pausedMs } = yield* Commit.commit({ container: id, name: "paused:1" })
        assert.strictEqual(pausedMs, 0)
        assert.strictEqual(yield* stateOf(id), "paused false")
        yield* docker("rm", "-f", id)
        yield* docker("rmi", "paused:1")
      })
    )
  })
})
