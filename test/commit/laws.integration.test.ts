import { assert, layer } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, Layer, Ref } from "effect"
import { Commit, Containerd, Images, Tasks } from "effect-containerd"
import * as Container from "../support/Container.ts"
import { versions } from "../support/Containerd.ts"
import { describeDaemons } from "../support/Daemons.ts"
import * as Faults from "../support/Faults.ts"
import * as Host from "../support/Host.ts"
import * as Inventory from "../support/Inventory.ts"

const name = "docker.io/library/law:latest"

/** Runs a commit in which one call goes wrong, and gives how it ended and how many calls it made. */
const commitWith = Effect.fnUntraced(function* (container: Container.Container, injection: Faults.Injection) {
  const { containerd } = yield* Host.Host
  const connection = Faults.connection(
    { address: containerd.address, namespace: "default", timeout: "10 seconds" },
    injection
  )
  const fiber = yield* Commit.commit({ container: container.id, name }).pipe(
    Effect.provide(Containerd.layerOver(connection), { local: true }),
    Effect.forkChild
  )
  if (injection.fault === "interrupted" && injection.at > 0) {
    // A call that is made on behalf of a finalizer cannot be interrupted; the commit then ends by itself.
    yield* Effect.raceFirst(Deferred.await(injection.reached), Fiber.await(fiber))
    yield* Fiber.interrupt(fiber)
  }
  return { exit: yield* Fiber.await(fiber), calls: yield* Ref.get(injection.calls) }
})

const ways = versions.flatMap((version) => (["auto", "containerd"] as const).map((differ) => ({ differ, version })))

const small = "echo one > /one; rm /data/delete.txt"
/** Files with several names are copied, or written to the disk, and not held in memory. */
const linked = `${small}; ln /one /two`
const mapped = ["--uidmap", "0:100000:65536", "--gidmap", "0:100000:65536"]

/** The host has more than one way. */
const containers: ReadonlyArray<readonly [string, string, ReadonlyArray<string>]> = [
  ["a container", small, []],
  ["a container whose files are copied", linked, []],
  ["one in a user namespace", small, mapped],
  ["one in a user namespace whose files are spooled", linked, mapped]
]

for (const { differ, version } of ways) {
  const kinds = differ === "auto" && version === "2.x" ? containers : containers.slice(0, 1)
  describeDaemons(`laws of a commit on containerd ${version}, differ ${differ}`, () => {
    const services = Layer.merge(Host.layer(version), Layer.succeed(Commit.DefaultDiffer, differ))
    layer(services, { excludeTestServices: true })((it) => {
      it.effect.each(kinds)(
        "leaves nothing whatever call fails, and however (laws 2 and 3); OpenSandbox: resumed after failures (%s)",
        ([, change, flags]) =>
          Effect.gen(function* () {
            const { base, containerd } = yield* Host.Host
            const tasks = yield* Tasks.Tasks
            const container = yield* Container.run(containerd, { image: base.ref, flags })
            yield* container.exec(change)
            const before = yield* Inventory.take(containerd)

            /** An image that is visible is whole, and takes everything with it when it goes (law 2). */
            const removeImage = Effect.fnUntraced(function* () {
              const images = yield* Images.Images
              if ((yield* images.list([`name==${name}`])).length === 0) return false
              // In the other snapshotter it is unpacked from its blobs.
              const said = yield* Container.runOnce(containerd, { image: name, snapshotter: "native" }, "cat /one")
              assert.strictEqual(said, "one\n")
              yield* containerd.ctr(["images", "rm", "--sync", name])
              return true
            })

            const smooth = yield* commitWith(container, yield* Faults.inject(0, "refused"))
            assert.isTrue(Exit.isSuccess(smooth.exit))
            assert.isTrue(yield* removeImage())
            assert.deepStrictEqual(yield* Inventory.take(containerd), before)

            for (const fault of Faults.faults) {
              for (let at = 1; at <= smooth.calls; at++) {
                const { exit } = yield* commitWith(container, yield* Faults.inject(at, fault))
                const where = `call ${at} of ${smooth.calls} ${fault}`
                assert.strictEqual((yield* tasks.get(container.id)).status, "running", where)
                assert.isFalse(yield* container.isFrozen, where)
                const visible = yield* removeImage()
                if (Exit.isSuccess(exit)) assert.isTrue(visible, where)
                else if (fault === "interrupted") assert.isTrue(Cause.hasInterruptsOnly(exit.cause), where)
                else assert.isFalse(visible, where)
                assert.deepStrictEqual(yield* Inventory.take(containerd), before, where)
              }
            }
          }),
        300_000
      )
    })
  })
}
