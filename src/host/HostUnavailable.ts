/**
 * Why a container cannot be read on this host's file system.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

/** The snapshotter's directories cannot be read here, or do not hold the container's change alone. Nothing was changed. */
export class HostUnavailable extends Schema.TaggedError<HostUnavailable>("effect-containerd/HostUnavailable")(
  "HostUnavailable",
  { message: Schema.String }
) {}
