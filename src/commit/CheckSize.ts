/**
 * Before anything is read: what the container has written is not more than is allowed.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { TooLarge } from "./CommitError.ts"
import type { Request } from "./Options.ts"
import type { Source } from "./Resolve.ts"

/** Snapshots that are whole copies: their usage is not that of the change. */
const copies = new Set(["directory", "native"])

export const checkSize = Effect.fnUntraced(function* ({ snapshot, snapshotter }: Source, { maxSize }: Request) {
  if (maxSize === undefined) return
  const own = yield* snapshotter.usage(snapshot.name)
  const isCopy = copies.has(snapshotter.name) && snapshot.parent !== ""
  const size = own.size - (isCopy ? (yield* snapshotter.usage(snapshot.parent)).size : 0)
  if (size <= maxSize) return
  const message = `the container has written ${size} bytes, and at most ${maxSize} are allowed: remove what it does not need, or allow more`
  return yield* new TooLarge({ message })
})
