/**
 * Makes ready what it takes to read a container on its own host, while it still runs. Costs no more than a few calls.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import { prepareTarget } from "../core/ApplyLayer.ts"
import type { Active } from "../core/Snapshotter.ts"
import * as Freezer from "../host/Freezer.ts"
import { HostUnavailable } from "../host/HostUnavailable.ts"
import * as Overlay from "../host/Overlay.ts"
import * as Reader from "../host/Reader.ts"
import * as Shell from "../host/Shell.ts"
import * as GnuTar from "../layer/GnuTar.ts"
import type { Below } from "./Capture.ts"
import type { Request } from "./Options.ts"
import { type Freeze, VisiblePause, wanted } from "./Pause.ts"
import type { Source } from "./Resolve.ts"

export interface Prepared {
  readonly reader: Effect.Effect<Reader.Reader, HostUnavailable>
  /** None where the daemon is to do it. */
  readonly freeze: Freeze | undefined
  /** Where the container's files are copied to. */
  readonly target: Active
  /** It is not needed, and need not wait for the end of the commit. */
  readonly dropTarget: Effect.Effect<void>
  readonly upper: string
  readonly container: Overlay.Overlay
  /** How many of its lower directories go into the layer, too. */
  readonly depth: number
  readonly gnuTar: GnuTar.GnuTar
}

const check = (message: string | undefined) =>
  message === undefined ? Effect.void : Effect.fail(new HostUnavailable({ message }))

/** Known without a call. */
const objection = ({ idMap, snapshot, snapshotter }: Source, below: Below): string | undefined => {
  if (snapshotter.name !== "overlayfs") return `the snapshotter is ${snapshotter.name}, not overlayfs`
  if (snapshot.kind !== "active") return "the container's snapshot cannot be written to"
  // Some of its directories may have the ids of the host, and others those of the container.
  return idMap !== undefined && below.lower !== snapshot.parent
    ? "the layer of a container in a user namespace is to hold more than its own change"
    : undefined
}

/** How many snapshots lie between the container's own and what its layer stands on. */
const depthOf = Effect.fnUntraced(function* ({ snapshot, snapshotter }: Source, { lower }: Below) {
  let depth = 0
  for (let name = snapshot.parent; name !== lower; depth++) {
    yield* check(name === "" ? "the container does not stand on what its layer is to stand on" : undefined)
    name = (yield* snapshotter.stat(name)).parent
  }
  return depth
})

const findTar = Effect.flatMap(
  GnuTar.find,
  Option.match({
    onSome: Effect.succeed,
    onNone: () => Effect.fail(new HostUnavailable({ message: "there is no GNU tar" }))
  })
)

/** Which the container is to be frozen by, if this host is to do it. */
const cgroupOf = Effect.fnUntraced(function* (source: Source, request: Request, { upper }: Overlay.Overlay) {
  const { id, pid } = source
  if (!wanted(source, request) || (yield* VisiblePause) || !Freezer.isIn(pid, upper)) return undefined
  return Option.getOrUndefined(Freezer.find(pid, id))
})

/** The shell begins while the target is still being made. */
const begin = Effect.fnUntraced(function* (source: Source, request: Request, gnuTar: GnuTar.GnuTar) {
  const { snapshot, snapshotter } = source
  const mounts = snapshotter.mounts(snapshot.name)
  const { shell, ...known } = yield* Effect.all({ mounts, shell: Shell.take }, { concurrency: 2 })
  const container = yield* Effect.fromResult(Overlay.fromMounts(known.mounts))
  const cgroup = yield* cgroupOf(source, request, container)
  yield* Reader.begin(shell, { container, cgroup, gnuTar })
  return { shell, container, cgroup }
})

/** Fails with `HostUnavailable` where the container's files cannot be read here. */
export const makeReady = Effect.fnUntraced(function* (source: Source, below: Below, request: Request) {
  yield* check(objection(source, below))
  const since = Date.now()
  const gnuTar = yield* findTar
  const ofTarget = yield* Scope.fork(yield* Effect.scope)
  const { begun, depth, target } = yield* Effect.all(
    {
      depth: depthOf(source, below),
      begun: begin(source, request, gnuTar),
      target: Scope.provide(prepareTarget(source.snapshotter, below.target), ofTarget)
    },
    { concurrency: "unbounded" }
  )
  const { cgroup, container, shell } = begun
  const copy = yield* Effect.fromResult(Overlay.fromMounts(target.mounts))
  yield* Effect.fromResult(Overlay.checkSeen(container, copy, since))
  yield* check(depth > container.lowers.length ? "the overlay does not show each snapshot as a directory" : undefined)
  const open = Reader.open(shell, { container, target: copy, depth })
  const opening = yield* Effect.forkScoped(open, { startImmediately: true })
  const reader = Fiber.join(opening)
  // Where that has not been seen to work yet, no container is frozen for it.
  if (!shell.isKept) yield* reader
  return {
    reader,
    freeze: cgroup && (yield* reader).freeze(cgroup),
    target,
    dropTarget: Effect.uninterruptible(Scope.close(ofTarget, Exit.void)),
    upper: copy.upper,
    container,
    depth,
    gnuTar
  } satisfies Prepared
})
