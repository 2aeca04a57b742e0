/** This library, in a process of its own, on the containers of a Docker Engine. */
import { type ChildProcess, fork } from "node:child_process"
import { fileURLToPath } from "node:url"
import { Effect, Schema, type Scope } from "effect"
import * as Cache from "../../test/support/Cache.ts"
import { DaemonError } from "../../test/support/Process.ts"
import type { Engine } from "./docker.ts"
import { Answer, type Ask, type Variant } from "./oursMessages.ts"
import type { Committer, Done, Job } from "./Place.ts"

const script = fileURLToPath(new URL("oursProcess.ts", import.meta.url))

/** The library as its users have it (`npm run build`), or as it stands in `src`. */
export type Form = "built" | "sources"

/** With the compressors that the variants name, which the machine itself need not have. */
const startChild = (socket: string, form: Form): Effect.Effect<ChildProcess, never, Scope.Scope> => {
  const env = { ...process.env, PATH: Cache.path(["igzip", "zstd"]) }
  return Effect.acquireRelease(
    Effect.sync(() => fork(script, [socket], { env, execArgv: form === "built" ? [] : process.execArgv })),
    (child) => Effect.sync(() => void child.kill())
  )
}

const ask = (child: ChildProcess, question: Ask): Effect.Effect<Done, DaemonError> => {
  const failed = (detail: string) => new DaemonError({ command: `commit with ${question.variant}`, detail })
  return Effect.callback<unknown, DaemonError>((resume) => {
    const end = (result: Effect.Effect<unknown, DaemonError>) => {
      child.off("message", onMessage).off("exit", onExit)
      resume(result)
    }
    const onMessage = (message: unknown) => end(Effect.succeed(message))
    const onExit = () => end(Effect.fail(failed("the process with the library ended")))
    child.on("message", onMessage).on("exit", onExit).send(question)
  }).pipe(
    Effect.flatMap((message) => Effect.orDie(Schema.decodeUnknownEffect(Answer)(message))),
    Effect.flatMap((answer) => (answer._tag === "Done" ? Effect.succeed(answer) : Effect.fail(failed(answer.message))))
  )
}

const jobsOf = (jobs: ReadonlyArray<Job>) => jobs.map(({ image, subject }) => ({ container: subject.id, image }))

/** Each variant has a process, so that none shows the memory that another has left. */
export const start = Effect.fnUntraced(function* (
  { dockerd, place }: Engine,
  containerdPid: number,
  form: Form,
  variant: Variant
): Effect.fn.Return<Committer, never, Scope.Scope> {
  const child = yield* startChild(dockerd.socket, form)
  return {
    name: `ours: ${variant}`,
    place,
    own: child.pid === undefined ? [] : [child.pid],
    daemons: [dockerd.pid, containerdPid],
    commit: (jobs) => ask(child, { variant, jobs: jobsOf(jobs) })
  }
})
