/** What `npm run commit` prints and writes. */
import { writeFileSync } from "node:fs"
import { Effect, Option } from "effect"
import type { Commit } from "effect-containerd"
import { Failed } from "./cli.ts"

const layerOf = ({ layer }: Commit.Committed) =>
  Option.match(layer, {
    onNone: () => null,
    onSome: ({ descriptor: { digest, mediaType, size }, diffId }) => ({ digest, diffId, size, mediaType })
  })

/** One object, for machines. */
export const json = (committed: Commit.Committed): string => {
  const {
    chainId,
    config,
    differ,
    durationMs,
    image,
    images,
    index,
    notCarried,
    parent,
    pausedMs,
    replaced,
    snapshotter
  } = committed
  return JSON.stringify({
    image: { name: image.name, digest: image.target.digest },
    names: images.map(({ name }) => name),
    config: { digest: config.digest },
    layer: layerOf(committed),
    chainId: Option.getOrNull(chainId),
    parent: Option.match(parent, {
      onNone: () => null,
      onSome: ({ name, target }) => ({ name, digest: target.digest })
    }),
    index: Option.match(index, {
      onNone: () => null,
      onSome: ({ name, target }) => ({ name, digest: target.digest })
    }),
    replaced: replaced.map(({ name, target }) => ({ name, digest: target.digest })),
    snapshotter,
    differ,
    notCarried,
    pausedMs,
    durationMs
  })
}

/** A few lines, for people. */
export const summary = ({ durationMs, image, images, layer, pausedMs }: Commit.Committed): string => {
  const change = Option.match(layer, {
    onNone: () => "nothing had changed, no layer was added",
    onSome: ({ descriptor }) => `a layer of ${descriptor.size} bytes`
  })
  const names = images.map(({ name }) => name).join("\n")
  return `${names}\n  ${image.target.digest}\n  ${change}; ${durationMs} ms, paused for ${pausedMs} ms`
}

/** The keys of `docker buildx build --metadata-file`. */
const metadata = ({ config, image, images }: Commit.Committed): string =>
  JSON.stringify(
    {
      "containerimage.config.digest": config.digest,
      "containerimage.descriptor": image.target,
      "containerimage.digest": image.target.digest,
      "image.name": images.map(({ name }) => name).join(",")
    },
    null,
    2
  )

const write = (path: string | undefined, text: string) =>
  path === undefined
    ? Effect.void
    : Effect.try({
        try: () => writeFileSync(path, text),
        catch: (cause) =>
          new Failed({ message: `the image is there, but ${path} could not be written: ${String(cause)}` })
      })

/** The files that were asked for. */
export const writeFiles = (
  committed: Commit.Committed,
  { iidfile, metadataFile }: { readonly iidfile: string | undefined; readonly metadataFile: string | undefined }
) => Effect.andThen(write(iidfile, committed.image.target.digest), write(metadataFile, `${metadata(committed)}\n`))
