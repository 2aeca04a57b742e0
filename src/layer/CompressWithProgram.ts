/**
 * Compresses with a program as a child process.
 *
 * @since 0.1.0
 */
import * as NodeStream from "@effect/platform-node/NodeStream"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as LentBytes from "../internal/LentBytes.ts"
import * as ChildProcess from "./ChildProcess.ts"
import type { Chunk } from "./CompressChunks.ts"
import type { Engine } from "./Compressor.ts"
import { LayerError } from "./LayerError.ts"

export type Program = Exclude<Engine, "node">

/**
 * Neither a time nor a name goes into the header, and the number of threads changes no byte. For one thread pigz has
 * another way, so it gets two; that of zstd is not `-T1`.
 */
const args = (program: Program, level: number, cores: number): ReadonlyArray<string> => {
  switch (program) {
    case "igzip":
      return [`-${level}`, "-n", "-c"]
    case "pigz":
      return [`-${level}`, "-n", "-c", "-p", String(Math.max(2, cores))]
    case "zstd":
      return [`-${level}`, "-q", "-c", `-T${cores}`]
  }
}

/** Chunks that are ready for the program while it takes one, so that it need not wait. */
const ahead = 2

/** Stdout ends in the same way for a program that was killed; only how it ended tells. */
const ended = (child: ChildProcess.Child, program: Program): Effect.Effect<void, LayerError> =>
  Effect.flatMap(
    Effect.promise(() => child.done),
    (outcome) =>
      outcome.code === 0 ? Effect.void : Effect.fail(ChildProcess.failure(program, "compress the layer", outcome))
  )

/** It takes no more, though more was to come. */
const refused = (child: ChildProcess.Child, program: Program): Effect.Effect<never, LayerError> =>
  Effect.andThen(
    ended(child, program),
    new LayerError({ kind: "files", message: `${program} ended before it had read the whole layer` })
  )

const send = (child: ChildProcess.Child, program: Program) => (chunk: Chunk) =>
  Effect.callback<void, LayerError>((resume) => {
    child.stdin.write(chunk.bytes, (error) => {
      chunk.release()
      resume(error == null ? Effect.void : refused(child, program))
    })
  })

/** Killed when the stream ends, however it ends. Fails with what the program said. */
export const compressWith =
  (program: Program, level: number, cores: number) =>
  <E, R>(chunks: Stream.Stream<Chunk, E, R>): Stream.Stream<Uint8Array, E | LayerError, R> =>
    Stream.unwrap(
      Effect.gen(function* () {
        const child = yield* ChildProcess.startScoped(program, args(program, level, cores), program)
        const written = chunks.pipe(
          Stream.buffer({ capacity: ahead }),
          Stream.runForEach(send(child, program)),
          Effect.andThen(Effect.sync(() => child.stdin.end()))
        )
        const output = NodeStream.fromReadable<Uint8Array, LayerError>({
          evaluate: () => child.stdout,
          onError: (cause) => new LayerError({ kind: "files", message: `${program}: ${String(cause)}`, cause })
        })
        return output.pipe(
          Stream.map(LentBytes.once),
          Stream.concat(Stream.fromEffectDrain(ended(child, program))),
          Stream.merge(Stream.fromEffectDrain(written))
        )
      })
    )
