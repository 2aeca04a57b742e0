/** Layers with many large files, and whether their bytes get through memory that is used again. */
import { createHash } from "node:crypto"
import * as Fs from "node:fs"
import { join } from "node:path"
import { assert } from "@effect/vitest"
import { Effect, Stream } from "effect"
import * as Compression from "../../src/layer/Compression.ts"
import type * as Compressor from "../../src/layer/Compressor.ts"
import * as DirectoryDiff from "../../src/layer/DirectoryDiff.ts"
import type * as LargeFiles from "../../src/layer/LargeFiles.ts"
import { compressible } from "./Compressible.ts"
import * as Trees from "./Trees.ts"

const mib = 1024 * 1024

export const limits: LargeFiles.Limits = { least: 32 * 1024, together: 0 }
export const byTar: LargeFiles.Limits = { least: Number.POSITIVE_INFINITY, together: 1 }

export const write = (upper: string, largeFiles: LargeFiles.Limits, report?: DirectoryDiff.Options["report"]) =>
  DirectoryDiff.diff({ lower: undefined, upper, largeFiles, report })

export const bytesOf = (stream: ReturnType<typeof write>) =>
  Effect.map(Stream.mkUint8Array(stream), (tar) => Buffer.from(tar))

/** Many files, large and small: 48 MiB. */
export const place = (root: string): string => {
  Fs.mkdirSync(root)
  for (let i = 0; i < 160; i++) {
    const size = [10, 5000, 40_000, 300_000, 1_400_000][i % 5] ?? 0
    const shift = (i * 77_777) % (8 * mib)
    Fs.writeFileSync(join(root, `file-${i}`), compressible(shift + size).subarray(shift))
  }
  return root
}

const sha = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex")

/** With somebody in between who takes his time. */
export const compressed = ([form, compressor]: readonly ["gzip" | "zstd", Compressor.Engine]) =>
  Effect.gen(function* () {
    const root = place(join(yield* Trees.temporary, "root"))
    const expected = sha(yield* bytesOf(write(root, byTar)))
    for (const concurrency of [1, 4]) {
      const hash = createHash("sha256")
      const blob = write(root, limits).pipe(
        Stream.map((bytes) => {
          hash.update(bytes)
          return bytes
        }),
        Stream.mapEffect((bytes, index) => Effect.as(index % 8 === 0 ? Effect.sleep(1) : Effect.void, bytes)),
        Stream.buffer({ capacity: 4 }),
        Compression.compress(form, { compressor, concurrency, level: 1 })
      )
      const tar = yield* Stream.mkUint8Array(blob.pipe(Compression.decompress))
      assert.strictEqual(hash.digest("hex"), expected)
      assert.strictEqual(sha(tar), expected)
    }
  }).pipe(Effect.scoped)
