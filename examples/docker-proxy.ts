/**
 * An endpoint of a Docker Engine whose commits are ours:
 * `npm run docker-proxy -- [--listen PATH] [--docker SOCKET] [--address PATH]`.
 *
 * `POST /commit` is answered with this library's pipeline; every other request goes to dockerd as it is, and its answer
 * comes back as it is. What to set `DOCKER_HOST` to goes to stdout, everything else to stderr. Runs until it is
 * interrupted. Exit codes: 1 failed, 2 bad usage, 130 interrupted.
 */
import { mkdirSync } from "node:fs"
import { dirname, join, resolve } from "node:path"
import { Config, Console, Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import { Docker } from "effect-containerd"
import { failed, runMain, Usage } from "./support/cli.ts"
import * as DockerProxy from "./support/dockerProxy/proxy.ts"

const path = (name: string, description: string) =>
  Flag.String(name).pipe(Flag.withDescription(description), Flag.optional)

const flags = {
  listen: path("listen", "The path of the new socket; else effect-containerd/docker.sock in XDG_RUNTIME_DIR or /run"),
  docker: path("docker", "The path of dockerd's socket; else DOCKER_HOST, else /var/run/docker.sock"),
  address: path("address", "The path of containerd's socket; else what dockerd says")
}

/** A directory where nobody else can put a socket in our place. */
const runtimeDirectory = Effect.gen(function* () {
  const directory = Option.getOrUndefined(yield* Config.option(Config.String("XDG_RUNTIME_DIR")))
  if (directory !== undefined) return directory
  if (process.getuid?.() === 0) return "/run"
  return yield* new Usage({ message: "there is no XDG_RUNTIME_DIR: give the path of the new socket with --listen" })
})

const defaultListen = Effect.gen(function* () {
  const socket = join(yield* runtimeDirectory, "effect-containerd", "docker.sock")
  yield* Effect.try({
    try: () => mkdirSync(dirname(socket), { recursive: true, mode: 0o755 }),
    catch: failed("give the path of the new socket with --listen")
  })
  return socket
})

const dockerOf = Effect.fnUntraced(function* (given: Option.Option<string>) {
  const { socket = "/var/run/docker.sock" } = Option.isSome(given)
    ? { socket: given.value.replace(/^unix:\/\//, "") }
    : yield* Docker.config
  if (/^[a-z]+:\/\//.test(socket)) {
    return yield* new Usage({ message: `${socket} is no unix socket: give the path of dockerd's with --docker` })
  }
  return resolve(socket)
})

const proxy = Command.make(
  "docker-proxy",
  flags,
  Effect.fnUntraced(function* (args) {
    const docker = yield* dockerOf(args.docker)
    const listen = resolve(Option.isSome(args.listen) ? args.listen.value : yield* defaultListen)
    // After `export DOCKER_HOST=…` in the same shell.
    if (listen === docker) {
      return yield* new Usage({ message: `${docker} is the proxy's own socket: give dockerd's with --docker` })
    }
    yield* Effect.gen(function* () {
      yield* DockerProxy.start({ listen, docker })
      yield* Console.log(`export DOCKER_HOST=unix://${listen}`)
      return yield* Effect.never
    }).pipe(Effect.scoped, Effect.provide(DockerProxy.layer({ docker, address: Option.getOrUndefined(args.address) })))
  })
).pipe(Command.withDescription("Offer a Docker Engine on a second socket, with commits by effect-containerd"))

runMain(Command.runWith(proxy, { version: "0.1.0" })(process.argv.slice(2)), ({ _tag }) =>
  _tag === "Usage" || _tag === "ConfigError" ? 2 : 1
)
