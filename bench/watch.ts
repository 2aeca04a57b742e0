/** Watches from outside what a commit does: how long containers are frozen, how much memory it takes. */
import { type ChildProcess, fork } from "node:child_process"
import { fileURLToPath } from "node:url"
import { Effect, Schema, type Scope } from "effect"
import { Seen, type Watched } from "./watchMessages.ts"

export interface Watch {
  readonly begin: (watched: Watched) => Effect.Effect<void>
  /** A process that has been started since. */
  readonly follow: (pid: number) => void
  readonly end: Effect.Effect<Seen>
}

const script = fileURLToPath(new URL("watchProcess.ts", import.meta.url))

const ask = (child: ChildProcess, message: object): Effect.Effect<unknown> =>
  Effect.callback((resume) => {
    child.once("message", (answer) => resume(Effect.succeed(answer))).send(message)
  })

export const start: Effect.Effect<Watch, never, Scope.Scope> = Effect.gen(function* () {
  const child = yield* Effect.acquireRelease(
    Effect.sync(() => fork(script)),
    (running) => Effect.sync(() => void running.kill())
  )
  return {
    begin: (watched) => Effect.asVoid(ask(child, { watch: watched })),
    follow: (pid) => void child.send({ follow: pid }),
    end: Effect.suspend(() => ask(child, { stop: true })).pipe(
      Effect.flatMap((seen) => Effect.orDie(Schema.decodeUnknownEffect(Seen)(seen)))
    )
  }
})
