/**
 * Whiteouts: the entries of a layer that say what is gone (image spec, layer.md, "Whiteouts").
 *
 * @since 0.1.0
 */
import * as RawPath from "./RawPath.ts"
import type * as TarRewrite from "./TarRewrite.ts"

/** Begins the name of every whiteout. What follows is the name that is gone. */
export const prefix = ".wh."
/** Says that a directory shows nothing of lower layers. */
export const opaque = ".wh..wh..opq"
/** Begins names that aufs kept for itself, `opaque` among them. */
export const auxiliary = ".wh..wh."

/** The path of the whiteout of a path. */
export const of = (path: RawPath.RawPath): RawPath.RawPath =>
  RawPath.join(RawPath.parent(path) ?? "", `${prefix}${path.slice(path.lastIndexOf("/") + 1)}`)

/** True for the name of a whiteout, opaque markers included. */
export const is = (path: Uint8Array): boolean => /(?:^|\/)\.wh\.[^/]*$/.test(new TextDecoder().decode(path))

/**
 * Gives whiteouts no time. What they stand for has none, and the differs of containerd 1.6 and 1.7 put the time of the
 * run there, so that no two layers of the same change would be the same.
 */
export const timeless: TarRewrite.Edit = (entry) => (is(entry.path) ? { ...entry, mtime: 0 } : entry)
