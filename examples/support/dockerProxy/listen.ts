/** The proxy's own socket: for nobody whom dockerd's would not let in. */
import { chmodSync, chownSync, lstatSync, statSync, unlinkSync } from "node:fs"
import { createServer, type Server, type Socket } from "node:net"
import { Effect, type Scope } from "effect"
import { Failed, failed } from "../cli.ts"
import * as Channel from "./channel.ts"

const codeOf = (error: unknown) => (error instanceof Error && "code" in error ? error.code : undefined)

/** One user may give a file to a group of his, but not to another user: then he is the only other one to use it. */
const giveTo = (path: string, uid: number, gid: number) => {
  for (const owner of [uid, -1]) {
    try {
      chownSync(path, owner, gid)
      return true
    } catch (error) {
      if (codeOf(error) !== "EPERM") throw error
    }
  }
  return false
}

/** Owner, group and mode of dockerd's socket. Until then the socket is only its maker's. */
const shareAs = (path: string, docker: string) => {
  const { gid, mode, uid } = statSync(docker)
  if (giveTo(path, uid, gid)) chmodSync(path, mode & 0o660)
}

const bind = (server: Server, path: string) =>
  Effect.callback<void, NodeJS.ErrnoException>((resume) => {
    const refuse = (error: NodeJS.ErrnoException) => resume(Effect.fail(error))
    server.once("error", refuse)
    // The file appears in the call: nobody else runs in between.
    const before = process.umask(0o177)
    try {
      server.listen(path, () => {
        server.off("error", refuse)
        resume(Effect.void)
      })
    } finally {
      process.umask(before)
    }
  })

const advice = "give another path with --listen"

/** Removes a socket that nobody listens on any more, and nothing else. */
const removeStale = Effect.fnUntraced(function* (path: string) {
  if (!lstatSync(path).isSocket()) return yield* new Failed({ message: `${path} is no socket: ${advice}` })
  yield* Effect.scoped(Channel.open(path)).pipe(
    Effect.matchEffect({
      onSuccess: () => Effect.fail(new Failed({ message: `somebody listens on ${path} already: ${advice}` })),
      onFailure: ({ cause }) => (codeOf(cause) === "ECONNREFUSED" ? Effect.void : Effect.fail(failed(advice)(cause)))
    })
  )
  unlinkSync(path)
})

const open = Effect.fnUntraced(function* (server: Server, path: string) {
  const refused = bind(server, path)
  yield* refused.pipe(
    Effect.catchIf(
      ({ code }) => code === "EADDRINUSE",
      () => Effect.andThen(removeStale(path), bind(server, path))
    ),
    Effect.mapError((error) => (error instanceof Failed ? error : failed(advice)(error)))
  )
})

/** Accepts connections until the scope ends. The socket's file is gone then. */
export const listen = (
  path: string,
  docker: string,
  onConnection: (socket: Socket) => void
): Effect.Effect<void, Failed, Scope.Scope> =>
  Effect.gen(function* () {
    const server = yield* Effect.acquireRelease(
      Effect.sync(() => createServer({ allowHalfOpen: true }, onConnection)),
      // Connections have their own ends.
      (server) => Effect.sync(() => void server.close())
    )
    yield* open(server, path)
    yield* Effect.try({
      try: () => shareAs(path, docker),
      catch: failed("the proxy's socket needs the rights of dockerd's")
    })
  })
