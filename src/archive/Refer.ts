/**
 * Garbage collection references of an image: what a document refers to is kept by the labels of its blob.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { ContainerdError } from "../core/ContainerdError.ts"
import * as ContentStore from "../core/ContentStore.ts"
import type * as Descriptor from "../oci/Descriptor.ts"
import * as Index from "../oci/Index.ts"
import * as Manifest from "../oci/Manifest.ts"
import * as MediaType from "../oci/MediaType.ts"
import type { OciError } from "../oci/OciError.ts"

interface Reference {
  readonly suffix: string
  readonly descriptor: Descriptor.Descriptor
}

/** The blobs that a document names, with the suffixes that containerd's own pull gives their labels. */
export const children = Effect.fnUntraced(function* (descriptor: Descriptor.Descriptor) {
  const { mediaType } = descriptor
  if (!MediaType.isIndex(mediaType) && !MediaType.isManifest(mediaType)) return []
  const bytes = yield* ContentStore.readBytes(descriptor)
  if (MediaType.isIndex(mediaType)) {
    const { value } = yield* Effect.fromResult(Index.decode(bytes, mediaType))
    return (value.manifests ?? []).map((child, i): Reference => ({ suffix: `m.${i}`, descriptor: child }))
  }
  const { value } = yield* Effect.fromResult(Manifest.decode(bytes, mediaType))
  const layers = (value.layers ?? []).map((child, i): Reference => ({ suffix: `l.${i}`, descriptor: child }))
  return [{ suffix: "config", descriptor: value.config }, ...layers]
})

/** Labels a document and what is below it; of an index, platforms that are not there are left out. */
export const refer = (
  descriptor: Descriptor.Descriptor
): Effect.Effect<void, ContainerdError | OciError, ContentStore.ContentStore> =>
  Effect.gen(function* () {
    const store = yield* ContentStore.ContentStore
    const references = yield* children(descriptor)
    if (references.length === 0) return
    const labels = references.map(({ suffix, descriptor: { digest } }) => [
      `containerd.io/gc.ref.content.${suffix}`,
      digest
    ])
    yield* store.setLabels(descriptor.digest, Object.fromEntries(labels))
    yield* Effect.forEach(
      references,
      (reference) =>
        refer(reference.descriptor).pipe(
          Effect.catchReason("ContainerdError", "NotFound", (_, error) =>
            MediaType.isIndex(descriptor.mediaType) ? Effect.void : Effect.fail(error)
          )
        ),
      { concurrency: "unbounded", discard: true }
    )
  })
