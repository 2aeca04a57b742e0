import { assert, layer } from "@effect/vitest"
import { Context, Effect, Layer, Option } from "effect"
import { type Containerd as Client, Commit, type ContainerdError, Docker } from "effect-containerd"
import * as BaseImage from "../support/BaseImage.ts"
import * as Containerd from "../support/Containerd.ts"
import { describeDaemons } from "../support/Daemons.ts"
import * as Dockerd from "../support/Dockerd.ts"
import type { DaemonError } from "../support/Process.ts"

class Engine extends Context.Service<Engine, Dockerd.RunningDockerd>()("test/Engine") {}

const make = Effect.gen(function* () {
  const dockerd = yield* Dockerd.start(yield* Containerd.start("2.x"))
  const base = yield* BaseImage.busybox({ ref: "docker.io/library/base:1" })
  yield* dockerd.docker(["load", "--input", base.archive])
  return dockerd
})

const docker: Layer.Layer<Engine | Client.Services, ContainerdError.ContainerdError | DaemonError> = Layer.unwrap(
  Effect.map(Engine, ({ socket }) => Docker.layer({ socket }))
).pipe(Layer.provideMerge(Layer.effect(Engine, make)))

describeDaemons("containers of a Docker Engine", () => {
  layer(docker, { excludeTestServices: true })((it) => {
    it.effect("are committed by name, running and stopped, and Docker takes the images for its own", () =>
      Effect.gen(function* () {
        const { docker } = yield* Engine
        const id = (yield* docker([
          ...["run", "-d", "--name", "web", "--network", "none", "-e", "A=1", "-v", "/volume"],
          ...["base:1", "sh", "-c", "echo one > /one; echo v > /volume/v; exec sleep 1000"]
        ])).trim()
        const running = yield* Commit.commit({ container: "web", name: "app:1", changes: ["ENV B=$A"] })
        assert.isAbove(running.pausedMs, 0)
        assert.strictEqual((yield* docker(["inspect", "-f", "{{.State.Status}}", id])).trim(), "running")
        assert.strictEqual(Option.getOrThrow(running.parent).name, "docker.io/library/base:1")
        const said = yield* docker([
          "run",
          "--rm",
          "--network",
          "none",
          "app:1",
          "sh",
          "-c",
          "cat /one; echo $B; ls /volume"
        ])
        assert.strictEqual(said, "one\n1\n")

        yield* docker(["stop", "-t", "0", "web"])
        const stopped = yield* Commit.commit({ container: id.slice(0, 12), name: "app:2" })
        assert.strictEqual(stopped.pausedMs, 0)
        assert.strictEqual(yield* docker(["run", "--rm", "--network", "none", "app:2", "cat", "/one"]), "one\n")
        const names = yield* docker(["images", "--format", "{{.Repository}}:{{.Tag}}"])
        assert.includeMembers(names.split("\n"), ["app:1", "app:2", "base:1"])
        yield* docker(["rmi", "app:1", "app:2"])
      })
    )
  })
})
