/**
 * Times of a layer that are later than the image (buildah's `--rewrite-timestamp`, and `SOURCE_DATE_EPOCH` in
 * containerd's differ): what changed during the build is as old as the image, what is older stays.
 *
 * @since 0.1.0
 */
import * as TarEntry from "./TarEntry.ts"
import type * as TarRewrite from "./TarRewrite.ts"

/** `latest`: whole seconds since 1970. */
export const clampTimes =
  (latest: number): TarRewrite.Edit =>
  (entry) =>
    TarEntry.mtimeOf(entry.header) > BigInt(latest) * 1_000_000_000n ? { ...entry, mtime: latest } : entry
