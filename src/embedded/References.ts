/**
 * What a blob refers to.
 *
 * @since 0.1.0
 */
import { closeSync, openSync, readFileSync, readSync } from "node:fs"
import * as Result from "effect/Result"
import type * as Descriptor from "../oci/Descriptor.ts"
import * as Index from "../oci/Index.ts"
import * as Manifest from "../oci/Manifest.ts"
import * as MediaType from "../oci/MediaType.ts"
import { snapshotter } from "./Layout.ts"

type Labels = Readonly<Record<string, string>>

const contentLabel = /^containerd\.io\/gc\.ref\.content(?:$|[./])/
const snapshotLabel = "containerd.io/gc.ref.snapshot."

export const contentOf = (labels: Labels): ReadonlyArray<string> =>
  Object.entries(labels)
    .filter(([key]) => contentLabel.test(key))
    .map(([, digest]) => digest)

/** `gc.ref.snapshot.<snapshotter>`, with `/anything` behind it where one object refers to several. */
export const snapshotsOf = (labels: Labels): ReadonlyArray<string> =>
  Object.entries(labels)
    .filter(([key]) => key.startsWith(snapshotLabel))
    .filter(([key]) => key.slice(snapshotLabel.length).split("/")[0] === snapshotter)
    .map(([, name]) => name)

/** Larger ones are no documents, in bytes. */
const documentLimit = 16 * 1024 * 1024

const startsLikeJson = (path: string): boolean => {
  const descriptor = openSync(path, "r")
  try {
    const first = Buffer.alloc(1)
    return readSync(descriptor, first, 0, 1, 0) === 1 && first.toString() === "{"
  } finally {
    closeSync(descriptor)
  }
}

const isDocument = (path: string, mediaType: string | undefined) =>
  mediaType === undefined ? startsLikeJson(path) : MediaType.isManifest(mediaType) || MediaType.isIndex(mediaType)

/**
 * What the document itself names. Tools other than containerd write no labels, so of a blob without any this is all
 * that is known. Without media type it is looked at; what is no document refers to nothing.
 */
export const documentOf = (
  path: string,
  size: number,
  mediaType: string | undefined
): ReadonlyArray<Descriptor.Descriptor> => {
  if (size > documentLimit || !isDocument(path, mediaType)) return []
  const bytes = readFileSync(path)
  const manifest = Manifest.decode(bytes)
  if (Result.isSuccess(manifest)) {
    const { config, layers, subject } = manifest.success.value
    return [config, ...(layers ?? []), ...(subject === undefined ? [] : [subject])]
  }
  const index = Index.decode(bytes)
  return Result.isSuccess(index) ? (index.success.value.manifests ?? []) : []
}
