/**
 * User and group ids inside and outside of a user namespace.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import { LayerError } from "./LayerError.ts"

/** `size` ids from `containerId` on are, on the host, those from `hostId` on (runtime spec, "User namespace mappings"). */
export interface IdMapping {
  readonly containerId: number
  readonly hostId: number
  readonly size: number
}

export interface IdMap {
  readonly uids: ReadonlyArray<IdMapping>
  readonly gids: ReadonlyArray<IdMapping>
}

/** The id inside of the namespace; `None` for an id that nothing maps to. */
export const toContainer = (mappings: ReadonlyArray<IdMapping>, hostId: number): Option.Option<number> => {
  const mapping = mappings.find((m) => hostId >= m.hostId && hostId < m.hostId + m.size)
  return mapping === undefined ? Option.none() : Option.some(mapping.containerId + (hostId - mapping.hostId))
}

const maxId = 0xffff_ffff

/** Reads `container:host:size`, the form that podman, umoci and nerdctl take (`0:100000:65536`). */
export const parse = (text: string): Result.Result<IdMapping, LayerError> => {
  const numbers = /^(\d{1,10}):(\d{1,10}):(\d{1,10})$/.exec(text)?.slice(1).map(Number) ?? []
  const [containerId, hostId, size] = numbers
  if (containerId === undefined || hostId === undefined || size === undefined || size === 0) {
    return fail(text, "it must be CONTAINER:HOST:SIZE, as in 0:100000:65536")
  }
  if (containerId + size - 1 > maxId || hostId + size - 1 > maxId) return fail(text, "ids have 32 bits")
  return Result.succeed({ containerId, hostId, size })
}

const isRange = (start: number, size: number) =>
  Number.isInteger(start) && Number.isInteger(size) && start >= 0 && size > 0 && start + size - 1 <= maxId

const overlap = (mappings: ReadonlyArray<IdMapping>, side: "containerId" | "hostId") =>
  mappings.some((a, i) => mappings.some((b, j) => i < j && a[side] < b[side] + b.size && b[side] < a[side] + a.size))

/** Refuses a map that is empty, that leaves 32 bits, or that gives an id twice: it could not be turned round. */
export const check = (ids: IdMap): Result.Result<IdMap, LayerError> => {
  for (const [what, mappings] of [
    ["uids", ids.uids],
    ["gids", ids.gids]
  ] as const) {
    if (mappings.length === 0) return fail(what, "it maps nothing")
    const bad = mappings.find((m) => !isRange(m.containerId, m.size) || !isRange(m.hostId, m.size))
    if (bad !== undefined)
      return fail(`${bad.containerId}:${bad.hostId}:${bad.size}`, "ids have 32 bits, and a range must hold one")
    if (overlap(mappings, "containerId") || overlap(mappings, "hostId"))
      return fail(what, "its ranges overlap, and must not: give each id once")
  }
  return Result.succeed(ids)
}

const fail = (text: string, why: string) =>
  Result.fail(new LayerError({ kind: "id-map", message: `invalid id map "${text}": ${why}` }))
