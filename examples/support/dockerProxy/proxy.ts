/** A second endpoint of a Docker Engine, whose commits are ours. */
import { NodeHttpClient } from "@effect/platform-node"
import { Effect, FiberSet, Layer } from "effect"
import type { HttpClient } from "effect/http"
import type { Containerd } from "effect-containerd"
import { Docker } from "effect-containerd"
import * as Channel from "./channel.ts"
import { answer } from "./commitAnswer.ts"
import { routeOf } from "./commitRequest.ts"
import * as Events from "./events.ts"
import type { Head } from "./httpMessage.ts"
import { listen } from "./listen.ts"
import { type Request, relay } from "./relay.ts"

export interface Options {
  /** The path of the new socket. */
  readonly listen: string
  /** The path of dockerd's. */
  readonly docker: string
}

export interface Backend {
  /** The path of dockerd's socket. */
  readonly docker: string
  /** That of containerd's. Default: what dockerd says. */
  readonly address?: string | undefined
}

/**
 * Serves until the scope ends: then nobody is accepted any more, the commits that are under way are interrupted and
 * cleaned up, and all connections are closed.
 */
export const start = Effect.fnUntraced(function* (options: Options) {
  const run = yield* FiberSet.makeRuntime<Containerd.Services | HttpClient.HttpClient, void>()
  const events = yield* Events.make
  const relayOptions = {
    docker: options.docker,
    joining: events.joining,
    isOurs: (head: Head) => routeOf(head) !== undefined,
    answer: (request: Request) => answer(request, routeOf(request.head) ?? { version: "", query: "" }, events.publish)
  }
  yield* listen(options.listen, options.docker, (socket) => void run(relay(Channel.make(socket), relayOptions)))
})

/** What `start` needs. */
export const layer = ({ address, docker }: Backend) =>
  Layer.merge(Docker.layer({ socket: docker, address }), NodeHttpClient.layerNodeHttpOptions({ socketPath: docker }))
