/**
 * Docker gives every file of a container in a user namespace to the ids of the namespace when it makes the container, so
 * that the upper directory holds the whole image. Nobody else does that.
 *
 * @since 0.1.0
 */
import { type BigIntStats, statSync } from "node:fs"
import { madeAt } from "./Overlay.ts"

export interface Container {
  /** Milliseconds since 1970: before the pass. */
  readonly createdAt?: number | undefined
  /** moby makes it when the pass is over, and before anything else may write to the container's files (`daemon.create`). */
  readonly directory?: string | undefined
}

/** Nanoseconds. Longer ago, the directories were moved here, and their times say nothing. */
const longest = 600_000_000_000n

/** Of a file system that cannot tell two times in the same second apart. */
const isCoarse = (time: bigint) => time % 1_000_000_000n === 0n

/** When the pass began and ended, in nanoseconds since 1970, where the file systems can tell. */
const passOf = ({ createdAt, directory }: Container, upper: string) => {
  if (createdAt === undefined || directory === undefined) return undefined
  const made = statSync(directory, { bigint: true, throwIfNoEntry: false })
  if (made === undefined) return undefined
  const [begun, prepared, ended] = [BigInt(createdAt) * 1_000_000n, madeAt(upper), made.birthtimeNs]
  const isInOrder = begun <= prepared && prepared < ended && ended < begun + longest
  // A file system that does not know when something was made may give another time for that.
  return isInOrder && ended < made.ctimeNs && !isCoarse(prepared) ? { begun, ended } : undefined
}

/**
 * Tells what nothing but the pass has touched, which is as it is in the image, then. A file that was written to has a later
 * time; if the clock was put back, to a moment of the pass, the time of its content must be older, too, to overlook it.
 */
export const isUntouched = (container: Container, upper: string): ((upper: BigIntStats) => boolean) | undefined => {
  const pass = passOf(container, upper)
  return pass && (({ ctimeNs, mtimeNs }) => pass.begun <= ctimeNs && ctimeNs < pass.ended && mtimeNs < pass.begun)
}
