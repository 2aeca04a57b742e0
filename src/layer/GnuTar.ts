/**
 * GNU tar as a child process: it sets and reads what Node has no call for (extended attributes, ACLs, devices, FIFOs,
 * nanoseconds).
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as ChildProcess from "./ChildProcess.ts"
import type { Lost } from "./Concession.ts"
import type { LayerError } from "./LayerError.ts"
import * as RawPath from "./RawPath.ts"

export { type Child, type Ended, end } from "./ChildProcess.ts"

/** A program that is GNU tar, of a version that this module was written for. */
export interface GnuTar {
  readonly program: string
}

const oldest = { major: 1, minor: 30 }

const isUsable = (version: string): boolean => {
  const [, major, minor] = /^tar \(GNU tar\) (\d+)\.(\d+)/.exec(version) ?? []
  const [a, b] = [Number(major), Number(minor)]
  return a > oldest.major || (a === oldest.major && b >= oldest.minor)
}

/** GNU tar 1.30 or later from the PATH, as `tar` or `gtar`; not busybox's, not BSD's. */
export const find: Effect.Effect<Option.Option<GnuTar>> = Effect.gen(function* () {
  for (const program of ["tar", "gtar"]) {
    if (isUsable(yield* ChildProcess.versionOf(program))) return Option.some({ program })
  }
  return Option.none()
})

/** Starts it. Whoever starts it must end it: see {@link end}. */
export const start = ({ program }: GnuTar, args: ReadonlyArray<string>): ChildProcess.Child =>
  ChildProcess.start(program, args, "tar")

/** A process that does not outlive its scope. */
export const startScoped = (
  { program }: GnuTar,
  args: ReadonlyArray<string>
): Effect.Effect<ChildProcess.Child, never, Scope.Scope> => ChildProcess.startScoped(program, args, "tar")

export const failure = (what: string, ended: ChildProcess.Ended): LayerError =>
  ChildProcess.failure("GNU tar", what, ended)

const controls: Readonly<Record<string, string>> = {
  ...{ a: "\x07", b: "\b", f: "\f", n: "\n", r: "\r", t: "\t", v: "\v" }
}

/** Names that it prints are escaped: octal for all that is not printable ASCII and has no letter. */
export const toName = (text: string): RawPath.RawPath =>
  text.replace(/\\([0-7]{3}|.)/g, (_, code: string) =>
    code.length === 3 ? String.fromCharCode(Number.parseInt(code, 8)) : (controls[code] ?? code)
  )

const unescaped = (text: string) => RawPath.toBytes(toName(text)).toString("utf8")

/** `setxattrat: Cannot set 'user.a' extended attribute for file 'x': Operation not supported`, and the like of ACLs. */
const aboutXattr = /^\w+: (Cannot set .*) for file '(.*)': (.*)$/
const aboutFile = /^(.*): (file changed as we read it|File shrank by .*)$/

/** What a warning says was lost. */
export const toLost = (line: string): Lost => {
  const [, what, path, why] = aboutXattr.exec(line) ?? []
  if (what !== undefined && path !== undefined) return { path: unescaped(path), what: `${what}: ${why}` }
  const [, name, happened] = aboutFile.exec(line) ?? []
  return name === undefined || happened === undefined
    ? { path: "", what: line }
    : { path: unescaped(name), what: happened }
}
