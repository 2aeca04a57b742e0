import { assert, layer } from "@effect/vitest"
import { Effect, Layer, Tracer } from "effect"
import { Commit, Containerd } from "effect-containerd"
import * as Container from "../support/Container.ts"
import { describeDaemons } from "../support/Daemons.ts"
import * as Host from "../support/Host.ts"

/** Every call to the daemon is a span of kind `client`; this collects their names, with how often each was made. */
const counting = (counts: Map<string, number>) =>
  Tracer.make({
    span(options) {
      if (options.kind === "client") counts.set(options.name, (counts.get(options.name) ?? 0) + 1)
      return new Tracer.NativeSpan(options)
    }
  })

const callsOf = Effect.fnUntraced(function* (options: Commit.CommitOptions) {
  const counts = new Map<string, number>()
  yield* Commit.commit(options).pipe(Effect.withTracer(counting(counts)))
  return Object.fromEntries([...counts].sort())
})

/** Of a small change to a running container of an image with one layer, by containerd's differ. */
const byTheDaemon = {
  "Containers.Get": 1,
  "Content.Info": 4,
  // The layer: whether the runtime's own files are in it.
  "Content.Read": 1,
  "Content.Write": 2,
  "Diff.Apply": 1,
  "Diff.Diff": 1,
  "Images.Create": 1,
  "Images.Get": 1,
  "Leases.AddResource": 1,
  "Leases.Create": 1,
  "Leases.Delete": 1,
  "Snapshots.Commit": 1,
  "Snapshots.Mounts": 1,
  "Snapshots.Prepare": 1,
  "Snapshots.Remove": 1,
  "Snapshots.Stat": 1,
  "Snapshots.View": 1,
  "Tasks.Get": 1,
  "Tasks.Pause": 1,
  "Tasks.Resume": 1
}

const {
  "Content.Read": _read,
  "Diff.Apply": _apply,
  "Diff.Diff": _diff,
  "Snapshots.Remove": _view,
  "Snapshots.View": _remove,
  "Tasks.Pause": _pause,
  "Tasks.Resume": _resume,
  ...kept
} = byTheDaemon

/** On the host: the container is frozen and the layer is written from here, with its diffID. */
const byTheHost = { ...kept, "Content.Info": 3, "Content.Write": 3 }

/** The first commit from a daemon reads the parent's manifest and config. */
const first = (calls: Readonly<Record<string, number>>) => ({
  ...calls,
  "Content.Read": (calls["Content.Read"] ?? 0) + 2
})

const another = Effect.map(Host.Host, ({ containerd: { address } }) => Containerd.layer({ address }))

const ways = [
  ["containerd", byTheDaemon],
  ["host", byTheHost]
] as const

describeDaemons("calls of a commit", () => {
  layer(Host.layer("2.x"), { excludeTestServices: true })((it) => {
    it.effect.each(ways)("makes each call once (%s)", ([differ, smallChange]) =>
      Effect.gen(function* () {
        const { base, containerd } = yield* Host.Host
        const container = yield* Container.run(containerd, { image: base.ref })
        yield* container.exec("echo one > /one")
        assert.deepStrictEqual(
          yield* callsOf({ container: container.id, name: `calls-${differ}:1`, differ }),
          first(smallChange)
        )
        // An interface definition that was loaded, a connection that was made: nothing of it is a call.
        yield* container.exec("echo two > /two")
        assert.deepStrictEqual(
          yield* callsOf({ container: container.id, name: `calls-${differ}:2`, differ }),
          smallChange
        )
      }).pipe(Effect.provide(Layer.unwrap(another)))
    )

    it.effect.each(ways)(
      "makes no call for a layer that is not there, and none to freeze what does not run (%s)",
      ([differ, smallChange]) =>
        Effect.gen(function* () {
          const { base, containerd } = yield* Host.Host
          const container = yield* Container.create(containerd, { image: base.ref })
          const found = yield* callsOf({ container: container.id, name: `calls-${differ}:3`, differ })
          const {
            "Snapshots.Commit": _c,
            "Tasks.Pause": _f,
            "Tasks.Resume": _r,
            ...rest
          } = {
            ...{ "Tasks.Pause": 0, "Tasks.Resume": 0 },
            ...smallChange
          }
          // The snapshot that was made ready for the layer goes as the view does, and that of the parent is looked for.
          const { "Diff.Apply": _a, ...expected } = {
            ...{ "Diff.Apply": 0, ...rest, "Content.Read": 2, "Content.Write": 2, "Snapshots.Stat": 2 },
            "Snapshots.Remove": differ === "host" ? 1 : 2
          }
          assert.deepStrictEqual(found, expected)
        }).pipe(Effect.provide(Layer.unwrap(another)))
    )
  })
})
