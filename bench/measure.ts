/** Measures one case on one file system: all tools in turn, on containers with the same files. */
import { join } from "node:path"
import { Console, Effect, type Scope } from "effect"
import { type DaemonError, run } from "../test/support/Process.ts"
import type { Bed, FileSystem } from "./bed.ts"
import type { Case } from "./cases.ts"
import type { Said } from "./tools/oursMessages.ts"
import type { Committer, Content, Job, Place, Subject } from "./tools/Place.ts"
import * as Trees from "./trees.ts"
import type { Watch } from "./watch.ts"

/** One commit, or several at once. */
export interface Run {
  readonly ms: number
  /** As the watcher saw it, to 2 ms. */
  readonly frozenMs: number
  readonly ownPeak: number
  readonly daemonsPeak: number
  /** Bytes that the image adds to the one that it was made from. */
  readonly size: number
  readonly said: ReadonlyArray<Said>
}

export interface Measured {
  readonly case: string
  readonly fileSystem: FileSystem
  readonly tool: string
  readonly runs: ReadonlyArray<Run>
  /** Of the last image, unpacked again. */
  readonly content: Content
}

interface Scene {
  readonly image: string
  readonly subjects: ReadonlyArray<Subject>
}

const tarOf = (directory: string, name: string) => join(directory, `${name}.tar`)

/** An image with the files, made by the place's own tool. */
const baseOf = Effect.fnUntraced(function* (place: Place, tar: string, id: string) {
  const image = `bench-${place.name}-${id}:1`
  yield* Effect.scoped(
    Effect.gen(function* () {
      const subject = yield* place.run(place.base)
      yield* place.write(subject, tar)
      yield* place.save(subject, image)
    })
  )
  yield* Effect.addFinalizer(() => Effect.ignoreCause(place.remove(image)))
  return image
})

const sceneOf = (place: Place, { base, change, containers, id }: Case, directory: string) =>
  Effect.gen(function* () {
    const image = base === undefined ? place.base : yield* baseOf(place, tarOf(directory, "base"), id)
    const subjects = yield* Effect.replicateEffect(place.run(image), containers)
    if (change !== undefined) {
      yield* Effect.forEach(subjects, (subject) => place.write(subject, tarOf(directory, "change")))
    }
    return { image, subjects } satisfies Scene
  })

/** The image's place is what a tool's images are in, so a tool needs no other name for them than its own. */
const jobsOf = ({ place }: Committer, { subjects }: Scene): ReadonlyArray<Job> =>
  subjects.map((subject, i) => ({ subject, image: `bench-${place.name}-result:${i}` }))

const sizeOf = ({ place }: Committer, jobs: ReadonlyArray<Job>, scene: Scene) =>
  Effect.gen(function* () {
    const sizes = yield* Effect.forEach(jobs, ({ image }) => place.size(image))
    return sizes.reduce((sum, size) => sum + size, 0) - jobs.length * (yield* place.size(scene.image))
  })

const removeAll = ({ place }: Committer, jobs: ReadonlyArray<Job>) =>
  Effect.forEach(jobs, ({ image }) => place.remove(image), { discard: true })

/** What was written before is on the disk before it starts, and does not slow it down. */
const once = Effect.fnUntraced(function* (committer: Committer, scene: Scene, watch: Watch) {
  const jobs = jobsOf(committer, scene)
  const { daemons, own } = committer
  yield* run("sync", ["--file-system", committer.place.directory])
  yield* watch.begin({ own, daemons, containers: scene.subjects.flatMap(({ pid }) => pid ?? []) })
  const { ms, said } = yield* committer.commit(jobs, watch.follow)
  const { daemonsPeak, frozenMs, ownPeak } = yield* watch.end
  const size = yield* sizeOf(committer, jobs, scene)
  const measured: Run = { ms, frozenMs, ownPeak, daemonsPeak, size, said }
  return { jobs, measured }
})

const onceAndGone = (committer: Committer, scene: Scene, watch: Watch) =>
  once(committer, scene, watch).pipe(
    Effect.tap(({ jobs }) => removeAll(committer, jobs)),
    Effect.map(({ measured }) => measured)
  )

/** Of one image: it was committed as the measured ones were. */
const contentOf = Effect.fnUntraced(function* (committer: Committer, scene: Scene, watch: Watch) {
  const { jobs } = yield* once(committer, scene, watch)
  const content = yield* Effect.scoped(committer.place.look(jobs[0]?.image ?? ""))
  yield* removeAll(committer, jobs)
  return content
})

const rotated = <A>(all: ReadonlyArray<A>, by: number): ReadonlyArray<A> => [
  ...all.slice(by % all.length),
  ...all.slice(0, by % all.length)
]

export interface Settings {
  readonly fileSystem: FileSystem
  readonly runs: number
  /** For tar files. */
  readonly directory: string
}

const writeTrees = ({ base, change }: Case, directory: string) =>
  Effect.all([
    base === undefined ? Effect.void : Trees.write(base, tarOf(directory, "base")),
    change === undefined ? Effect.void : Trees.write(change, tarOf(directory, "change"))
  ])

const scenesOf = Effect.fnUntraced(function* (
  committers: ReadonlyArray<Committer>,
  wanted: Case,
  directory: string
): Effect.fn.Return<ReadonlyMap<Place, Scene>, DaemonError, Scope.Scope> {
  yield* writeTrees(wanted, directory)
  const places = [...new Set(committers.map(({ place }) => place))]
  const scenes = yield* Effect.forEach(places, (place) =>
    Effect.map(sceneOf(place, wanted, directory), (scene) => [place, scene] as const)
  )
  return new Map(scenes)
})

/** The first commit of each is not measured: it loads what a service has loaded long ago. Its image is looked at. */
export const measure = Effect.fnUntraced(function* (
  wanted: Case,
  bed: Bed,
  watch: Watch,
  { directory, fileSystem, runs: usual }: Settings
): Effect.fn.Return<ReadonlyArray<Measured>, DaemonError, Scope.Scope> {
  const { runs = usual } = wanted
  const committers = yield* bed.committers(wanted)
  const scenes = yield* scenesOf(committers, wanted, directory)
  const taking = committers.flatMap((committer) => {
    const scene = scenes.get(committer.place)
    return scene === undefined ? [] : [{ committer, scene, runs: [] as Run[] }]
  })
  const say = (round: number, { name }: Committer) =>
    Console.error(`${fileSystem} (${wanted.id}) ${name}: ${round === 0 ? "first" : `${round} of ${runs}`}`)
  const contents = yield* Effect.forEach(taking, ({ committer, scene }) =>
    Effect.andThen(say(0, committer), contentOf(committer, scene, watch))
  )
  for (let round = 1; round <= runs; round++) {
    for (const { committer, runs: done, scene } of rotated(taking, round - 1)) {
      yield* say(round, committer)
      done.push(yield* onceAndGone(committer, scene, watch))
    }
  }
  return taking.map(({ committer: { name: tool }, runs }, i) => {
    const content = contents[i] ?? { files: 0, bytes: 0 }
    return { case: wanted.id, fileSystem, tool, runs, content }
  })
})
