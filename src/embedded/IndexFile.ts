/**
 * `index.json`: the images of the layout, ours and those that other tools wrote.
 *
 * @since 0.1.0
 */
import { readFileSync } from "node:fs"
import * as Result from "effect/Result"
import { FailedPrecondition } from "../core/ContainerdError.ts"
import type * as Descriptor from "../oci/Descriptor.ts"
import * as Index from "../oci/Index.ts"
import { refuse } from "./EmbeddedError.ts"
import * as Files from "./Files.ts"
import type { Paths } from "./Layout.ts"

/** As it is now: a write replaces the file at once, so no lock is needed. */
export const read = (paths: Paths, method: string): Index.Index => {
  const decoded = Index.decode(readFileSync(paths.index))
  if (Result.isSuccess(decoded)) return decoded.success.value
  const message = `${paths.index} is not an image index: ${decoded.failure.detail}`
  return refuse(method, new FailedPrecondition({ message }))
}

export const entries = (index: Index.Index): ReadonlyArray<Descriptor.Descriptor> => index.manifests ?? []

/**
 * Only inside of a transaction, which keeps other processes of this library away. Keys that we do not know stay, in the
 * index and in its entries.
 */
export const write = (paths: Paths, index: Index.Index, manifests: ReadonlyArray<Descriptor.Descriptor>): void =>
  Files.replaceFile(paths.index, paths.newIndex, Index.encode({ ...index, manifests }).bytes)
