/**
 * Step `writeContent`: config and manifest, each with its garbage collection references in the same write.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { ContentStore } from "../core/ContentStore.ts"
import type * as ChainId from "../oci/ChainId.ts"
import type { Document } from "../oci/Document.ts"
import type { NewImage } from "./NewImage.ts"
import { step } from "./Run.ts"

/** containerd reads no manifests: what a blob refers to, its labels say (containerd docs, "Garbage Collection"). */
const manifestLabels = ({ manifest }: NewImage) => ({
  "containerd.io/gc.ref.content.config": manifest.value.config.digest,
  ...Object.fromEntries(
    (manifest.value.layers ?? []).map(({ digest }, i) => [`containerd.io/gc.ref.content.l.${i}`, digest])
  )
})

const configLabels = (snapshotter: string, chainId: Option.Option<ChainId.ChainId>): Record<string, string> =>
  Option.match(chainId, {
    onNone: () => ({}),
    onSome: (name) => ({ [`containerd.io/gc.ref.snapshot.${snapshotter}`]: name })
  })

const write = Effect.fnUntraced(function* (document: Document<unknown>, labels: Record<string, string>) {
  const store = yield* ContentStore
  yield* store.writeBytes(document.bytes, { mediaType: document.descriptor.mediaType, labels })
})

/** Both at once: under the lease the order does not matter, and no image refers to them yet. */
export const writeContent = Effect.fnUntraced(function* (
  image: NewImage,
  snapshotter: string,
  chainId: Option.Option<ChainId.ChainId>
) {
  yield* Effect.all(
    [write(image.config, configLabels(snapshotter, chainId)), write(image.manifest, manifestLabels(image))],
    { concurrency: "unbounded", discard: true }
  )
}, step("writeContent"))
