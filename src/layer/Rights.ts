/**
 * What this process may do to files: decided before anything is tried, so that what it may not is recorded and not
 * found out one failure at a time.
 *
 * @since 0.1.0
 */
import { readFileSync } from "node:fs"
import * as Effect from "effect/Effect"

/** Ids `first` to `first + count - 1`. */
export interface Range {
  readonly first: number
  readonly count: number
}

export interface Rights {
  /** The user and the group that own what this process makes. */
  readonly self: { readonly uid: number; readonly gid: number }
  /** May give files away, to ids in these ranges; `undefined`: may not. */
  readonly owners: { readonly uids: ReadonlyArray<Range>; readonly gids: ReadonlyArray<Range> } | undefined
  /** Makes devices. */
  readonly devices: boolean
  /** Makes FIFOs; not where only Node can be used. */
  readonly fifos: boolean
  /** Sets attributes in `user.*` and ACLs; not where only Node can be used. */
  readonly xattrs: boolean
  /** Sets `security.capability`. */
  readonly capabilities: boolean
  /** Sets `trusted.*` and the rest of `security.*`. */
  readonly admin: boolean
  /** Permission bits do not hold it up. */
  readonly overridesModes: boolean
}

/** Bits of `linux/capability.h`. */
const capability = { chown: 0n, dacOverride: 1n, sysAdmin: 21n, mknod: 27n, setfcap: 31n }
const allIds: Range = { first: 0, count: 0xffff_ffff }

const readText = (path: string): string | undefined => {
  try {
    return readFileSync(path, "utf8")
  } catch {
    return undefined
  }
}

const idRanges = (path: string): ReadonlyArray<Range> =>
  (readText(path) ?? "")
    .split("\n")
    .map((line) => line.trim().split(/\s+/).map(Number))
    .flatMap(([first, , count]) => (first === undefined || count === undefined ? [] : [{ first, count }]))

const isWhole = (ranges: ReadonlyArray<Range>) =>
  ranges.length === 0 || ranges.some(({ count, first }) => first === 0 && count === allIds.count)

/** An ordinary user: nothing but files of its own. */
export const ordinary = (self: Rights["self"]): Rights => ({
  self,
  owners: undefined,
  devices: false,
  fifos: true,
  xattrs: true,
  capabilities: false,
  admin: false,
  overridesModes: false
})

const read = (): Rights => {
  const self = { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 }
  const mask = /^CapEff:\s*([0-9a-f]+)/m.exec(readText("/proc/self/status") ?? "")?.[1]
  const has = (bit: bigint) => (mask === undefined ? self.uid === 0 : ((BigInt(`0x${mask}`) >> bit) & 1n) === 1n)
  const [uids, gids] = [idRanges("/proc/self/uid_map"), idRanges("/proc/self/gid_map")]
  // Inside of a user namespace devices and `trusted.*` are denied to its root, too.
  const isInitial = isWhole(uids) && isWhole(gids)
  return {
    ...ordinary(self),
    owners: has(capability.chown) ? (isInitial ? { uids: [allIds], gids: [allIds] } : { uids, gids }) : undefined,
    devices: isInitial && has(capability.mknod),
    capabilities: has(capability.setfcap),
    admin: isInitial && has(capability.sysAdmin),
    overridesModes: has(capability.dacOverride)
  }
}

/** Those of this process, from its capabilities and its user namespace (`capabilities(7)`, `user_namespaces(7)`). */
export const current: Effect.Effect<Rights> = Effect.sync(read)

/** What remains of them without GNU tar. */
export const withNodeAlone = (rights: Rights): Rights => ({
  ...rights,
  devices: false,
  fifos: false,
  xattrs: false,
  capabilities: false,
  admin: false
})

const within = (ranges: ReadonlyArray<Range>, id: number) =>
  ranges.some(({ count, first }) => id >= first && id < first + count)

export const mayOwn = ({ owners }: Rights, uid: number, gid: number): boolean =>
  owners !== undefined && within(owners.uids, uid) && within(owners.gids, gid)
