/**
 * Run by a test, perhaps as another user: `replaceTopProgram.ts DIRECTORY ROUNDS`. Makes a container under one id,
 * changes it, commits it with `replaceTop` and removes it, again and again, each time from the image that it was
 * committed to. Prints what came of each round, and how long the last ones take beside those of a series that begins.
 */
import * as Fs from "node:fs"
import { join } from "node:path"
import { Duration, Effect, Layer } from "effect"
import { Commit, Embedded } from "effect-containerd"
import { collect } from "./Cases.ts"
import { documentsOf } from "./Commits.ts"

const [directory = "", rounds = ""] = process.argv.slice(2)
const [base, saved] = ["localhost/base:1", "localhost/saved:1"]

const nameOf = (round: number) => `only-${String(round).padStart(6, "0")}`

/** What one round adds the next one deletes; sizes stay what they are. */
const change = (rootfs: string, round: number): void => {
  Fs.writeFileSync(join(rootfs, "state"), String(round).padEnd(2000, "."))
  Fs.writeFileSync(join(rootfs, nameOf(round)), "x")
  Fs.rmSync(join(rootfs, nameOf(round - 1)), { force: true })
}

/** Blobs and snapshots; records are in a database. */
const bytesBelow = (root: string): number =>
  ["blobs", ".effect-containerd/snapshots"]
    .flatMap((path) => Fs.readdirSync(join(root, path), { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .reduce((sum, { name, parentPath }) => sum + Fs.statSync(join(parentPath, name)).size, 0)

const commitOnce = Effect.fnUntraced(function* (round: number) {
  const { id, rootfs } = yield* Embedded.createContainer(round === 1 ? base : saved, { id: "one" })
  change(rootfs, round)
  // With a time of its own, no two images differ in length.
  const created = "2025-01-01T00:00:00Z"
  yield* Commit.commit({ container: id, name: saved, replaceTop: true, compression: "uncompressed", created })
  yield* Embedded.removeContainer(id)
})

const look = Effect.gen(function* () {
  const { config, layers, manifest } = yield* documentsOf(saved)
  const bytes = [manifest.config, ...layers].reduce((sum, { size }) => sum + size, 0)
  return { layers: layers.length, steps: config.history?.length ?? 0, bytes }
})

/** Of an own root, with the base image in it. */
const startSeries = Effect.fnUntraced(function* (name: string) {
  const root = join(directory, name)
  const context = yield* Layer.build(Embedded.layer({ root }))
  let round = 0
  const tree = join(directory, `${name}-tree`)
  Fs.mkdirSync(join(tree, "etc"), { recursive: true })
  Fs.writeFileSync(join(tree, "etc/base"), "base")
  yield* Effect.provide(Embedded.fromDirectory(tree, { name: base }), context)
  const next = Effect.suspend(() => commitOnce(++round)).pipe(Effect.provide(context))
  return {
    next,
    look: Effect.provide(look, context),
    bytes: Effect.map(Effect.provide(collect, context), () => bytesBelow(root))
  }
})

const median = (numbers: ReadonlyArray<number>) => numbers.toSorted((a, b) => a - b)[numbers.length >> 1] ?? 0

const timed = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.timed(self), ([time]) => Duration.toMillis(time))

const times = (count: number) => Array.from({ length: count }, (_, i) => i)

const program = Effect.gen(function* () {
  const long = yield* startSeries("long")
  const lookAtNext = Effect.andThen(long.next, long.look)
  const first = yield* Effect.forEach(times(10), () => lookAtNext)
  const early = yield* long.bytes
  const rest = yield* Effect.forEach(times(Number(rounds) - 20), () => lookAtNext)
  // In turns, for whatever else this machine does would make one of them slower.
  const young = yield* startSeries("young")
  yield* young.next
  const pairs = yield* Effect.forEach(times(10), () => Effect.all({ old: timed(long.next), young: timed(young.next) }))
  const ms = { old: median(pairs.map(({ old }) => old)), young: median(pairs.map((pair) => pair.young)) }
  return { looks: [...first, ...rest, yield* long.look], kept: { early, late: yield* long.bytes }, ms }
}).pipe(Effect.scoped)

process.stdout.write(JSON.stringify(await Effect.runPromise(program)))
