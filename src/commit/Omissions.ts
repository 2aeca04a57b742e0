/**
 * What a layer does not say although the container's file system does: the empty files and directories that a runtime
 * makes to mount something over, and what the caller leaves out.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import picomatch from "picomatch"
import type { Judge, Judged, Verdict } from "../layer/Omit.ts"
import * as RawPath from "../layer/RawPath.ts"
import * as Whiteout from "../layer/Whiteout.ts"
import type * as RuntimeSpec from "../oci/RuntimeSpec.ts"
import type { Request } from "./Options.ts"
import type { Source } from "./Resolve.ts"

/** Made without a mount in the spec: by Docker and podman, and below the `/dev` that is mounted. */
const made = [".dockerenv", "run/.containerenv", "etc/mtab", "dev/console", "dev/mqueue", "dev/pts", "dev/shm"]

/** Where a runtime has mounted something; none for what never ran. */
const mountTargets = ({ mounts }: RuntimeSpec.RuntimeSpec): ReadonlySet<RawPath.RawPath> => {
  const destinations = (mounts ?? []).map(({ destination }) =>
    RawPath.split(RawPath.fromBytes(Buffer.from(destination))).join("/")
  )
  return destinations.length === 0 ? new Set() : new Set([...destinations, ...made])
}

/** Where gVisor keeps what its containers write (gVisor, "Root overlay"). None of them sees it. */
const isFilestore = (path: RawPath.RawPath) => path.startsWith(".gvisor.filestore.")

const isEmptyFile = ({ size, type }: Judged) => type === "0" && size === 0

const judgeStub =
  (targets: ReadonlySet<RawPath.RawPath>): Judge =>
  (path, entry) => {
    if (isFilestore(path)) return "omit"
    // Nothing is mounted over what is gone, so it is the user's deletion.
    if (!targets.has(path) || Whiteout.is(RawPath.toBytes(entry.path))) return "keep"
    if (entry.type === "5") return "if-empty"
    // Docker links /etc/mtab to /proc/mounts.
    return isEmptyFile(entry) || (path === "etc/mtab" && entry.type === "2") ? "omit" : "keep"
  }

/** As a path in a layer is: no slash at either end, no part that says nothing. */
const cleaned = (glob: string): string => RawPath.split(glob).join("/")

const isException = (glob: string) => glob.startsWith("!") && glob[1] !== "("

/** What is wrong with a glob, and what to do about it. */
export const problemOf = (glob: string): string | undefined => {
  if (cleaned(glob) === "") return "names nothing: give a path from the root, or ** for everything"
  if (RawPath.split(glob).includes("..")) return "leads out by ..: give a path from the root"
  if (glob.length > 4096) return "is longer than a path can be: give at most 4096 characters"
  // To picomatch that is everything else; in a .dockerignore it takes back what an earlier line said.
  return isException(glob)
    ? "is an exception, which is not supported: leave it out, or write \\! for a name"
    : undefined
}

type Matches = (path: RawPath.RawPath) => boolean

/** As in a .dockerignore: from the root, and what matches takes everything below it along. `**` is the root, too. */
const matcher = (globs: ReadonlyArray<string>): Matches => {
  const trimmed = globs.map(cleaned)
  const matches = picomatch(trimmed, { dot: true })
  const isWhole = trimmed.includes("**")
  return (path) => {
    for (let at: RawPath.RawPath | undefined = path; at !== undefined && at !== ""; at = RawPath.parent(at)) {
      if (matches(RawPath.show(at))) return true
    }
    return isWhole
  }
}

const judgeExclude = (globs: ReadonlyArray<string>): Judge => {
  const matches = matcher(globs)
  return (path) => (matches(path) ? "omit" : "keep")
}

const judgeInclude = (globs: ReadonlyArray<string>): Judge => {
  const matches = matcher(globs)
  return (path, { type }) => (matches(path) ? "keep" : type === "5" ? "if-empty" : "omit")
}

const strictest = (verdicts: ReadonlyArray<Verdict>): Verdict =>
  verdicts.find((verdict) => verdict === "omit") ?? verdicts.find((verdict) => verdict === "if-empty") ?? "keep"

const keepsStubs = ({ squash = false, stubs = squash === false ? "omit" : "keep" }: Request) => stubs === "keep"

/** None when nothing could be left out of that container. */
export const judgeOf = ({ spec }: Pick<Source, "spec">, request: Request): Option.Option<Judge> => {
  const targets = keepsStubs(request) ? new Set<string>() : mountTargets(spec)
  const judges = [
    ...(targets.size === 0 ? [] : [judgeStub(targets)]),
    ...(request.exclude.length === 0 ? [] : [judgeExclude(request.exclude)]),
    ...(request.include.length === 0 ? [] : [judgeInclude(request.include)])
  ]
  if (judges.length < 2) return Option.fromUndefinedOr(judges[0])
  return Option.some((path, entry) => strictest(judges.map((judge) => judge(path, entry))))
}
