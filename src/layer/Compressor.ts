/**
 * What compresses a layer, and what each engine can do. Figures: docs/compression.md.
 *
 * @since 0.1.0
 */
import { availableParallelism } from "node:os"
import * as Effect from "effect/Effect"
import type { Compression } from "../oci/MediaType.ts"
import { versionOf } from "./ChildProcess.ts"

/**
 * `node`: zlib in parallel chunks, always there. The others are programs of the PATH.
 */
export type Engine = "node" | "igzip" | "pigz" | "zstd"

/**
 * `auto` is `igzip` for gzip and `zstd` for zstd, where that is in the PATH and no level is given, and `node` otherwise.
 */
export type Compressor = "auto" | Engine

export interface Settings {
  /** Of the engine's own scale: see {@link levels}. By default the one that docs/compression.md gives reasons for. */
  readonly level?: number | undefined
  /** `node` by default: the bytes depend on the input and the level alone, not on what is in the PATH. */
  readonly compressor?: Compressor | undefined
  /**
   * How many cores may compress at once; all by default. `igzip` uses one, `pigz` two or more, and `node` at most as many
   * as libuv has threads (4, or `UV_THREADPOOL_SIZE`). The bytes do not depend on it.
   */
  readonly concurrency?: number | undefined
}

export interface Levels {
  readonly least: number
  readonly most: number
  readonly usual: number
}

export type Packed = Exclude<Compression, "uncompressed">

const scales: Readonly<Record<Engine, Readonly<Partial<Record<Packed, Levels>>>>> = {
  node: { gzip: { least: 1, most: 9, usual: 4 }, zstd: { least: 1, most: 22, usual: 3 } },
  igzip: { gzip: { least: 0, most: 3, usual: 2 } },
  pigz: { gzip: { least: 0, most: 9, usual: 4 } },
  zstd: { zstd: { least: 1, most: 19, usual: 3 } }
}

/** None when the engine does not write that compression. `auto` takes the levels of `node`. */
export const levels = (compressor: Compressor, compression: Packed): Levels | undefined =>
  scales[compressor === "auto" ? "node" : compressor][compression]

/** Whether the engine's program is in the PATH. */
export const isAvailable = (compressor: Compressor): Effect.Effect<boolean> =>
  compressor === "auto" || compressor === "node"
    ? Effect.succeed(true)
    : Effect.map(versionOf(compressor), (version) => version !== "")

/** In a whole commit, where Node has other things to do. */
const quickest = { gzip: "igzip", zstd: "zstd" } as const

/** The engine that `auto` stands for. */
export const choose = ({ compressor = "node", level }: Settings, compression: Packed): Effect.Effect<Engine> => {
  if (compressor !== "auto") return Effect.succeed(compressor)
  if (level !== undefined) return Effect.succeed("node")
  const program = quickest[compression]
  return Effect.map(isAvailable(program), (isThere) => (isThere ? program : "node"))
}

/** Cores that a program may use. */
export const cores = ({ concurrency }: Settings): number => concurrency ?? availableParallelism()
