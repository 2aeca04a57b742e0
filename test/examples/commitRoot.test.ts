/** The command line without a daemon, and what of it shows in the image. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { Embedded, Images } from "effect-containerd"
import * as ImageDocuments from "effect-containerd/core/ImageDocuments"
import * as Root from "../embedded/Root.ts"
import * as Cli from "../support/Cli.ts"

const Printed = Schema.fromJsonString(
  Schema.Struct({
    image: Schema.Struct({ name: Schema.String, digest: Schema.String }),
    names: Schema.Array(Schema.String),
    index: Schema.Struct({ name: Schema.String, digest: Schema.String }),
    differ: Schema.String
  })
)

/** A base image, and a container `c` of it with a change, in a layout below the directory. */
const prepared = Effect.gen(function* () {
  const directory = yield* Root.directory
  const root = join(directory, "layout")
  const base = join(directory, "base")
  mkdirSync(join(base, "etc"), { recursive: true })
  writeFileSync(join(base, "etc/passwd"), "root:x:0:0:root:/:/bin/sh\n")
  yield* Effect.gen(function* () {
    yield* Embedded.fromDirectory(base, { name: "base:1", config: { Env: ["A=1", "SECRET=x"], Cmd: ["sh"] } })
    const { rootfs } = yield* Embedded.createContainer("base:1", { id: "c" })
    writeFileSync(join(rootfs, "new"), "new")
    writeFileSync(join(rootfs, "log"), "log")
  }).pipe(Effect.provide(Embedded.layer({ root })))
  return { directory, root }
})

const run = (args: ReadonlyArray<string>) => Effect.scoped(Effect.flatMap(Cli.start(args), ({ result }) => result))

describe("npm run commit --root", () => {
  it.live("commits with every kind of option, and writes what was asked for", () =>
    Effect.gen(function* () {
      const { directory, root } = yield* prepared
      const [config, iid, metadata] = ["config.json", "iid", "metadata.json"].map((name) => join(directory, name))
      writeFileSync(config ?? "", JSON.stringify({ Cmd: ["app"] }))
      const { exitCode, stderr, stdout } = yield* run([
        ...["--root", root, "c", "app:1", "app:2", "--json", "--manifest", "all:1"],
        ...["-c", "ENV B=$A", "-c", "USER 7", "--unset-env", "SECRET", "--config", config ?? "", "-l", "k=v"],
        ...["--annotation", "a=b", "--history", "omit", "--created", "2024-05-06T07:08:09Z", "--exclude", "log"],
        ...[
          "--compression",
          "zstd",
          "--compression-level",
          "1",
          "--iidfile",
          iid ?? "",
          "--metadata-file",
          metadata ?? ""
        ]
      ])
      assert.deepStrictEqual({ exitCode, stderr }, { exitCode: 0, stderr: "" })
      const printed = yield* Schema.decodeEffect(Printed)(stdout)
      assert.deepStrictEqual(printed.names, ["docker.io/library/app:1", "docker.io/library/app:2"])
      assert.deepStrictEqual([printed.index.name, printed.differ], ["docker.io/library/all:1", "directory"])
      assert.strictEqual(readFileSync(iid ?? "", "utf8"), printed.image.digest)
      assert.include(readFileSync(metadata ?? "", "utf8"), `"containerimage.digest": "${printed.image.digest}"`)

      const documents = yield* Images.Images.use((images) => images.get("docker.io/library/app:2")).pipe(
        Effect.flatMap(({ target }) => ImageDocuments.read(target)),
        Effect.provide(Embedded.layer({ root }))
      )
      assert.deepStrictEqual(documents.config.value.config, {
        ...{ Cmd: ["app"], Env: ["A=1", "B=1"], User: "7", Labels: { k: "v" } }
      })
      assert.notProperty(documents.config.value, "history")
      assert.deepStrictEqual(documents.manifest.value.annotations, { a: "b" })
      assert.match(documents.manifest.value.layers?.at(-1)?.mediaType ?? "", /zstd$/)
    }).pipe(Effect.scoped)
  )

  it.live.each([
    [["c", "-c", "FOO x"], 2, /^error: cannot commit container c: invalid change "FOO x" \(line 1, column 1\)/],
    [["c", "--max-size", "much"], 2, /^error: Invalid value for flag --max-size/],
    [["c", "--annotation", "a=b", "-f", "docker"], 2, /has no annotations|have no annotations/],
    [["nothing"], 1, /^error: cannot commit container nothing: there is no container "nothing"/],
    [["c", "--max-layers", "1"], 1, /would have 2 layers/]
  ] as const)("%j is refused with the code %d", ([args, code, message]) =>
    Effect.gen(function* () {
      const { root } = yield* prepared
      const { exitCode, stderr, stdout } = yield* run(["--root", root, ...args])
      assert.deepStrictEqual({ exitCode, stdout }, { exitCode: code, stdout: "" })
      assert.match(stderr, message)
    }).pipe(Effect.scoped)
  )
})
