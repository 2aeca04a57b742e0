/**
 * Step `writeContent`: config and manifest, each with its garbage collection references in the same write, and what the
 * container's owner keeps with them.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Attachment } from "../core/Containers.ts"
import { ContentStore } from "../core/ContentStore.ts"
import * as ImageDocuments from "../core/ImageDocuments.ts"
import type * as ChainId from "../oci/ChainId.ts"
import * as Digest from "../oci/Digest.ts"
import type { Source } from "./Resolve.ts"
import { step } from "./Run.ts"

const writeAttachment = Effect.fnUntraced(function* (
  { bytes, manifestLabel, mediaType }: Attachment,
  { descriptor }: ImageDocuments.ImageDocuments["manifest"]
) {
  const store = yield* ContentStore
  yield* store.writeBytes(bytes, { mediaType, labels: { [manifestLabel]: descriptor.digest } })
})

const configLabels = (
  { attachment, snapshotter }: Pick<Source, "attachment" | "snapshotter">,
  chainId: Option.Option<ChainId.ChainId>
) => ({
  ...Option.match(chainId, {
    onNone: () => ({}),
    onSome: (name) => ImageDocuments.snapshotLabel(snapshotter.name, name)
  }),
  ...(attachment === undefined ? {} : { [attachment.configLabel]: Digest.fromBytes(attachment.bytes) })
})

/** All at once, as `ImageDocuments.write` does. */
export const writeContent = (
  image: ImageDocuments.ImageDocuments,
  source: Pick<Source, "attachment" | "snapshotter">,
  chainId: Option.Option<ChainId.ChainId>
) => {
  const { attachment } = source
  return Effect.all(
    [
      ImageDocuments.write(image, configLabels(source, chainId)),
      attachment === undefined ? Effect.void : writeAttachment(attachment, image.manifest)
    ],
    { concurrency: "unbounded", discard: true }
  ).pipe(step("writeContent"))
}
