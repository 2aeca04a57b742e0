/** Every containerd, with every snapshotter, keeps what `core` promises. */
import { mkdtempSync, rmdirSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Context, Effect, Layer, type Scope } from "effect"
import { Containerd as Client, Commit, type Mount } from "effect-containerd"
import { commitSuite } from "../suite/CommitSuite.ts"
import { contentStoreSuite } from "../suite/ContentStoreSuite.ts"
import { differSuite } from "../suite/DifferSuite.ts"
import { imagesSuite } from "../suite/ImagesSuite.ts"
import { leasesSuite } from "../suite/LeasesSuite.ts"
import { optionsSuite } from "../suite/OptionsSuite.ts"
import { snapshotterSuite } from "../suite/SnapshotterSuite.ts"
import * as Container from "../support/Container.ts"
import * as Containerd from "../support/Containerd.ts"
import { describeDaemons } from "../support/Daemons.ts"
import { snapshotters } from "../support/Host.ts"
import { type DaemonError, run } from "../support/Process.ts"

class Daemon extends Context.Service<Daemon, Containerd.RunningContainerd>()("test/Daemon") {}

/** Without the base image of `Host.layer`, which no case needs. */
const layer = (version: Containerd.Version): Layer.Layer<Client.Services | Daemon, DaemonError> =>
  Layer.unwrap(Effect.map(Daemon, ({ address }) => Client.layer({ address }))).pipe(
    Layer.provideMerge(Layer.effect(Daemon, Containerd.start(version)))
  )

const byTheDaemon = Layer.succeed(Commit.DefaultDiffer, "containerd")

/** By `ctr`, which unpacks the image first, and needs to be told what the image says already. */
const container = (snapshotter: string) => (image: string, id?: string) =>
  Effect.gen(function* () {
    const made = yield* Container.create(yield* Daemon, { image, id, snapshotter, args: ["sleep", "1"] })
    return made.id
  })

const commands = ({ options, source, type }: Mount.Mount, target: string): ReadonlyArray<ReadonlyArray<string>> => {
  if (type === "overlay") return [["-t", "overlay", "overlay", "-o", options.join(","), target]]
  const bind = ["--rbind", source, target]
  return options.includes("ro") ? [bind, ["-o", "remount,bind,ro", target]] : [bind]
}

const mount = (mounts: ReadonlyArray<Mount.Mount>): Effect.Effect<string, DaemonError, Scope.Scope> =>
  Effect.gen(function* () {
    const target = yield* Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "suite-"))),
      (path) => Effect.sync(() => rmdirSync(path))
    )
    for (const one of mounts) {
      const [first = [], ...rest] = commands(one, target)
      yield* Effect.acquireRelease(run("mount", first), () => Effect.ignore(run("umount", [target])))
      for (const args of rest) yield* run("mount", args)
    }
    return target
  })

for (const version of Containerd.versions) {
  describeDaemons(`containerd ${version}`, () => {
    const backend = "containerd" as const
    contentStoreSuite(version, layer(version))
    imagesSuite(version, layer(version), { backend })
    leasesSuite(version, layer(version), { backend, snapshotter: "overlayfs" })
    for (const snapshotter of snapshotters) {
      const traits = { backend, version, snapshotter, root: true, mount }
      snapshotterSuite(`${version} ${snapshotter}`, layer(version), traits)
      differSuite(`${version} ${snapshotter}`, layer(version), traits)
      const withContainers = { ...traits, container: container(snapshotter) }
      const services = Layer.merge(layer(version), byTheDaemon)
      commitSuite(`${version} ${snapshotter}`, services, withContainers)
      // What options do may depend on the version and on the snapshotter, but not on both.
      if (snapshotter === "overlayfs" || version === "2.x") {
        optionsSuite(`${version} ${snapshotter}`, services, withContainers)
      }
    }
    const onTheHost = { backend, version, snapshotter: "overlayfs", host: true, root: true, mount }
    const withContainers = { ...onTheHost, container: container("overlayfs") }
    commitSuite(`${version} host`, layer(version), withContainers)
    optionsSuite(`${version} host`, layer(version), withContainers)
  })
}
