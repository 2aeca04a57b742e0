/**
 * How many calls to containerd a commit makes, ours and Docker's, counted in the same way: a relay in front of the
 * socket counts the streams of HTTP/2 that a client opens. With daemons of its own, for the relay takes time.
 */
import { createConnection, createServer } from "node:net"
import { join } from "node:path"
import { Effect, type Scope } from "effect"
import * as Containerd from "../test/support/Containerd.ts"
import type { DaemonError } from "../test/support/Process.ts"
import * as Docker from "./tools/docker.ts"
import * as Ours from "./tools/ours.ts"
import type { Variant } from "./tools/oursMessages.ts"
import type { Committer, Subject } from "./tools/Place.ts"
import * as Trees from "./trees.ts"

export interface Calls {
  readonly what: string
  readonly docker: number
  readonly ours: number
}

const preface = 24
const header = 9
const headersType = 1

/** Counts frames of one connection, whose pieces end anywhere. */
const frameCounter = (found: () => void) => {
  let pending = Buffer.alloc(0)
  let skip = preface
  return (piece: Buffer): void => {
    pending = Buffer.concat([pending, piece])
    for (;;) {
      const skipped = Math.min(skip, pending.length)
      pending = pending.subarray(skipped)
      skip -= skipped
      if (skip > 0 || pending.length < header) return
      if (pending[3] === headersType) found()
      skip = header + pending.readUIntBE(0, 3)
    }
  }
}

interface Relay {
  readonly address: string
  readonly count: () => number
}

const relay = (address: string, target: string): Effect.Effect<Relay, never, Scope.Scope> => {
  let streams = 0
  const server = createServer((client) => {
    const counter = frameCounter(() => streams++)
    const daemon = createConnection(target)
    client.on("data", counter).on("error", () => daemon.destroy())
    daemon.on("error", () => client.destroy())
    client.pipe(daemon).pipe(client)
  })
  return Effect.acquireRelease(
    Effect.callback<Relay>((resume) => {
      server.listen(address, () => resume(Effect.succeed({ address, count: () => streams })))
    }),
    () => Effect.sync(() => void server.close())
  )
}

/** The second one, as everywhere: the first asks for more. */
const countOf = Effect.fnUntraced(function* (committer: Committer, subject: Subject, count: () => number) {
  const job = { subject, image: `bench-${committer.place.name}-calls:1` }
  const commit = committer.commit([job], () => undefined)
  const remove = committer.place.remove(job.image)
  yield* commit
  yield* remove
  const before = count()
  yield* commit
  const calls = count() - before
  yield* remove
  return calls
})

/** Docker's commit and ours of one container. */
const measureOn = Effect.fnUntraced(function* (
  containerd: Containerd.RunningContainerd,
  name: "docker" | "docker-userns",
  tar: string
) {
  const { address, count } = yield* relay(join(containerd.directory, `${name}.sock`), containerd.address)
  const engine = yield* Docker.start({ ...containerd, address }, name)
  const subject = yield* engine.place.run(engine.place.base)
  const beside = Effect.fnUntraced(function* (what: string, variant: Variant) {
    const docker = yield* countOf(engine.committer, subject, count)
    const ours = yield* Ours.start(engine, containerd.pid, "sources", variant)
    const calls = yield* countOf(ours, subject, count)
    return { what: `${what}${name === "docker" ? "" : ", userns-remap"}`, docker, ours: calls }
  })
  const unchanged = yield* beside("nothing changed", "host, gzip")
  yield* engine.place.write(subject, tar)
  return [
    unchanged,
    yield* beside("one file, host", "host, gzip"),
    yield* beside("one file, containerd", "containerd, gzip")
  ]
})

export const measure = Effect.fnUntraced(function* (
  directory: string
): Effect.fn.Return<ReadonlyArray<Calls>, DaemonError, Scope.Scope> {
  const tar = join(directory, "calls.tar")
  yield* Trees.write({ directories: 1, files: 1, bytes: 1, change: true }, tar)
  const containerd = yield* Containerd.start("2.x", { rootOnTmpfs: true })
  const plain = yield* measureOn(containerd, "docker", tar)
  return [...plain, ...(yield* measureOn(containerd, "docker-userns", tar))]
})
