/**
 * Step `writeContent`: config and manifest, each with its garbage collection references in the same write.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import * as ImageDocuments from "../core/ImageDocuments.ts"
import type * as ChainId from "../oci/ChainId.ts"
import { step } from "./Run.ts"

export const writeContent = (
  image: ImageDocuments.ImageDocuments,
  snapshotter: string,
  chainId: Option.Option<ChainId.ChainId>
) => {
  const labels = Option.match(chainId, {
    onNone: () => ({}),
    onSome: (name) => ImageDocuments.snapshotLabel(snapshotter, name)
  })
  return ImageDocuments.write(image, labels).pipe(step("writeContent"))
}
