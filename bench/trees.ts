/**
 * The files that containers write in the benchmarks: the same bytes in every run and for every tool, as tar files.
 *
 * Compressible as real ones are (gzip to about a third): pieces of programs and of source text, and some of noise.
 */
import { createCipheriv } from "node:crypto"
import { once } from "node:events"
import { createWriteStream, globSync, readFileSync } from "node:fs"
import { pipeline } from "node:stream/promises"
import { fileURLToPath } from "node:url"
import { Effect } from "effect"
import { type Pack, pack } from "tar-stream"
import { epoch } from "../test/support/BaseImage.ts"
import * as Cache from "../test/support/Cache.ts"
import { DaemonError } from "../test/support/Process.ts"

export interface Tree {
  /** Of directories `tree/0`, `tree/1`, … */
  readonly directories: number
  readonly files: number
  /** Of all files together, nearly: each has its own size. */
  readonly bytes: number
  /** The first of the files alone, with other bytes: a change of the same tree. */
  readonly change?: boolean | undefined
}

/** Mulberry32: numbers from 0 to 1, the same for the same seed. */
const numbers = (seed: number) => {
  let state = seed
  return (): number => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

interface Pools {
  readonly programs: Buffer
  readonly texts: Buffer
}

const readPools = (): Pools => {
  const effect = fileURLToPath(new URL("../node_modules/effect/src/", import.meta.url))
  const texts = globSync("*.ts", { cwd: effect }).sort()
  return {
    programs: Buffer.concat([
      readFileSync(Cache.program("dockerd", "dockerd")),
      readFileSync(Cache.program("containerd-2", "containerd"))
    ]),
    texts: Buffer.concat(texts.map((name) => readFileSync(`${effect}${name}`)))
  }
}

/** What cannot be compressed. */
const noise = (size: number, seed: number): Buffer => {
  const key = Buffer.alloc(16)
  key.writeDoubleLE(seed)
  return createCipheriv("aes-128-ctr", key, Buffer.alloc(16)).update(Buffer.alloc(size))
}

const sliceOf = (pool: Buffer, size: number, at: number): Buffer => {
  if (size > pool.length) return Buffer.concat([pool, sliceOf(pool, size - pool.length, at)])
  const start = Math.floor(at * (pool.length - size))
  return pool.subarray(start, start + size)
}

/** Of eight files four are of programs, three are of text, and one is noise. */
const bodyOf = ({ programs, texts }: Pools, size: number, index: number, at: number): Buffer => {
  if (index % 8 === 7) return noise(size, at)
  return sliceOf(index % 2 === 0 ? programs : texts, size, at)
}

/** Most files are small and a few are not; the mean is the given one. */
const sizeOf = (mean: number, chance: number): number => Math.round(mean * (0.1 + 2.7 * chance ** 2))

const owner = { uid: 0, gid: 0, mtime: epoch } as const

/** Waits for each entry to be taken, so that memory does not grow with the tree. */
const add = async (archive: Pack, header: Parameters<Pack["entry"]>[0], body: Buffer): Promise<void> => {
  const entry = archive.entry(header)
  entry.end(body)
  await once(entry, "finish")
}

const addDirectory = (archive: Pack, name: string) =>
  new Promise<void>((resolve, reject) =>
    archive.entry({ ...owner, name, type: "directory", mode: 0o755 }, (error) => (error ? reject(error) : resolve()))
  )

const addAll = async (archive: Pack, tree: Tree): Promise<void> => {
  const pools = readPools()
  const next = numbers(tree.change === true ? 2 : 1)
  if (tree.change !== true) {
    await addDirectory(archive, "tree/")
    for (let i = 0; i < tree.directories; i++) await addDirectory(archive, `tree/${i}/`)
  }
  const files = tree.change === true ? 1 : tree.files
  for (let i = 0; i < files; i++) {
    const size = tree.change === true ? changeSize : sizeOf(tree.bytes / tree.files, next())
    const name = `tree/${i % tree.directories}/file-${i}`
    await add(archive, { ...owner, name, size, mode: i % 7 === 0 ? 0o755 : 0o644 }, bodyOf(pools, size, i, next()))
  }
  archive.finalize()
}

const changeSize = 4000

/** Writes the tree to a tar file. */
export const write = (tree: Tree, path: string): Effect.Effect<void, DaemonError> =>
  Effect.tryPromise({
    try: async () => {
      const archive = pack()
      await Promise.all([pipeline(archive, createWriteStream(path)), addAll(archive, tree)])
    },
    catch: (error) => new DaemonError({ command: "make a tree", detail: String(error) })
  })
