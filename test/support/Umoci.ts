import { mkdirSync } from "node:fs"
import { join } from "node:path"
import { Effect } from "effect"
import * as Cache from "./Cache.ts"
import type { RunningContainerd } from "./Containerd.ts"
import * as Debris from "./Debris.ts"
import { type DaemonError, run } from "./Process.ts"
import * as Tree from "./Tree.ts"

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

/** The files of an image of containerd, which was exported and is unpacked by umoci. */
export const ofImage = Effect.fnUntraced(function* (containerd: RunningContainerd, name: string, namespace?: string) {
  const directory = yield* Debris.directory
  const [tar, layout] = [join(directory, "image.tar"), join(directory, "layout")]
  yield* containerd.ctr(["images", "export", tar, name], { namespace })
  mkdirSync(layout)
  yield* run("tar", ["-xf", tar, "-C", layout])
  const tag = name.slice(name.lastIndexOf(":") + 1)
  return yield* Tree.ofDirectory(yield* unpack(layout, tag, join(directory, "bundle")))
})
