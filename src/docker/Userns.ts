/**
 * The user namespace that a Docker Engine puts its containers into (`userns-remap`). The engine does not tell its map;
 * it tells the host's ids of the container's root, and took the rest from `/etc/subuid` and `/etc/subgid`.
 *
 * @since 0.1.0
 */
import { readFileSync } from "node:fs"
import type { Info } from "./EngineApi.ts"

/** As the OCI runtime spec says it. */
export interface IdMapping {
  readonly containerID: number
  readonly hostID: number
  readonly size: number
}

export interface Userns {
  /** `UID.GID` of the container's root: the end of the names of the engine's directory and namespaces. */
  readonly suffix: string
  readonly uidMappings: ReadonlyArray<IdMapping>
  readonly gidMappings: ReadonlyArray<IdMapping>
}

interface Range {
  readonly owner: string
  readonly first: number
  readonly size: number
}

const rangesIn = (file: string): ReadonlyArray<Range> => {
  try {
    return readFileSync(file, "utf8")
      .split("\n")
      .flatMap((line) => {
        const [, owner = "", first, size] = /^([^:]+):(\d+):(\d+)$/.exec(line.trim()) ?? []
        return owner === "" ? [] : [{ owner, first: Number(first), size: Number(size) }]
      })
  } catch {
    return []
  }
}

/** What `useradd` gives each user, for an engine whose files are not here. */
const usual = 65536

/** All ranges of the user whose first one begins there, one after the other, as the engine lines them up. */
const mappings = (file: string, root: number): ReadonlyArray<IdMapping> => {
  const ranges = rangesIn(file)
  const firsts = new Map(ranges.toReversed().map((range) => [range.owner, range]))
  const owner = [...firsts.values()].find(({ first }) => first === root)?.owner
  let next = 0
  const own = ranges.filter((range) => range.owner === owner)
  return (own.length === 0 ? [{ first: root, size: usual }] : own).map(({ first, size }) => {
    next += size
    return { containerID: next - size, hostID: first, size }
  })
}

/** `undefined` when the containers' ids are the host's. */
export const of = ({ DockerRootDir, SecurityOptions }: Info): Userns | undefined => {
  const [, uid, gid] = /\/(\d+)\.(\d+)\/?$/.exec(DockerRootDir) ?? []
  const isOn = (SecurityOptions ?? []).some((option) => option.split(",").includes("name=userns"))
  if (!isOn || uid === undefined || gid === undefined) return undefined
  return {
    suffix: `${uid}.${gid}`,
    uidMappings: mappings("/etc/subuid", Number(uid)),
    gidMappings: mappings("/etc/subgid", Number(gid))
  }
}
