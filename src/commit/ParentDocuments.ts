/**
 * The documents of parent images. What a digest stands for does not change, so one commit remembers them for the next
 * from the same store. Whether they are still there is for `HoldBlobs.ts` to find out.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as ContentStore from "../core/ContentStore.ts"
import * as ImageDocuments from "../core/ImageDocuments.ts"
import type * as Descriptor from "../oci/Descriptor.ts"
import type * as Digest from "../oci/Digest.ts"
import type { Document } from "../oci/Document.ts"
import * as Index from "../oci/Index.ts"
import type * as Manifest from "../oci/Manifest.ts"

/** Of each store and kind. The oldest is forgotten first. */
const capacity = 16

/** Bytes. Most have a few thousand. */
const largest = 256 * 1024

const remembered = <Input, A, E>(
  descriptorOf: (input: Input) => Descriptor.Descriptor,
  read: (input: Input) => Effect.Effect<A, E, ContentStore.ContentStore>
) => {
  const stores = new WeakMap<ContentStore.ContentStore["Service"], Map<Digest.Digest, A>>()
  return Effect.fnUntraced(function* (input: Input) {
    const { digest, size } = descriptorOf(input)
    const store = yield* ContentStore.ContentStore
    const known = stores.get(store) ?? new Map<Digest.Digest, A>()
    stores.set(store, known)
    const before = known.get(digest)
    if (before !== undefined) return before
    const document = yield* read(input)
    if (size > largest) return document
    const [oldest] = known.keys()
    if (known.size >= capacity && oldest !== undefined) known.delete(oldest)
    known.set(digest, document)
    return document
  })
}

const itself = (descriptor: Descriptor.Descriptor) => descriptor

export const readIndex = remembered(itself, (descriptor) =>
  Effect.flatMap(ContentStore.readBytes(descriptor), (bytes) =>
    Effect.fromResult(Index.decode(bytes, descriptor.mediaType))
  )
)

export const readManifest = remembered(itself, ImageDocuments.readManifest)

export const readConfig = remembered(
  ({ value: { config } }: Document<Manifest.Manifest>) => config,
  ImageDocuments.readConfig
)

/** Both, one after the other. */
export const read = Effect.fnUntraced(function* (descriptor: Descriptor.Descriptor) {
  const manifest = yield* readManifest(descriptor)
  return { manifest, config: yield* readConfig(manifest) } satisfies ImageDocuments.ImageDocuments
})
