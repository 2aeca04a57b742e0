import { join } from "node:path"
import { Effect } from "effect"
import * as Cache from "./Cache.ts"
import { type DaemonError, run } from "./Process.ts"

export interface Options {
  /** Owners become the caller, and devices empty files. */
  readonly rootless?: boolean | undefined
}

/** Unpacks an image of a layout into a directory that does not exist yet, and gives the path of its root. */
export const unpack = (
  layout: string,
  tag: string,
  bundle: string,
  options: Options = {}
): Effect.Effect<string, DaemonError> => {
  const flags = options.rootless === true ? ["--rootless"] : []
  const args = ["unpack", ...flags, "--image", `${layout}:${tag}`, bundle]
  return Effect.as(run(Cache.program("umoci", "umoci"), args), join(bundle, "rootfs"))
}
