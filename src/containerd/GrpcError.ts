/**
 * gRPC status to `ContainerdError`: the only place that knows status codes.
 *
 * @since 0.1.0
 */
import * as Grpc from "@grpc/grpc-js"
import {
  AlreadyExists,
  ContainerdError,
  DeadlineExceeded,
  FailedPrecondition,
  InvalidArgument,
  NotFound,
  OutOfRange,
  PermissionDenied,
  type Reason,
  ResourceExhausted,
  Unavailable,
  Unimplemented,
  Unknown
} from "../core/ContainerdError.ts"

const isServiceError = (cause: unknown): cause is Grpc.ServiceError =>
  cause instanceof Error && "code" in cause && typeof cause.code === "number" && "details" in cause

/** 14 is also what a connection gives that was never made; its text holds the system's error. */
const unavailable = (details: string, address: string): Reason => {
  if (/\bEACCES\b|\bEPERM\b/.test(details)) {
    const message = `may not open ${address}: run as root, or as a user that may read and write the socket`
    return new PermissionDenied({ message })
  }
  if (/\bENOENT\b/.test(details)) {
    const message = `there is no socket ${address}: start containerd, or give the address of its socket`
    return new Unavailable({ message })
  }
  if (/\bECONNREFUSED\b/.test(details)) {
    return new Unavailable({ message: `nobody listens on ${address}: start containerd` })
  }
  return new Unavailable({ message: details })
}

/** Errors without a class have only their text (containerd maps no errno). */
const unknown = (message: string): Reason =>
  /no space left on device|disk quota exceeded/.test(message)
    ? new ResourceExhausted({ message })
    : new Unknown({ message })

const reasonOf = (code: Grpc.status, message: string, address: string): Reason => {
  switch (code) {
    case Grpc.status.INVALID_ARGUMENT:
      return new InvalidArgument({ message })
    case Grpc.status.NOT_FOUND:
      return new NotFound({ message })
    case Grpc.status.ALREADY_EXISTS:
      return new AlreadyExists({ message })
    case Grpc.status.FAILED_PRECONDITION:
      return new FailedPrecondition({ message })
    case Grpc.status.OUT_OF_RANGE:
      return new OutOfRange({ message })
    case Grpc.status.PERMISSION_DENIED:
    case Grpc.status.UNAUTHENTICATED:
      return new PermissionDenied({ message })
    case Grpc.status.RESOURCE_EXHAUSTED:
      return new ResourceExhausted({ message })
    case Grpc.status.UNIMPLEMENTED:
      return new Unimplemented({ message })
    case Grpc.status.UNAVAILABLE:
      return unavailable(message, address)
    case Grpc.status.DEADLINE_EXCEEDED:
      return new DeadlineExceeded({ message: `no answer from ${address} in time (${message})` })
    default:
      return unknown(message)
  }
}

export const toContainerdError =
  (method: string, address: string) =>
  (cause: unknown): ContainerdError => {
    const reason = isServiceError(cause)
      ? reasonOf(cause.code, cause.details, address)
      : unknown(cause instanceof Error ? cause.message : String(cause))
    return new ContainerdError({ method, reason, cause })
  }
