/**
 * Keeps the blobs of the parent image while the commit lasts: refer to them first, then look whether they are there.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { ContentStore } from "../core/ContentStore.ts"
import { hold } from "../core/Leases.ts"
import type * as Descriptor from "../oci/Descriptor.ts"
import type * as Digest from "../oci/Digest.ts"

const isMissing = Effect.fnUntraced(function* ({ digest }: Descriptor.Descriptor) {
  const store = yield* ContentStore
  return yield* Effect.as(store.info(digest), false).pipe(
    Effect.catchReason("ContainerdError", "NotFound", () => Effect.succeed(true))
  )
})

/**
 * Those that the labels of the held manifest refer to are held with it, so for an image that was pulled or built this
 * is one look at the manifest, not one lease entry for each layer.
 */
const holdUnreferred = Effect.fnUntraced(function* (
  manifest: Descriptor.Descriptor,
  blobs: ReadonlyArray<Descriptor.Descriptor>
) {
  const store = yield* ContentStore
  const { labels } = yield* store.info(manifest.digest)
  const referred = new Set(
    Object.entries(labels)
      .filter(([key]) => key.startsWith("containerd.io/gc.ref.content"))
      .map(([, digest]) => digest)
  )
  yield* Effect.forEach(
    blobs.filter(({ digest }) => !referred.has(digest)),
    hold,
    { concurrency: "unbounded", discard: true }
  )
})

/** Puts blobs of a manifest that is held already under the lease, and gives those that are not in the content store. */
export const holdBlobs = Effect.fnUntraced(function* (
  manifest: Descriptor.Descriptor,
  blobs: ReadonlyArray<Descriptor.Descriptor>
) {
  yield* holdUnreferred(manifest, blobs)
  const missing = yield* Effect.filter(blobs, isMissing, { concurrency: "unbounded" })
  return missing.map(({ digest }): Digest.Digest => digest)
})
