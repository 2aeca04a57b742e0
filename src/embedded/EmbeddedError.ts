/**
 * Errors of the file system, of SQLite and of layers to `ContainerdError`: the only place that knows their codes.
 *
 * @since 0.1.0
 */
import {
  AlreadyExists,
  ContainerdError,
  FailedPrecondition,
  InvalidArgument,
  NotFound,
  PermissionDenied,
  type Reason,
  ResourceExhausted,
  Unavailable,
  Unknown
} from "../core/ContainerdError.ts"
import { LayerError } from "../layer/LayerError.ts"

type MakeReason = (message: string) => Reason

const notFound: MakeReason = (message) => new NotFound({ message })
const alreadyExists: MakeReason = (message) => new AlreadyExists({ message })
const failedPrecondition: MakeReason = (message) => new FailedPrecondition({ message })
const permissionDenied: MakeReason = (message) => new PermissionDenied({ message })
const resourceExhausted: MakeReason = (message) => new ResourceExhausted({ message })
const unavailable: MakeReason = (message) => new Unavailable({ message })

const byErrno: ReadonlyMap<string, MakeReason> = new Map([
  ["ENOENT", notFound],
  ["EEXIST", alreadyExists],
  ["ENOTEMPTY", failedPrecondition],
  ["ENOTDIR", failedPrecondition],
  ["EACCES", permissionDenied],
  ["EPERM", permissionDenied],
  ["EROFS", permissionDenied],
  ["ENOSPC", resourceExhausted],
  ["EDQUOT", resourceExhausted],
  ["EFBIG", resourceExhausted],
  ["EMFILE", resourceExhausted],
  ["ENFILE", resourceExhausted],
  ["EBUSY", unavailable],
  ["EAGAIN", unavailable]
])

const damaged: MakeReason = (message) =>
  failedPrecondition(
    `the state database is damaged (${message}): images and blobs are not in it, so it may be deleted; leases, snapshots and labels are lost then`
  )

/** Primary result codes (sqlite.org/rescode.html). */
const bySqlite: ReadonlyMap<number, MakeReason> = new Map([
  [3, permissionDenied],
  [5, unavailable],
  [6, unavailable],
  [8, permissionDenied],
  [11, damaged],
  [13, resourceExhausted],
  [14, unavailable],
  [26, damaged]
])
/** SQLITE_IOERR_SHMSIZE and SQLITE_IOERR_WRITE: what a full disk looks like before SQLite knows that it is one. */
const fullDisk: ReadonlySet<number> = new Set([4874, 778])

const sqliteReason = (errcode: number, message: string): Reason => {
  if (fullDisk.has(errcode)) return resourceExhausted(message)
  return (bySqlite.get(errcode & 0xff) ?? unknown)(message)
}

const unknown: MakeReason = (message) => new Unknown({ message })

const layerReason = ({ cause, kind, message }: LayerError): Reason => {
  if (kind !== "files") return new InvalidArgument({ message })
  return (byErrno.get(codeOf(cause)) ?? byText(message))(message)
}

const codeOf = (cause: unknown): string =>
  cause instanceof Error && "code" in cause && typeof cause.code === "string" ? cause.code : ""

const reasonOf = (cause: unknown): Reason => {
  if (cause instanceof LayerError) return layerReason(cause)
  if (!(cause instanceof Error)) return unknown(String(cause))
  if ("errcode" in cause && typeof cause.errcode === "number") return sqliteReason(cause.errcode, cause.message)
  return (byErrno.get(codeOf(cause)) ?? byText(cause.message))(cause.message)
}

/** Child processes (`cp`) say only in words what the kernel told them. */
const byText = (message: string): MakeReason => {
  if (/No space left on device|Disk quota exceeded/.test(message)) return resourceExhausted
  return /Permission denied|Operation not permitted/.test(message) ? permissionDenied : unknown
}

/** Leaves a `ContainerdError` as it is, so that the body of a transaction may refuse with one of its own. */
export const toContainerdError =
  (method: string) =>
  (cause: unknown): ContainerdError =>
    cause instanceof ContainerdError ? cause : new ContainerdError({ method, reason: reasonOf(cause), cause })

/** Ends a synchronous section; its `Effect.try` turns the error into a typed failure. */
export const refuse = (method: string, reason: Reason): never => {
  throw new ContainerdError({ method, reason })
}

export const isMissing = (cause: unknown): boolean =>
  cause instanceof Error && "code" in cause && cause.code === "ENOENT"
