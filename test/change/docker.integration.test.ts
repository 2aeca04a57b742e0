import { assert, layer } from "@effect/vitest"
import { Context, Effect, Layer, Option, Result } from "effect"
import type { ImageConfig } from "effect-containerd"
import * as Change from "../../src/change/Change.ts"
import * as Json from "../../src/oci/Json.ts"
import * as BaseImage from "../support/BaseImage.ts"
import * as Containerd from "../support/Containerd.ts"
import { describeDaemons } from "../support/Daemons.ts"
import * as Dockerd from "../support/Dockerd.ts"
import { accepted, different, parent, refused, stricter, wider } from "./Texts.ts"

/** A Docker with a container of an image whose config is `parent`. */
class Docker extends Context.Service<Docker, Dockerd.RunningDockerd>()("test/Docker") {}

const container = "changed"

const docker = Layer.effect(
  Docker,
  Effect.gen(function* () {
    const dockerd = yield* Dockerd.start(yield* Containerd.start("2.x"))
    const config = { ...parent, Healthcheck: { ...parent.Healthcheck } }
    const base = yield* BaseImage.busybox({ config })
    yield* dockerd.docker(["load", "--input", base.archive])
    yield* dockerd.docker(["create", "--name", container, "--network", "none", base.ref])
    return dockerd
  })
)

const isNothing = (value: unknown) =>
  value === null || value === "" || value === false || (typeof value === "object" && Object.keys(value).length === 0)

/** What is in a config, however Docker writes what is not. */
const essence = (config: unknown) =>
  Object.fromEntries(Object.entries(Object(config)).filter(([, value]) => value !== undefined && !isNothing(value)))

/** What `docker commit` fills from the container after the changes (moby, daemon/commit.go `merge`). */
const filled = (config: ImageConfig.ContainerConfig): ImageConfig.ContainerConfig => ({
  ...parent,
  ...(config.Entrypoint === undefined ? {} : { Cmd: null }),
  ...config,
  Healthcheck: { ...parent.Healthcheck, ...config.Healthcheck }
})

const changed = (text: string) =>
  Result.getOrThrow(Result.flatMap(Change.parse(text), (changes) => Change.apply(parent, changes)))

/** The image that a commit with the change makes; `undefined` where Docker refuses. */
const commit = Effect.fnUntraced(function* (text: string) {
  const { docker } = yield* Docker
  const image = yield* Effect.option(docker(["commit", "--change", text, container]))
  return Option.getOrUndefined(image)?.trim()
})

const commitAll = (texts: ReadonlyArray<string>) => Effect.forEach(texts, commit, { concurrency: 4 })

/** The configs of the images that commits make. */
const configs = Effect.fnUntraced(function* (texts: ReadonlyArray<string>) {
  const { docker } = yield* Docker
  const images = yield* commitAll(texts)
  assert.deepStrictEqual(
    texts.filter((_, index) => images[index] === undefined),
    []
  )
  const shown = yield* docker([
    ...["image", "inspect", "--format", "{{json .Config}}"],
    ...images.filter((image) => image !== undefined)
  ])
  return shown
    .trim()
    .split("\n")
    .map((json) => essence(Result.getOrThrow(Json.parse(json))))
})

const textsOf = (table: ReadonlyArray<readonly [text: string, ...rest: ReadonlyArray<unknown>]>) =>
  table.map(([text]) => text)

describeDaemons("beside docker commit --change", () => {
  layer(docker, { excludeTestServices: true, timeout: 60_000 })((it) => {
    it.effect("makes the same config; moby TestCommitChange", () =>
      Effect.gen(function* () {
        const theirs = yield* configs(textsOf(accepted))
        assert.deepStrictEqual(
          accepted.map(([text]) => [text, essence(filled(changed(text)))]),
          accepted.map(([text], index) => [text, theirs[index]])
        )
      })
    )

    it.effect("refuses the same texts; podman: a bogus change", () =>
      Effect.gen(function* () {
        const texts = [...refused, ...textsOf(wider)]
        const images = yield* commitAll(texts)
        assert.deepStrictEqual(
          texts.filter((_, index) => images[index] !== undefined),
          []
        )
      })
    )

    it.effect("differs from it as the tables say", () =>
      Effect.gen(function* () {
        yield* configs(textsOf(stricter))
        const theirs = yield* configs(textsOf(different))
        assert.deepStrictEqual(
          different.map(([text, , expected]) => [text, essence({ ...parent, ...expected })]),
          different.map(([text], index) => [text, theirs[index]])
        )
      })
    )
  })
})
