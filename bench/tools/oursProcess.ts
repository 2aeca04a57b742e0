/** The process with our library: it stays, as a service would, and does nothing but commit. Started by `ours.ts`. */
import { Cause, Effect, Exit, ManagedRuntime, Schema, Tracer } from "effect"
import { Commit, Docker } from "effect-containerd"
import { type Answer, Ask, isVariant, variants } from "./oursMessages.ts"

const [socket] = process.argv.slice(2)
const runtime = ManagedRuntime.make(Docker.layer({ socket }))

/** Each call to the daemon is a span of kind `client`. */
const counting = () => {
  let calls = 0
  const tracer = Tracer.make({
    span(options) {
      if (options.kind === "client") calls++
      return new Tracer.NativeSpan(options)
    }
  })
  return { tracer, calls: () => calls }
}

const commit = Effect.fnUntraced(function* (variant: string, { container, image }: Ask["jobs"][number]) {
  if (!isVariant(variant)) return yield* Effect.die(`no variant ${variant}`)
  const { calls, tracer } = counting()
  const options = { container, name: image, ...variants[variant] }
  const { differ, pausedMs, steps } = yield* Effect.withTracer(Commit.commit(options), tracer)
  return { differ, pausedMs, steps: { ...steps }, calls: calls() }
})

const all = Effect.fnUntraced(function* ({ jobs, variant }: Ask) {
  const started = performance.now()
  const said = yield* Effect.forEach(jobs, (job) => commit(variant, job), { concurrency: "unbounded" })
  return { _tag: "Done", ms: performance.now() - started, said } as const
})

const answer = async (message: unknown): Promise<Answer> => {
  const exit = await runtime.runPromiseExit(all(Schema.decodeUnknownSync(Ask)(message)))
  return Exit.match(exit, {
    onSuccess: (done) => done,
    onFailure: (cause) => ({ _tag: "Failed" as const, message: Cause.pretty(cause) })
  })
}

process.on("message", async (message) => process.send?.(await answer(message)))
process.on("disconnect", () => process.exit(0))
