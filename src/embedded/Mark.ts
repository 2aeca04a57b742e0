/**
 * The marking half of a collection: what is referred to, and so what is not, by containerd's rules.
 *
 * @since 0.1.0
 */

import { readdirSync, statSync } from "node:fs"
import { join } from "node:path"
import * as Option from "effect/Option"
import { expireLabel } from "../core/Leases.ts"
import * as ProcessOwner from "../internal/ProcessOwner.ts"
import * as Digest from "../oci/Digest.ts"
import * as BlobRecords from "./BlobRecords.ts"
import { integer, optionalText, type Row, type Sql, text } from "./Database.ts"
import * as Files from "./Files.ts"
import * as IndexFile from "./IndexFile.ts"
import * as Labels from "./Labels.ts"
import { type Paths, snapshotter } from "./Layout.ts"
import * as References from "./References.ts"

const rootLabel = "containerd.io/gc.root"
const flatLabel = "containerd.io/gc.flat"

/** What another tool copies into the layout has no record until its index entry is there; in milliseconds. */
const strayAge = 24 * 60 * 60 * 1000
const temporaryAge = 60 * 60 * 1000

interface Blob {
  readonly size: number
  readonly labels: Labels.Labels
}

export interface Snapshot {
  readonly name: string
  readonly id: string
  readonly parent: string
  readonly labels: Labels.Labels
  /** Bytes; `undefined` of one that is not committed. */
  readonly size: number | undefined
  /** Its maker died before it was ready. */
  readonly abandoned: boolean
}

export interface Ingest {
  readonly ref: string
  readonly id: string
  /** The blob that its file may have become already. */
  readonly digest: string | undefined
}

/** Nobody refers to these. */
export interface Unreferenced {
  /** `recorded`: with a record; the others are files only. */
  readonly blobs: ReadonlyArray<{ readonly digest: Digest.Digest; readonly size: number; readonly recorded: boolean }>
  readonly snapshots: ReadonlyArray<Snapshot>
  readonly ingests: ReadonlyArray<Ingest>
  readonly leases: ReadonlyArray<string>
  /** Directories without a record. */
  readonly directories: ReadonlyArray<{ readonly kind: "ingest" | "snapshot"; readonly id: string }>
  readonly temporaries: ReadonlyArray<string>
}

const toSnapshot = (row: Row): Snapshot => {
  const owner = optionalText(row, "owner")
  return {
    name: text(row, "name"),
    id: text(row, "id"),
    parent: text(row, "parent"),
    labels: Labels.decode(text(row, "labels")),
    size: row["size"] === null ? undefined : integer(row, "size"),
    abandoned: owner !== undefined && ProcessOwner.isDead(owner)
  }
}

const isExpired = (labels: Labels.Labels, now: number) => Date.parse(labels[expireLabel] ?? "") < now

/** Follows references from the roots. Flat leases hold what they name and no more, apart from a snapshot's parents. */
class Marker {
  readonly blobs: ReadonlyMap<string, Blob>
  readonly snapshots: ReadonlyMap<string, Snapshot>
  readonly #paths: Paths
  readonly keptBlobs = new Set<string>()
  readonly keptSnapshots = new Set<string>()
  readonly #followed = new Set<string>()
  readonly #work: Array<() => void> = []

  constructor(sql: Sql, paths: Paths) {
    this.#paths = paths
    this.blobs = new Map(
      sql
        .all("select digest, size, labels from blobs")
        .map(BlobRecords.fromRow)
        .map(({ digest, labels, size }) => [digest, { labels, size }])
    )
    this.snapshots = new Map(
      sql
        .all("select name, id, parent, labels, size, owner from snapshots")
        .map(toSnapshot)
        .map((snapshot) => [snapshot.name, snapshot])
    )
  }

  content(digest: string, options: { readonly mediaType?: string; readonly flat?: boolean } = {}): void {
    this.keptBlobs.add(digest)
    if (options.flat === true || this.#followed.has(digest)) return
    this.#followed.add(digest)
    this.#work.push(() => this.#followBlob(digest, options.mediaType))
  }

  snapshot(name: string, flat = false): void {
    for (let at = this.snapshots.get(name); at !== undefined; at = this.snapshots.get(at.parent)) {
      if (this.keptSnapshots.has(at.name) && (flat || this.#followed.has(`snapshot ${at.name}`))) return
      this.keptSnapshots.add(at.name)
      const { labels } = at
      if (flat) continue
      this.#followed.add(`snapshot ${at.name}`)
      this.#work.push(() => this.labels(labels))
    }
  }

  labels(labels: Labels.Labels): void {
    for (const digest of References.contentOf(labels)) this.content(digest)
    for (const name of References.snapshotsOf(labels)) this.snapshot(name)
  }

  #followBlob(digest: string, mediaType: string | undefined): void {
    const record = this.blobs.get(digest)
    if (record !== undefined) this.labels(record.labels)
    if (record !== undefined && References.contentOf(record.labels).length > 0) return
    const parsed = Option.getOrUndefined(Digest.Digest.makeOption(digest))
    const path = parsed === undefined ? undefined : this.#paths.blob(parsed)
    const size = path === undefined ? undefined : Files.sizeOf(path)
    if (path === undefined || size === undefined) return
    for (const child of References.documentOf(path, size, mediaType)) {
      this.content(child.digest, { mediaType: child.mediaType })
    }
  }

  run(): void {
    for (let next = this.#work.pop(); next !== undefined; next = this.#work.pop()) next()
  }
}

interface Leased {
  readonly expired: ReadonlyArray<string>
  readonly ingests: ReadonlySet<string>
}

/** Leases that are not expired hold what they name. */
const markLeases = (sql: Sql, marker: Marker, now: number): Leased => {
  const leases = sql
    .all("select id, labels from leases")
    .map((row) => ({ id: text(row, "id"), labels: Labels.decode(text(row, "labels")) }))
  const expired = new Set(leases.filter(({ labels }) => isExpired(labels, now)).map(({ id }) => id))
  const flat = new Set(leases.filter(({ labels }) => labels[flatLabel] !== undefined).map(({ id }) => id))
  const ingests = new Set<string>()
  for (const row of sql.all("select lease, type, id from lease_resources")) {
    const [lease, type, id] = [text(row, "lease"), text(row, "type"), text(row, "id")]
    if (expired.has(lease)) continue
    if (type === "content") marker.content(id, { flat: flat.has(lease) })
    else if (type === "ingests") ingests.add(id)
    else if (type === `snapshots/${snapshotter}`) marker.snapshot(id, flat.has(lease))
  }
  return { expired: [...expired], ingests }
}

const markRoots = (sql: Sql, paths: Paths, marker: Marker): void => {
  for (const { digest, mediaType } of IndexFile.entries(IndexFile.read(paths, "Embedded.gc"))) {
    marker.content(digest, { mediaType })
  }
  for (const row of sql.all("select labels, snapshotter, snapshot_key from containers")) {
    if (text(row, "snapshotter") === snapshotter) marker.snapshot(text(row, "snapshot_key"))
    marker.labels(Labels.decode(text(row, "labels")))
  }
  for (const [digest, { labels }] of marker.blobs) if (labels[rootLabel] !== undefined) marker.content(digest)
  for (const { labels, name } of marker.snapshots.values()) if (labels[rootLabel] !== undefined) marker.snapshot(name)
}

const isOlder = (path: string, age: number, now: number): boolean => {
  const stats = statSync(path, { throwIfNoEntry: false })
  return stats !== undefined && now - Math.max(stats.mtimeMs, stats.ctimeMs) > age
}

const algorithms: ReadonlyArray<Digest.Algorithm> = ["sha256", "sha512"]

/** Files without a record: kept for a day, and longer when an image names them. */
const strayBlobs = (paths: Paths, marker: Marker, now: number): Unreferenced["blobs"] =>
  algorithms
    .filter((algorithm) => Files.sizeOf(paths.blobs(algorithm)) !== undefined)
    .flatMap((algorithm) => readdirSync(paths.blobs(algorithm)).map((name) => `${algorithm}:${name}`))
    .filter(Digest.is)
    .filter((digest) => !marker.blobs.has(digest) && !marker.keptBlobs.has(digest))
    .filter((digest) => isOlder(paths.blob(digest), strayAge, now))
    .map((digest) => ({ digest, size: Files.sizeOf(paths.blob(digest)) ?? 0, recorded: false }))

/** A record is made before its directory, so inside of a transaction a directory without one belongs to nobody. */
const strayDirectories = (sql: Sql, paths: Paths): Unreferenced["directories"] => {
  const known = new Set(sql.all("select id from ingests union select id from snapshots").map((row) => text(row, "id")))
  const strays = (path: string) => readdirSync(path).filter((id) => !known.has(id))
  return [
    ...strays(paths.ingests).map((id) => ({ kind: "ingest" as const, id })),
    ...strays(paths.snapshots).map((id) => ({ kind: "snapshot" as const, id }))
  ]
}

/** What an opening or a write of the index left that was killed. */
const temporaries = (paths: Paths, now: number): ReadonlyArray<string> => [
  ...(Files.sizeOf(paths.newIndex) === undefined ? [] : [paths.newIndex]),
  ...readdirSync(join(paths.ingests, ".."))
    .filter((name) => name.startsWith("tmp-"))
    .map((name) => join(paths.ingests, "..", name))
    .filter((path) => isOlder(path, temporaryAge, now))
]

/** Whoever removed these records died before the files. */
const pendingBlobs = (sql: Sql, paths: Paths, marker: Marker): Unreferenced["blobs"] =>
  sql
    .all("select digest from garbage")
    .flatMap((row) => Option.toArray(Digest.Digest.makeOption(text(row, "digest"))))
    .filter((digest) => !marker.blobs.has(digest))
    .flatMap((digest) => {
      const size = Files.sizeOf(paths.blob(digest))
      return size === undefined ? [] : [{ digest, size, recorded: false }]
    })

/** The blob of an ingest whose writer died between the rename and the record. */
const renamedBlobs = (paths: Paths, marker: Marker, ingests: ReadonlyArray<Ingest>): Unreferenced["blobs"] =>
  ingests.flatMap(({ digest: announced, id }) => {
    const digest = Option.getOrUndefined(Digest.Digest.makeOption(announced ?? ""))
    if (digest === undefined || marker.blobs.has(digest) || marker.keptBlobs.has(digest)) return []
    const size = Files.sizeOf(paths.ingestData(id)) === undefined ? Files.sizeOf(paths.blob(digest)) : undefined
    return size === undefined ? [] : [{ digest, size, recorded: false }]
  })

/** Changes nothing. `now` in milliseconds since 1970. */
export const mark = (sql: Sql, paths: Paths, now: number): Unreferenced => {
  const marker = new Marker(sql, paths)
  const leased = markLeases(sql, marker, now)
  markRoots(sql, paths, marker)
  marker.run()
  const ingests = sql
    .all("select ref, id, digest from ingests")
    .map((row): Ingest => ({ ref: text(row, "ref"), id: text(row, "id"), digest: optionalText(row, "digest") }))
    .filter(({ ref }) => !leased.ingests.has(ref))
  const recorded = [...marker.blobs]
    .filter(([digest]) => !marker.keptBlobs.has(digest))
    .map(([digest, { size }]) => ({ digest: Digest.Digest.make(digest), size, recorded: true }))
  const files = new Map(
    [
      ...pendingBlobs(sql, paths, marker),
      ...renamedBlobs(paths, marker, ingests),
      ...strayBlobs(paths, marker, now)
    ].map((blob) => [blob.digest, blob])
  )
  return {
    blobs: [...recorded, ...files.values()],
    snapshots: [...marker.snapshots.values()].filter(
      ({ abandoned, name }) => abandoned || !marker.keptSnapshots.has(name)
    ),
    ingests,
    leases: leased.expired,
    directories: strayDirectories(sql, paths),
    temporaries: temporaries(paths, now)
  }
}
