/** The image that a container is made of: from a root file system, an OCI layout or an archive. */
import { existsSync, statSync } from "node:fs"
import { join, resolve } from "node:path"
import { Effect, Exit, Result } from "effect"
import { Embedded, Images, Reference } from "effect-containerd"
import { Failed, Usage } from "./cli.ts"
import { temporary } from "./layoutDirectory.ts"
import { smallRoot } from "./smallRoot.ts"

export type From =
  | { readonly _tag: "SmallRoot" }
  | { readonly _tag: "Directory"; readonly path: string }
  | { readonly _tag: "Archive"; readonly path: string; readonly image: string | undefined }

export interface Base {
  readonly image: Images.Image
  /** For people: what was there and is not in the image. */
  readonly notCarried: ReadonlyArray<string>
}

const accepted = "--from takes a root file system, an OCI layout, or a tar of docker save or of an OCI layout"

const isBelow = (path: string, directory: string) => path === directory || path.startsWith(join(directory, "/"))

const directoryFrom = (path: string, layout: string | undefined) =>
  layout !== undefined && isBelow(resolve(layout), path)
    ? new Usage({ message: `--dir ${layout} is in what --from names: give a directory elsewhere` })
    : Effect.succeed<From>({ _tag: "Directory", path })

/** Looks at what `--from` names; nothing is read and nothing is made. */
export const checkFrom = (options: {
  readonly from: string | undefined
  readonly image: string | undefined
  readonly dir: string | undefined
}): Effect.Effect<From, Usage | Failed> => {
  const { dir, from, image } = options
  const onlyForArchives = new Usage({ message: "--image chooses from an archive: name one with --from" })
  if (from === undefined) return image === undefined ? Effect.succeed<From>({ _tag: "SmallRoot" }) : onlyForArchives
  const path = resolve(from)
  if (!existsSync(path)) {
    return new Failed({ message: `there is no ${from} (${accepted})` })
  }
  if (!statSync(path).isDirectory() || existsSync(join(path, "oci-layout"))) {
    return Effect.succeed<From>({ _tag: "Archive", path, image })
  }
  return image === undefined ? directoryFrom(path, dir) : onlyForArchives
}

/** The names are free again when the scope ends with a failure, unless they stood for something before. */
export const undone = Effect.fnUntraced(function* (
  made: ReadonlyArray<Images.Image>,
  before: ReadonlyArray<Images.Image>
) {
  const images = yield* Images.Images
  const known = new Set(before.map(({ name }) => name))
  const remove = Effect.forEach(
    made.filter(({ name }) => !known.has(name)),
    ({ name }) => images.delete(name),
    { discard: true }
  )
  yield* Effect.addFinalizer((exit) =>
    Exit.isFailure(exit) ? Effect.ignoreCause(remove, { log: "Warn" }) : Effect.void
  )
})

export const listed = Images.Images.use((images) => images.list())

const fromDirectory = Effect.fnUntraced(function* (path: string, name: string, message: string) {
  const before = yield* listed
  const config = { Cmd: ["/bin/sh"], Env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"] }
  const { image, notCarried } = yield* Embedded.fromDirectory(path, { name, config, message })
  yield* undone([image], before)
  return { image, notCarried: notCarried.map((lost) => `${lost.path}: ${lost.what}`) } satisfies Base
})

const fullName = (text: string): string =>
  Result.match(Reference.parse(text), {
    onFailure: () => text,
    onSuccess: (reference) => Reference.format(Reference.withDefaultTag(reference))
  })

const choose = (path: string, images: ReadonlyArray<Images.Image>, wanted: string | undefined) => {
  const candidates =
    wanted === undefined
      ? [...new Map(images.map((image) => [image.target.digest, image])).values()]
      : images.filter(({ name }) => name === wanted || name === fullName(wanted))
  const [only, ...others] = candidates
  if (only !== undefined && others.length === 0) return Effect.succeed(only)
  const names = [...new Set(images.map(({ name }) => name))].join(", ")
  const message =
    only === undefined
      ? `${path} holds no image${wanted === undefined ? "" : ` ${wanted}; it holds: ${names}`}`
      : `${path} holds several images: choose one with --image (${names})`
  return Effect.fail(new Failed({ message }))
}

/** The only image of an archive gets the name; several keep their own. */
const fromArchive = Effect.fnUntraced(function* (path: string, name: string, wanted: string | undefined) {
  const before = yield* listed
  const images = yield* Embedded.importArchive(path, wanted === undefined ? { name } : {}).pipe(
    Effect.catchTag("ArchiveError", ({ message }) => new Failed({ message: `${message} (${accepted})` }))
  )
  yield* undone(images, before)
  const image = yield* choose(path, images, wanted)
  return { image, notCarried: [] } satisfies Base
})

const fromSmallRoot = Effect.fnUntraced(function* (name: string) {
  const root = yield* temporary
  yield* smallRoot(root)
  return yield* fromDirectory(root, name, "a small root file system of this machine's programs")
})

/** Makes the image, under that name if it is the only one. It goes again when the scope ends with a failure. */
export const makeBase = (from: From, name: string) => {
  switch (from._tag) {
    case "SmallRoot":
      return fromSmallRoot(name)
    case "Directory":
      return fromDirectory(from.path, name, `the directory ${from.path}`)
    case "Archive":
      return fromArchive(from.path, name, from.image)
  }
}
