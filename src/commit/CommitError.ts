/**
 * What can go wrong in a commit.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { ContainerdError } from "../core/ContainerdError.ts"
import { HostUnavailable } from "../host/HostUnavailable.ts"
import { LayerError } from "../layer/LayerError.ts"
import { OciError } from "../oci/OciError.ts"

export { HostUnavailable }

const fields = { message: Schema.String }

/** An option is not what it must be. Nothing was touched. `cause` is the error of the parser that refused its value. */
export class InvalidOption extends Schema.TaggedError<InvalidOption>("effect-containerd/InvalidOption")(
  "InvalidOption",
  { option: Schema.String, message: Schema.String, cause: Schema.optionalKey(Schema.Defect()) }
) {}

/** No such container in the namespace. */
export class ContainerNotFound extends Schema.TaggedError<ContainerNotFound>("effect-containerd/ContainerNotFound")(
  "ContainerNotFound",
  fields
) {}

/** The container's files are not where a commit could read them, it is no container of its own, or it is going away. */
export class Uncommittable extends Schema.TaggedError<Uncommittable>("effect-containerd/Uncommittable")(
  "Uncommittable",
  fields
) {}

/** Another commit of the same container is under way. */
export class ContainerBusy extends Schema.TaggedError<ContainerBusy>("effect-containerd/ContainerBusy")(
  "ContainerBusy",
  fields
) {}

/** The container has no snapshot there, or there is no such snapshotter. */
export class SnapshotNotFound extends Schema.TaggedError<SnapshotNotFound>("effect-containerd/SnapshotNotFound")(
  "SnapshotNotFound",
  fields
) {}

/** The image that the container was made from is not there, or not for that platform. */
export class ParentNotFound extends Schema.TaggedError<ParentNotFound>("effect-containerd/ParentNotFound")(
  "ParentNotFound",
  fields
) {}

/** The image's name stands for another image now than when the container was made. */
export class ParentMismatch extends Schema.TaggedError<ParentMismatch>("effect-containerd/ParentMismatch")(
  "ParentMismatch",
  fields
) {}

/** Blobs of the parent image are not in the content store: the new image could not be pushed or exported. */
export class ParentIncomplete extends Schema.TaggedError<ParentIncomplete>("effect-containerd/ParentIncomplete")(
  "ParentIncomplete",
  { missing: Schema.Array(Schema.String), message: Schema.String }
) {}

/** The backend's differ cannot write that compression. */
export class UnsupportedCompression extends Schema.TaggedError<UnsupportedCompression>(
  "effect-containerd/UnsupportedCompression"
)("UnsupportedCompression", fields) {}

/** The image would have more layers than allowed. */
export class TooManyLayers extends Schema.TaggedError<TooManyLayers>("effect-containerd/TooManyLayers")(
  "TooManyLayers",
  fields
) {}

/** The container has written more than allowed. */
export class TooLarge extends Schema.TaggedError<TooLarge>("effect-containerd/TooLarge")("TooLarge", fields) {}

export const Reason = Schema.Union([
  InvalidOption,
  ContainerNotFound,
  Uncommittable,
  ContainerBusy,
  SnapshotNotFound,
  ParentNotFound,
  ParentMismatch,
  ParentIncomplete,
  UnsupportedCompression,
  TooManyLayers,
  TooLarge,
  HostUnavailable,
  ContainerdError,
  LayerError,
  OciError
])
export type Reason = typeof Reason.Type

export const Step = Schema.Literals([
  "options",
  "resolve",
  "lease",
  "readParent",
  "pause",
  "diff",
  "unremap",
  "apply",
  "writeContent",
  "unpack",
  "createImage"
])
export type Step = typeof Step.Type

/** A commit that failed, and where. When it is raised everything the commit had made is gone again. */
export class CommitError extends Schema.TaggedError<CommitError>("effect-containerd/CommitError")("CommitError", {
  container: Schema.String,
  step: Step,
  reason: Reason
}) {
  override readonly cause = this.reason
  override get message() {
    const { reason, step } = this
    const what =
      reason._tag === "ContainerdError" ? `${reason.reason.message} (${reason.method} in step ${step})` : reason.message
    return `cannot commit container ${this.container}: ${what}`
  }
  get isRetryable() {
    return this.reason._tag === "ContainerBusy" || (this.reason._tag === "ContainerdError" && this.reason.isRetryable)
  }
}
