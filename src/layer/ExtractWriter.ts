/**
 * Puts entries into a directory. Their paths are resolved already and lead through nothing but directories, their
 * parents are there, and nothing is in their way but a non-directory that came from the same writer.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as LentBytes from "../internal/LentBytes.ts"
import * as Acl from "./Acl.ts"
import type { Lost } from "./Concession.ts"
import * as GnuTar from "./GnuTar.ts"
import type { LayerError } from "./LayerError.ts"
import * as RawPath from "./RawPath.ts"
import type * as Rights from "./Rights.ts"
import type * as TarEntry from "./TarEntry.ts"
import type { PaxRecord } from "./TarHeader.ts"
import * as TarWriter from "./TarWriter.ts"

export interface ExtractWriter {
  readonly entry: (entry: TarEntry.TarEntry) => void
  /** A part of the content of the entry before. */
  readonly data: (bytes: Uint8Array) => void
  /** Waits until more can be taken, so that nothing piles up. */
  readonly flush: Effect.Effect<void, LayerError>
  /** When this is done, all that was given is on the disk, modes and times of directories included. */
  readonly settle: Effect.Effect<void, LayerError>
  readonly lost: Array<Lost>
}

/** `entries`: all that an entry says. `times`: modes and times of directories, for which ACLs must stay as they are. */
type What = "entries" | "times"

/**
 * Names are taken as they are (`-P`): they were resolved, and GNU tar's own caution would put an empty file in the
 * place of each symlink that leads up until it ends. ACLs are set for every entry (`--acls`), or a file in a directory
 * of a lower layer that has a default ACL would get that.
 */
const args = (directory: string, rights: Rights.Rights, what: What): ReadonlyArray<string> => [
  ...["-x", "-f", "-", "-P", "-C", directory],
  ...["-p", rights.owners === undefined ? "--no-same-owner" : "--same-owner", "--numeric-owner"],
  ...(what === "entries" ? ["--xattrs", "--xattrs-include=*", "--acls"] : ["--no-xattrs", "--no-acls"]),
  ...["--delay-directory-restore", "--no-selinux", "--warning=no-timestamp", "--quoting-style=escape"]
]

/** GNU tar takes `%3D` in the name of an attribute for "=", and sets ACLs of their text only. */
const writeFor = (tar: TarWriter.TarWriter, entry: TarEntry.TarEntry, lost: Array<Lost>): void => {
  const acls: Array<PaxRecord> = []
  const xattrs: Array<TarEntry.Xattr> = []
  for (const { name, value } of entry.xattrs) {
    if (name !== "system.posix_acl_access" && name !== "system.posix_acl_default") {
      xattrs.push({ name: name.replaceAll("%", "%25"), value })
      continue
    }
    const text = Acl.toText(value)
    if (text === undefined) lost.push({ path: RawPath.show(entry.path), what: `${name} is no access control list` })
    else acls.push({ key: Acl.names[name], value: Buffer.from(text) })
  }
  tar.entry({ ...entry, xattrs }, acls)
}

/** Waits until the pipe takes more or the process is gone; the latter is told when it is asked to end. */
const drained = (child: GnuTar.Child): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    const { stdin } = child
    const stop = () => stdin.off("drain", go).off("close", go).off("error", go)
    const go = () => {
      stop()
      resume(Effect.void)
    }
    stdin.on("drain", go).on("close", go).on("error", go)
    return Effect.sync(stop)
  })

const failed = (outcome: GnuTar.Ended) => GnuTar.failure("extract the layer", outcome)

const ended = (child: GnuTar.Child): Effect.Effect<GnuTar.Ended, LayerError> =>
  Effect.flatMap(
    Effect.promise(() => child.done),
    (outcome) => (outcome.code === 0 ? Effect.succeed(outcome) : Effect.fail(failed(outcome)))
  )

/** It ended before its input did. */
const gone = (child: GnuTar.Child): Effect.Effect<never, LayerError> =>
  Effect.flatMap(
    Effect.promise(() => child.done),
    (outcome) => Effect.fail(failed(outcome))
  )

/** GNU tar, started when there is something to do, and again after each time that it has to settle. */
export const makeGnuTar = (
  tar: GnuTar.GnuTar,
  directory: string,
  rights: Rights.Rights,
  what: What = "entries"
): Effect.Effect<ExtractWriter, never, Scope.Scope> =>
  Effect.gen(function* () {
    const lost: Array<Lost> = []
    const stream = TarWriter.make()
    let child: GnuTar.Child | undefined
    let isBegun = false
    yield* Effect.addFinalizer(() => (child === undefined ? Effect.void : GnuTar.end(child)))

    const flush = Effect.suspend(() => {
      const pieces = stream.take()
      if (pieces.length === 0) return Effect.void
      child ??= GnuTar.start(tar, args(directory, rights, what))
      const { stdin } = child
      if (stdin.destroyed) return gone(child)
      const isTaken = pieces.map((piece) => stdin.write(piece, () => LentBytes.giveBack(piece)))
      return isTaken.at(-1) === true ? Effect.void : drained(child)
    })

    const end = Effect.suspend(() => {
      if (child === undefined) return Effect.void
      child.stdin.end()
      return Effect.map(ended(child), ({ lines }) => {
        child = undefined
        for (const line of lines) lost.push(GnuTar.toLost(line))
      })
    })

    return {
      entry: (entry) => {
        isBegun = true
        writeFor(stream, entry, lost)
      },
      data: stream.data,
      flush,
      settle: Effect.suspend(() => {
        if (!isBegun) return Effect.void
        isBegun = false
        stream.end()
        return Effect.andThen(flush, end)
      }),
      lost
    } satisfies ExtractWriter
  })
