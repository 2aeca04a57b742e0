/**
 * The records of blobs. A record means that the file is there; a file may be there without: written by another tool for
 * OCI layouts, or left by a crash.
 *
 * @since 0.1.0
 */
import { mkdirSync, renameSync } from "node:fs"
import { dirname } from "node:path"
import { NotFound } from "../core/ContainerdError.ts"
import type { Info } from "../core/ContentStore.ts"
import * as Digest from "../oci/Digest.ts"
import { integer, type Row, type Sql, text } from "./Database.ts"
import { refuse } from "./EmbeddedError.ts"
import * as Files from "./Files.ts"
import * as Labels from "./Labels.ts"
import type { Paths } from "./Layout.ts"

export const fromRow = (row: Row): Info => ({
  digest: Digest.Digest.make(text(row, "digest")),
  size: integer(row, "size"),
  labels: Labels.decode(text(row, "labels"))
})

export const find = (sql: Sql, digest: Digest.Digest): Info | undefined => {
  const row = sql.get("select digest, size, labels from blobs where digest = ?", digest)
  return row === undefined ? undefined : fromRow(row)
}

/** Of a file that is in place. It is no garbage from then on. */
export const insert = (sql: Sql, { digest, labels, size }: Info, method: string): void => {
  sql.run("delete from garbage where digest = ?", digest)
  sql.run("insert into blobs values (?, ?, ?, ?)", digest, size, Labels.encode(method, labels), Date.now())
}

/** The file goes later (`Garbage`), unless a writer has brought the same blob again by then. */
export const remove = (sql: Sql, digest: Digest.Digest): void => {
  if (sql.run("delete from blobs where digest = ?", digest) === 0) return
  sql.run("insert or ignore into garbage values (?)", digest)
}

/** The record was deleted, and the file is not yet. */
export const isGarbage = (sql: Sql, digest: Digest.Digest): boolean =>
  sql.get("select 1 from garbage where digest = ?", digest) !== undefined

/** A file that another tool put there gets its record; one whose record was deleted does not. */
export const adopt = (sql: Sql, paths: Paths, digest: Digest.Digest): Info | undefined => {
  const found = find(sql, digest)
  if (found !== undefined) return found
  if (isGarbage(sql, digest)) return undefined
  const size = Files.sizeOf(paths.blob(digest))
  if (size === undefined) return undefined
  const info: Info = { digest, size, labels: {} }
  insert(sql, info, "Content.Info")
  return info
}

/** As `adopt`; throws `NotFound`. */
export const get = (sql: Sql, paths: Paths, method: string, digest: Digest.Digest): Info =>
  adopt(sql, paths, digest) ?? refuse(method, new NotFound({ message: `content ${digest}: not found` }))

/** Sets the labels that are given and leaves the others alone; an empty value removes one. */
export const mergeLabels = (sql: Sql, method: string, info: Info, labels: Labels.Labels): void => {
  if (Object.entries(labels).every(([key, value]) => (info.labels[key] ?? "") === value)) return
  const merged = Labels.encode(method, { ...info.labels, ...labels })
  sql.run("update blobs set labels = ? where digest = ?", merged, info.digest)
}

/** The data is on the disk already; its name is, too, when this returns. Replaces a file without a record. */
export const moveIntoPlace = (paths: Paths, data: string, digest: Digest.Digest): void => {
  const path = paths.blob(digest)
  mkdirSync(dirname(path), { recursive: true })
  renameSync(data, path)
  Files.syncDirectory(dirname(path))
}
