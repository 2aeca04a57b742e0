/**
 * The directories behind a snapshot of containerd's overlayfs snapshotter, as its mounts name them.
 *
 * @since 0.1.0
 */
import { readFileSync, statSync } from "node:fs"
import * as Path from "node:path"
import * as Result from "effect/Result"
import type { Mount } from "../core/Mount.ts"
import { HostUnavailable } from "./HostUnavailable.ts"

/** Of a writable snapshot. */
export interface Overlay {
  /** What was written. Its parent belongs to the snapshot alone. */
  readonly upper: string
  /** Below it, the top one first. */
  readonly lowers: ReadonlyArray<string>
  /** Its marks are in `user.overlay.*`, not in `trusted.overlay.*`. */
  readonly userxattr: boolean
}

const fail = (message: string) => Result.fail(new HostUnavailable({ message }))

const optionOf = (options: ReadonlyArray<string>, key: string): string =>
  options.find((option) => option.startsWith(`${key}=`))?.slice(key.length + 1) ?? ""

/** With these, a directory or a file shows what is at another path. */
const features = ["redirect_dir", "metacopy"]

const isOn = (value: string) => value === "on" || value === "Y"

const kernelDefault = (feature: string): string => {
  try {
    return readFileSync(`/sys/module/overlay/parameters/${feature}`, "utf8").trim()
  } catch {
    return ""
  }
}

const featureIn = (options: ReadonlyArray<string>): string | undefined =>
  features.find((feature) => isOn(optionOf(options, feature) || kernelDefault(feature)))

/** Without a parent, a snapshot is one directory. */
export const fromMounts = ([mount, ...others]: ReadonlyArray<Mount>): Result.Result<Overlay, HostUnavailable> => {
  if (mount === undefined || others.length > 0) return fail("the snapshot is not one mount")
  const { options, source, type } = mount
  if (type === "bind" && options.includes("rw")) return Result.succeed({ upper: source, lowers: [], userxattr: false })
  if (type !== "overlay") return fail(`the snapshot is no overlay, but a mount of the type ${type}`)
  const feature = featureIn(options)
  if (feature !== undefined) return fail(`the overlay is mounted with ${feature}`)
  const [upper, lower] = [optionOf(options, "upperdir"), optionOf(options, "lowerdir")]
  if (upper === "" || lower === "") return fail("the overlay has no upper or no lower directory")
  return Result.succeed({ upper, lowers: lower.split(":"), userxattr: options.includes("userxattr") })
}

/** Where the snapshotter keeps its snapshots: `DIR/ID/fs`. */
export const homeOf = ({ upper }: Overlay): string => Path.dirname(Path.dirname(upper))

/**
 * When the snapshot was made whose directory that is, in nanoseconds since 1970: nothing in it is older. 0, before everything,
 * where there is none, or the file system does not know it.
 */
export const madeAt = (directory: string | undefined): bigint =>
  directory === undefined ? 0n : statSync(Path.dirname(directory), { bigint: true }).birthtimeNs

/** A tick of the kernel's clock for files, and some. */
const tolerance = 100

/**
 * Proves that the daemon's directories are the ones that are seen here, and not others of the same name (the client may
 * be in a container, the daemon on another machine): one that was made `since` (milliseconds since 1970) must be new.
 */
export const checkSeen = (container: Overlay, target: Overlay, since: number): Result.Result<void, HostUnavailable> => {
  const made = statSync(target.upper, { throwIfNoEntry: false })
  if (made?.isDirectory() !== true) return fail(`the snapshotter's directory ${target.upper} is not on this host`)
  if (made.ctimeMs < since - tolerance)
    return fail(`${target.upper} is not the directory that the daemon has just made`)
  return homeOf(container) === homeOf(target)
    ? Result.succeed(undefined)
    : fail("the container's snapshot and the new one are not in the same place")
}
