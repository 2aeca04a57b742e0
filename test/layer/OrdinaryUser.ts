/** Run by a test as another user: extracts layers one on top of the other and makes one layer of the result. */
import * as Fs from "node:fs"
import { Effect, Stream } from "effect"
import * as DirectoryDiff from "../../src/layer/DirectoryDiff.ts"
import * as Extract from "../../src/layer/Extract.ts"
import * as Metadata from "../../src/layer/Metadata.ts"

const [root = "", out = "", ...layers] = process.argv.slice(2)

const program = Effect.gen(function* () {
  Fs.mkdirSync(root)
  let metadata = Metadata.empty
  for (const layer of layers) {
    const tar = Stream.make(Fs.readFileSync(layer))
    metadata = (yield* Extract.extract(tar, root, { metadata })).metadata
  }
  // What is stored beside the directory is text.
  const stored = yield* Effect.fromResult(Metadata.fromJson(Metadata.toJson(metadata)))
  const tar = yield* Stream.mkUint8Array(DirectoryDiff.diff({ lower: undefined, upper: root, metadata: stored }))
  Fs.writeFileSync(out, tar)
})

await Effect.runPromise(program)
