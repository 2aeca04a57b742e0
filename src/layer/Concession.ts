/**
 * Makes of an entry what the user has the right to make, and says what was given up.
 *
 * @since 0.1.0
 */
import type * as Metadata from "./Metadata.ts"
import * as RawPath from "./RawPath.ts"
import * as Rights from "./Rights.ts"
import type * as TarEntry from "./TarEntry.ts"

/** Something of a layer or of a directory that did not get through. */
export interface Lost {
  /** Below the root, "" for the root or for no path in particular; bytes that are not UTF-8 read `\xff`. */
  readonly path: string
  readonly what: string
}

export interface Concession {
  /** What can be made. */
  readonly entry: TarEntry.TarEntry
  /** What should be, where that is something else. */
  readonly attributes: Metadata.Attributes
  readonly lost: ReadonlyArray<Lost>
}

/** Overlayfs obeys these: a layer could make a directory show what is elsewhere. containerd sets none of `trusted.*`. */
const isOverlay = (name: string) => name.startsWith("trusted.overlay.") || name.startsWith("user.overlay.")

/** Why an attribute cannot be set; "" when it can. */
const refusal = (name: string, type: TarEntry.Type, rights: Rights.Rights): string => {
  if (isOverlay(name)) return "would change what an overlay mount shows"
  if (!rights.xattrs) return "needs GNU tar"
  if (name === "security.capability") return rights.capabilities ? "" : "needs CAP_SETFCAP"
  if (name.startsWith("trusted.") || name.startsWith("security.")) return rights.admin ? "" : "needs CAP_SYS_ADMIN"
  // The kernel has these on files and directories only.
  return name.startsWith("user.") && type !== "0" && type !== "5" ? "is for files and directories only" : ""
}

/** A directory must be listed and a file read to make a layer of them. */
const readable = (type: TarEntry.Type, mode: number): number => {
  if (type === "5") return mode | 0o500
  return type === "0" ? mode | 0o400 : mode
}

const kinds = { "3": "a character device", "4": "a block device", "6": "a FIFO" }

const concedeType = (entry: TarEntry.TarEntry, rights: Rights.Rights) => {
  const { major, minor, type } = entry
  if (type !== "3" && type !== "4" && type !== "6") return undefined
  if (type === "6" ? rights.fifos : rights.devices) return undefined
  const numbers = type === "6" ? "" : ` (${major}:${minor})`
  return {
    change: { type: "0", major: 0, minor: 0 } as const,
    attributes: { special: { type, major, minor } },
    what: `${kinds[type]}${numbers}: an empty file stands in its place`
  }
}

const concedeXattrs = (entry: TarEntry.TarEntry, type: TarEntry.Type, rights: Rights.Rights) => {
  const refused = entry.xattrs.flatMap(({ name, value }) => {
    const why = refusal(name, type, rights)
    return why === "" ? [] : [{ name, value, why }]
  })
  if (refused.length === 0) return undefined
  const names = new Set(refused.map(({ name }) => name))
  const kept = refused.filter(({ name }) => !isOverlay(name))
  return {
    change: { xattrs: entry.xattrs.filter(({ name }) => !names.has(name)) },
    attributes:
      kept.length === 0
        ? {}
        : { xattrs: kept.map(({ name, value }) => [name, Buffer.from(value).toString("base64")] as const) },
    what: refused.map(({ name, why }) => `the extended attribute ${RawPath.show(name)} ${why}`)
  }
}

const concedeOwner = ({ gid, uid }: TarEntry.TarEntry, rights: Rights.Rights) => {
  if (Rights.mayOwn(rights, uid, gid)) return undefined
  const { self } = rights
  // Who may not give files away stands for root, as in umoci's rootless mode; that alone is no loss.
  const standsForRoot = rights.owners === undefined && uid === 0 && gid === 0
  return {
    change: self,
    attributes: standsForRoot ? {} : { owner: { uid, gid } },
    what: standsForRoot || (uid === self.uid && gid === self.gid) ? [] : [`the owner ${uid}:${gid}`]
  }
}

const concedeMode = (type: TarEntry.Type, mode: number, rights: Rights.Rights) => {
  const shown = rights.overridesModes ? mode : readable(type, mode)
  if (shown === mode) return undefined
  const what = `the mode ${mode.toString(8)}: ${shown.toString(8)} is there, for its owner could not read it`
  return { change: { mode: shown }, attributes: { mode: { real: mode, shown } }, what }
}

export const concede = (entry: TarEntry.TarEntry, rights: Rights.Rights): Concession => {
  // A hard link has no attributes of its own.
  if (entry.type === "1") return { entry, attributes: {}, lost: [] }
  const special = concedeType(entry, rights)
  const type = special?.change.type ?? entry.type
  const xattrs = concedeXattrs(entry, type, rights)
  const owner = concedeOwner(entry, rights)
  const mode = concedeMode(type, entry.mode, rights)
  const what = [special, xattrs, owner, mode].flatMap((concession) => concession?.what ?? [])
  const path = RawPath.show(entry.path)
  return {
    entry: { ...entry, ...special?.change, ...xattrs?.change, ...owner?.change, ...mode?.change },
    attributes: { ...special?.attributes, ...xattrs?.attributes, ...owner?.attributes, ...mode?.attributes },
    lost: what.map((text) => ({ path, what: text }))
  }
}
