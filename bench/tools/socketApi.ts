/** Calls to an API over HTTP on a unix socket: Docker's, and podman's. */
import { createReadStream } from "node:fs"
import { request } from "node:http"
import { text } from "node:stream/consumers"
import { Effect } from "effect"
import { DaemonError } from "../../test/support/Process.ts"

export interface Call {
  readonly socket: string
  readonly method: "GET" | "POST" | "PUT" | "DELETE"
  readonly path: string
  /** A tar file. */
  readonly body?: string | undefined
}

/** The body of the answer. Fails when the API says that it could not be done. */
export const call = ({ body, method, path, socket }: Call): Effect.Effect<string, DaemonError> =>
  Effect.callback((resume) => {
    const fail = (detail: string) => resume(Effect.fail(new DaemonError({ command: `${method} ${path}`, detail })))
    const headers = body === undefined ? {} : { "content-type": "application/x-tar" }
    const outgoing = request({ socketPath: socket, method, path, headers, timeout: 0 }, (response) => {
      const status = response.statusCode ?? 0
      text(response).then(
        (said) => (status < 300 ? resume(Effect.succeed(said)) : fail(`status ${status}: ${said}`)),
        (error) => fail(String(error))
      )
    })
    outgoing.on("error", (error) => fail(error.message))
    if (body === undefined) outgoing.end()
    else createReadStream(body).pipe(outgoing)
    return Effect.sync(() => outgoing.destroy())
  })

/** The answer and how long it took. */
export const timed = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<readonly [ms: number, A], E, R> =>
  Effect.suspend(() => {
    const started = performance.now()
    return Effect.map(effect, (value) => [performance.now() - started, value] as const)
  })
