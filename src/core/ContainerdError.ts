/**
 * The one error of every service in `core`, whichever backend provides it.
 *
 * The `reason` says what happened in portable terms (containerd's errdefs classes), so callers write
 * `Effect.catchReason("ContainerdError", "NotFound", …)` against a daemon and against a directory alike.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

const fields = { message: Schema.String }

/** The thing asked for is not in this namespace. */
export class NotFound extends Schema.TaggedError<NotFound>("effect-containerd/NotFound")("NotFound", fields) {}

/** Something of that name, key, id or digest is already there. For content-addressed things that is success. */
export class AlreadyExists extends Schema.TaggedError<AlreadyExists>("effect-containerd/AlreadyExists")(
  "AlreadyExists",
  fields
) {}

/** The request itself is wrong; sending it again gives the same answer. */
export class InvalidArgument extends Schema.TaggedError<InvalidArgument>("effect-containerd/InvalidArgument")(
  "InvalidArgument",
  fields
) {}

/** The request is fine, the state is not: a snapshot with children, a size or digest that does not match. */
export class FailedPrecondition extends Schema.TaggedError<FailedPrecondition>("effect-containerd/FailedPrecondition")(
  "FailedPrecondition",
  fields
) {}

/** An offset beyond the data that is there. */
export class OutOfRange extends Schema.TaggedError<OutOfRange>("effect-containerd/OutOfRange")("OutOfRange", fields) {}

/** The socket or the file may not be opened by this user. */
export class PermissionDenied extends Schema.TaggedError<PermissionDenied>("effect-containerd/PermissionDenied")(
  "PermissionDenied",
  fields
) {}

/** Disk full, or a message over the size limit. */
export class ResourceExhausted extends Schema.TaggedError<ResourceExhausted>("effect-containerd/ResourceExhausted")(
  "ResourceExhausted",
  fields
) {}

/** This backend, or this version of it, cannot do that. */
export class Unimplemented extends Schema.TaggedError<Unimplemented>("effect-containerd/Unimplemented")(
  "Unimplemented",
  fields
) {}

/** The backend cannot be reached, or an ingest is locked by another writer. */
export class Unavailable extends Schema.TaggedError<Unavailable>("effect-containerd/Unavailable")(
  "Unavailable",
  fields
) {}

/** No answer in time. Whether the request took effect is unknown. */
export class DeadlineExceeded extends Schema.TaggedError<DeadlineExceeded>("effect-containerd/DeadlineExceeded")(
  "DeadlineExceeded",
  fields
) {}

/** Bytes do not have the digest or the size they were announced with. */
export class DigestMismatch extends Schema.TaggedError<DigestMismatch>("effect-containerd/DigestMismatch")(
  "DigestMismatch",
  { expected: Schema.String, actual: Schema.String }
) {
  override get message() {
    return `expected ${this.expected}, got ${this.actual}`
  }
}

/** Everything that has no class of its own: mount errors, I/O errors, errors of the runtime. */
export class Unknown extends Schema.TaggedError<Unknown>("effect-containerd/Unknown")("Unknown", fields) {}

export const Reason = Schema.Union([
  NotFound,
  AlreadyExists,
  InvalidArgument,
  FailedPrecondition,
  OutOfRange,
  PermissionDenied,
  ResourceExhausted,
  Unimplemented,
  Unavailable,
  DeadlineExceeded,
  DigestMismatch,
  Unknown
])
export type Reason = typeof Reason.Type

/**
 * A failed call on a service of `core`.
 *
 * `method` is the service and operation (`Content.Write`), `cause` the backend's own error where there was one.
 */
export class ContainerdError extends Schema.TaggedError<ContainerdError>("effect-containerd/ContainerdError")(
  "ContainerdError",
  { method: Schema.String, reason: Reason, cause: Schema.optionalKey(Schema.Defect()) }
) {
  override get message() {
    return `${this.method}: ${this.reason.message}`
  }
  /** True when nobody can say whether the request took effect; every call of `core` may be sent again. */
  get isRetryable() {
    return this.reason._tag === "Unavailable" || this.reason._tag === "DeadlineExceeded"
  }
}
