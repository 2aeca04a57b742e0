/**
 * What the library does, on any machine and as any user: `npm start`. Makes a base image, changes a container of it,
 * commits that, and shows what came of it. No containerd, no root, no network.
 *
 * Results go to stdout, everything else to stderr. Exit codes: 0 done, 1 failed, 2 bad usage, 130 interrupted.
 */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { Console, Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import { Commit, Embedded, ImageConfig, Index } from "effect-containerd"
import * as ImageDocuments from "effect-containerd/core/ImageDocuments"
import { checkFrom, type From, listed, makeBase, undone } from "./support/baseImage.ts"
import { changeFiles } from "./support/changeFiles.ts"
import { Failed, runMain } from "./support/cli.ts"
import { layerPaths } from "./support/layerPaths.ts"
import { layoutDirectory } from "./support/layoutDirectory.ts"
import { progressLine, say } from "./support/progressLine.ts"
import { type Outcome, quoted, toJson, toText } from "./support/report.ts"

const flags = {
  dir: Flag.String("dir").pipe(
    Flag.withDescription(
      "Where the image goes: a new or empty directory, or an OCI layout; a temporary one by default"
    ),
    Flag.optional
  ),
  from: Flag.String("from").pipe(
    Flag.withDescription(
      "A root file system, an OCI layout, or an archive (OCI or docker save); else a small one is made"
    ),
    Flag.optional
  ),
  image: Flag.String("image").pipe(Flag.withDescription("Which one, of an archive that holds several"), Flag.optional),
  json: Flag.Boolean("json").pipe(Flag.withDescription("Print the result as one JSON object"), Flag.withDefault(false))
}

const names = { base: "quickstart:base", image: "quickstart:changed" }

const linuxOnly = Effect.suspend(() =>
  process.platform === "linux"
    ? Effect.void
    : Effect.fail(new Failed({ message: "root file systems need Linux: run this in a container or a virtual machine" }))
)

const cleanUp = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.addFinalizer(() => Effect.ignoreCause(self, { log: "Warn" }))

/** A container that goes with the scope. */
const containerOf = Effect.fnUntraced(function* (image: string) {
  const id = `quickstart-${crypto.randomUUID().slice(0, 8)}`
  yield* cleanUp(Embedded.removeContainer(id))
  return yield* Embedded.createContainer(image, { id })
})

/** What skopeo and others find the image by. */
const refOf = Effect.fnUntraced(function* (layout: string, name: string) {
  const index = yield* Effect.fromResult(Index.decode(readFileSync(join(layout, "index.json"))))
  const entry = index.value.manifests?.find(({ annotations }) => annotations?.["io.containerd.image.name"] === name)
  return entry?.annotations?.["org.opencontainers.image.ref.name"] ?? name
})

const quickstart = Effect.fnUntraced(function* (from: From, layout: string) {
  yield* cleanUp(Embedded.gc())
  yield* say("making the base image")
  const base = yield* makeBase(from, names.base)
  yield* say(`making a container of ${base.image.name}`)
  const { id, notApplied, rootfs } = yield* containerOf(base.image.name)
  yield* changeFiles(rootfs)
  const before = yield* listed
  const committed = yield* Commit.commit({ container: id, name: names.image, message: "the quickstart's changes" })
  yield* undone([committed.image], before)
  const { config, manifest } = yield* ImageDocuments.read(committed.image.target)
  const layer = Option.getOrUndefined(committed.layer)
  return {
    layout,
    ref: yield* refOf(layout, committed.image.name),
    name: committed.image.name,
    digest: committed.image.target.digest,
    base: base.image.name,
    layers: ImageDocuments.layers(manifest.value.layers ?? [], config.value),
    history: ImageConfig.history(config.value),
    changes: layer === undefined ? [] : yield* layerPaths(layer.descriptor, id),
    notCarried: [...base.notCarried, ...committed.notCarried],
    notApplied: notApplied.map(({ path, what }) => `/${path} ${what}`)
  } satisfies Omit<Outcome, "remove">
}, Effect.scoped)

/** An image of somebody else's may hold directories that their owner may not empty. */
const removal = ({ _tag }: From, layout: string) => {
  const path = quoted(layout)
  return _tag === "SmallRoot" || process.getuid?.() === 0 ? `rm -rf ${path}` : `chmod -R u+rwX ${path}; rm -rf ${path}`
}

const start = Command.make(
  "start",
  flags,
  Effect.fnUntraced(function* (args) {
    yield* linuxOnly
    const dir = Option.getOrUndefined(args.dir)
    const from = yield* checkFrom({
      from: Option.getOrUndefined(args.from),
      image: Option.getOrUndefined(args.image),
      dir
    })
    const { path } = yield* layoutDirectory(dir)
    const made = yield* quickstart(from, path).pipe(Effect.provide(Embedded.layer({ root: path })), progressLine)
    const outcome: Outcome = { ...made, remove: dir === undefined ? removal(from, path) : undefined }
    yield* Console.log(args.json ? toJson(outcome) : toText(outcome))
  }, Effect.scoped)
).pipe(Command.withDescription("Make an image of a changed container, without containerd and without root"))

runMain(Command.runWith(start, { version: "0.1.0" })(process.argv.slice(2)), ({ _tag }) => (_tag === "Usage" ? 2 : 1))
