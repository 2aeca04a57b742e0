/** Where it was measured, without a name of anything. */
import { cpus, release, totalmem } from "node:os"
import { Effect, Record } from "effect"
import * as Cache from "../test/support/Cache.ts"
import { type DaemonError, run } from "../test/support/Process.ts"

export interface Machine {
  readonly cpus: number
  readonly memoryGiB: number
  readonly kernel: string
  readonly versions: Readonly<Record<string, string>>
}

const programs = {
  podman: [Cache.program("podman", "podman"), "--version"],
  buildah: [Cache.program("buildah", "buildah"), "--version"],
  runc: [Cache.program("runc", "runc"), "--version"],
  igzip: [Cache.program("igzip", "igzip"), "--version"],
  zstd: [Cache.program("zstd", "zstd"), "--version"],
  tar: ["tar", "--version"]
} as const

const versionOf = ([program, flag]: readonly [string, string]) =>
  Effect.map(run(program, [flag]), (text) => /\d+(\.\d+)+[^\s,]*/.exec(text)?.[0] ?? "")

/** `versions`: those of the daemons. */
export const describe = (versions: Readonly<Record<string, string>>): Effect.Effect<Machine, DaemonError> =>
  Effect.map(Effect.all(Record.map(programs, versionOf)), (found) => ({
    cpus: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    versions: { ...versions, ...found, Node: process.versions.node }
  }))
