/**
 * The root directory: an OCI image layout, and beside it what the layout has no place for.
 *
 * ```
 * oci-layout  index.json  blobs/<algorithm>/<hex>          any tool for OCI layouts reads these, and may write them
 * .effect-containerd/
 *   state.db                                               labels, leases, snapshots, ingests, containers
 *   ingest/<id>/data                                       blobs that are not complete
 *   snapshots/directory/<id>/fs                            file systems
 *   snapshots/directory/<id>/metadata.json                 what an ordinary user could not give to the files
 *   snapshots/directory/<id>/copied                        made when the copy of the parent was finished
 * ```
 *
 * @since 0.1.0
 */
import { mkdirSync, readdirSync, readFileSync } from "node:fs"
import { join, resolve } from "node:path"
import * as Schema from "effect/Schema"
import { FailedPrecondition } from "../core/ContainerdError.ts"
import * as Digest from "../oci/Digest.ts"
import { refuse } from "./EmbeddedError.ts"
import * as Files from "./Files.ts"

export const snapshotter = "directory"

const state = ".effect-containerd"
const method = "Embedded.open"

export interface Paths {
  readonly root: string
  readonly index: string
  readonly database: string
  /** The bytes of a blob. */
  readonly blob: (digest: Digest.Digest) => string
  readonly blobs: (algorithm: Digest.Algorithm) => string
  /** Holds the data of one ingest. */
  readonly ingest: (id: string) => string
  readonly ingestData: (id: string) => string
  readonly ingests: string
  /** Holds one snapshot. */
  readonly snapshot: (id: string) => string
  /** The snapshot's own root. */
  readonly fs: (id: string) => string
  readonly snapshots: string
  /** Becomes `index`. Only the one who has the transaction writes it, so whoever has it may remove one. */
  readonly newIndex: string
  /** A name that was never used, on the file system of the layout. */
  readonly temporary: () => string
}

export const paths = (directory: string): Paths => {
  const root = resolve(directory)
  const below = (...names: ReadonlyArray<string>) => join(root, state, ...names)
  const snapshots = below("snapshots", snapshotter)
  const blobs = (algorithm: Digest.Algorithm) => join(root, "blobs", algorithm)
  return {
    root,
    index: join(root, "index.json"),
    database: below("state.db"),
    blobs,
    blob: (digest) => join(blobs(Digest.algorithm(digest)), Digest.hex(digest)),
    ingests: below("ingest"),
    ingest: (id) => below("ingest", id),
    ingestData: (id) => below("ingest", id, "data"),
    snapshots,
    snapshot: (id) => join(snapshots, id),
    fs: (id) => join(snapshots, id, "fs"),
    newIndex: below("index.json.new"),
    temporary: () => below(`tmp-${crypto.randomUUID()}`)
  }
}

/** What an opening that was cut off may have left; a directory with nothing else is as good as an empty one. */
const ours: ReadonlySet<string> = new Set(["oci-layout", "index.json", "blobs", state])

const marker = Schema.fromJsonString(Schema.Struct({ imageLayoutVersion: Schema.String }))
const isMarker = Schema.is(Schema.Struct({ imageLayoutVersion: Schema.Literal("1.0.0") }))

const checkMarker = (root: string): void => {
  const decoded = Schema.decodeUnknownOption(marker)(readFileSync(join(root, "oci-layout"), "utf8"))
  if (decoded._tag === "Some" && isMarker(decoded.value)) return
  const message = `${join(root, "oci-layout")} does not say that this is an OCI image layout of version 1.0.0`
  refuse(method, new FailedPrecondition({ message }))
}

const text = (value: unknown) => Buffer.from(JSON.stringify(value))

/**
 * Makes an empty or new directory a layout, and adds to a layout what it lacks. Throws `FailedPrecondition` for any
 * other directory. Two processes may do it at once.
 */
export const open = (directory: string): Paths => {
  const layout = paths(directory)
  const { index, root, temporary } = layout
  mkdirSync(root, { recursive: true })
  const foreign = readdirSync(root).filter((name) => !ours.has(name))
  const isLayout = Files.sizeOf(join(root, "oci-layout")) !== undefined
  if (!isLayout && foreign.length > 0) {
    const message = `${root} is neither empty nor an OCI image layout (it holds ${foreign.slice(0, 3).join(", ")}): give another directory`
    refuse(method, new FailedPrecondition({ message }))
  }
  if (isLayout) checkMarker(root)
  // Set-user-ID files of images lie below, so nobody else may come in.
  mkdirSync(join(root, state), { recursive: true, mode: 0o700 })
  for (const path of [layout.blobs("sha256"), layout.ingests, layout.snapshots]) mkdirSync(path, { recursive: true })
  // The marker comes last: with it, the layout is complete.
  Files.createFile(
    index,
    temporary(),
    text({ schemaVersion: 2, mediaType: "application/vnd.oci.image.index.v1+json", manifests: [] })
  )
  Files.createFile(join(root, "oci-layout"), temporary(), text({ imageLayoutVersion: "1.0.0" }))
  return layout
}
