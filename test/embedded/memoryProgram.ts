/**
 * Commits a container with a large change: `memoryProgram.ts ROOT COMPRESSION MEBIBYTES FILES`. Prints the size of the
 * layer in bytes, and the most that the process took of memory in KiB.
 */
import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from "node:fs"
import { join } from "node:path"
import { Effect, Option } from "effect"
import { Commit, Embedded } from "effect-containerd"

const [root = "", compression = "", mebibytes = "", files = ""] = process.argv.slice(2)
const mebibyte = 1024 * 1024

/** Half of it compresses well, half not at all. */
const block = () => {
  const bytes = Buffer.alloc(8 * mebibyte, "text that compresses well, for it is always the same; ")
  for (let at = 0; at < bytes.length; at += 131_072) crypto.getRandomValues(bytes.subarray(at, at + 65_536))
  return bytes
}

const writeLarge = (path: string): void => {
  const bytes = block()
  const file = openSync(path, "w")
  // Farther apart than any of the compressions looks back.
  for (let i = 0; i < Number(mebibytes); i += 8) writeSync(file, bytes)
  closeSync(file)
}

const writeMany = (directory: string): void => {
  for (let i = 0; i < Number(files); i++) {
    if (i % 100 === 0) mkdirSync(join(directory, `d${i / 100}`))
    writeFileSync(join(directory, `d${Math.floor(i / 100)}`, `file-${i}`), `content of file ${i}\n`.repeat(10))
  }
}

const compressions = ["gzip", "zstd", "uncompressed"] as const

const program = Effect.gen(function* () {
  const empty = join(root, "../empty")
  mkdirSync(empty)
  yield* Embedded.fromDirectory(empty, { name: "base:1" })
  const { id, rootfs } = yield* Embedded.createContainer("base:1")
  writeLarge(join(rootfs, "large"))
  writeMany(rootfs)
  const { layer } = yield* Commit.commit({
    container: id,
    name: "large:1",
    compression: compressions.find((one) => one === compression)
  })
  const { maxRSS } = process.resourceUsage()
  const size = Option.match(layer, { onNone: () => 0, onSome: ({ descriptor }) => descriptor.size })
  yield* Effect.sync(() => process.stdout.write(JSON.stringify({ maxRSS, layer: size })))
})

await Effect.runPromise(Effect.provide(program, Embedded.layer({ root })))
