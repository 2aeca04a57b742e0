/**
 * What can be wrong with an image archive.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

/** The file cannot be read or written, or is not an archive of images. `message` names it. */
export class ArchiveError extends Schema.TaggedError<ArchiveError>("effect-containerd/ArchiveError")("ArchiveError", {
  message: Schema.String,
  cause: Schema.optionalKey(Schema.Defect())
}) {}

export const failure = (path: string) => (cause: unknown) =>
  new ArchiveError({ message: `${path}: ${cause instanceof Error ? cause.message : String(cause)}`, cause })
