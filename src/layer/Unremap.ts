/**
 * Turns host ids in a layer back into the container's ids (moby's `unremapRootFS`, on the tar instead of the files:
 * the cost follows the change and no file is touched).
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import * as IdMap from "./IdMap.ts"
import { LayerError } from "./LayerError.ts"
import type { PaxRecord } from "./TarHeader.ts"
import type * as TarRewrite from "./TarRewrite.ts"
import * as Whiteout from "./Whiteout.ts"

const capabilityKey = "SCHILY.xattr.security.capability"

/**
 * File capabilities set inside of a user namespace name its root (revision 3, `capabilities(7)`); outside of it they
 * would be void. Revision 2 is the same without that field.
 */
const withoutRootId = (record: PaxRecord): PaxRecord => {
  const { key, value } = record
  if (key !== capabilityKey || value.length !== 24 || value[3] !== 3) return record
  const revision2 = Uint8Array.from(value.subarray(0, 20))
  revision2[3] = 2
  return { key, value: revision2 }
}

const mapped = (mappings: ReadonlyArray<IdMap.IdMapping>, id: number, what: string, path: Uint8Array): number =>
  Option.getOrThrowWith(IdMap.toContainer(mappings, id), () => {
    const shown = JSON.stringify(new TextDecoder().decode(path))
    return new LayerError({ kind: "id-map", message: `${shown} has the ${what} ${id}, which the id map does not have` })
  })

/** Maps owners and rewrites capabilities; refuses an id that is not mapped, and names the path. */
export const unremap =
  (ids: IdMap.IdMap): TarRewrite.Edit =>
  ({ gid, path, pax, uid }) =>
    // A whiteout is no file and has no owner; differs write it with the ids 0, which the host's root has.
    Whiteout.is(path)
      ? { uid, gid, pax }
      : {
          uid: mapped(ids.uids, uid, "uid", path),
          gid: mapped(ids.gids, gid, "gid", path),
          pax: pax.some((record) => withoutRootId(record) !== record) ? pax.map(withoutRootId) : pax
        }
