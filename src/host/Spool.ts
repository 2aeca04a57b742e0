/**
 * A tar on the disk, for what cannot wait until it is compressed.
 *
 * @since 0.1.0
 */
import { createReadStream, createWriteStream, openSync, unlinkSync } from "node:fs"
import * as NodeSink from "@effect/platform-node/NodeSink"
import * as NodeStream from "@effect/platform-node/NodeStream"
import type * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { LayerError } from "../layer/LayerError.ts"

const highWaterMark = 1024 * 1024

const onError = (cause: unknown) => new LayerError({ kind: "files", message: `the tar on the disk: ${cause}`, cause })

/** `path` must not be there yet. */
export const write = (tar: Stream.Stream<Uint8Array, LayerError>, path: string): Effect.Effect<void, LayerError> =>
  Stream.run(tar, NodeSink.fromWritable({ evaluate: () => createWriteStream(path, { flags: "wx" }), onError }))

/** Opens it, so that it needs its name no more. */
const openLast = (path: string) => {
  const fd = openSync(path, "r")
  unlinkSync(path)
  return createReadStream(path, { fd, highWaterMark })
}

/** Once: `path` is not there any more from the first byte on. */
export const read = (path: string): Stream.Stream<Uint8Array, LayerError> =>
  NodeStream.fromReadable({ evaluate: () => openLast(path), onError })
