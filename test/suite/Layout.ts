/** An eye on the root directory that is not ours: it knows the OCI specification only, and recomputes everything. */
import { createHash } from "node:crypto"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"

interface Found {
  readonly problems: Array<string>
  readonly reachable: Set<string>
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const array = (value: unknown): ReadonlyArray<unknown> => (Array.isArray(value) ? value : [])

const parse = (bytes: Buffer): unknown => JSON.parse(bytes.toString("utf8"))

const blobPath = (root: string, digest: string) => join(root, "blobs", ...digest.split(":"))

const follow = (root: string, descriptor: unknown, from: string, found: Found): void => {
  if (!isObject(descriptor)) return void found.problems.push(`${from}: ${JSON.stringify(descriptor)} is no descriptor`)
  const { digest, mediaType, size } = descriptor
  if (typeof digest !== "string") return void found.problems.push(`${from}: no digest`)
  if (found.reachable.has(digest)) return
  found.reachable.add(digest)
  if (!existsSync(blobPath(root, digest))) return void found.problems.push(`${from}: ${digest} is not there`)
  const bytes = readFileSync(blobPath(root, digest))
  const [algorithm = ""] = digest.split(":")
  const actual = `${algorithm}:${createHash(algorithm).update(bytes).digest("hex")}`
  if (actual !== digest) found.problems.push(`${from}: ${digest} has the bytes of ${actual}`)
  if (bytes.length !== size) found.problems.push(`${from}: ${digest} is ${bytes.length} bytes, not ${size}`)
  if (typeof mediaType !== "string" || !/(manifest|index|list)\.(v1|v2)\+json$/.test(mediaType)) return
  const document = parse(bytes)
  if (!isObject(document)) return void found.problems.push(`${digest} is no document`)
  const children = [document["config"], ...array(document["layers"]), ...array(document["manifests"])]
  for (const child of children) if (child !== undefined) follow(root, child, digest, found)
}

/** What is wrong with the layout: nothing, at any moment. */
export const problems = (root: string): ReadonlyArray<string> => {
  const found: Found = { problems: [], reachable: new Set() }
  const marker = parse(readFileSync(join(root, "oci-layout")))
  if (!isObject(marker) || marker["imageLayoutVersion"] !== "1.0.0") found.problems.push("oci-layout")
  const index = parse(readFileSync(join(root, "index.json")))
  if (!isObject(index) || index["schemaVersion"] !== 2 || !Array.isArray(index["manifests"]))
    found.problems.push("index")
  else for (const entry of index["manifests"]) follow(root, entry, "index.json", found)
  return found.problems
}

const rows = (db: DatabaseSync, text: string) => db.prepare(text).all()

/** Records without files, which must never be: a look into the state database from outside. */
export const staleRecords = (root: string): ReadonlyArray<string> => {
  const state = join(root, ".effect-containerd")
  const db = new DatabaseSync(join(state, "state.db"))
  try {
    const blobs = rows(db, "select digest, size from blobs").filter(({ digest, size }) => {
      const path = blobPath(root, String(digest))
      return !existsSync(path) || readFileSync(path).length !== size
    })
    const snapshots = rows(db, "select name, id, kind, parent from snapshots where owner is null").filter(
      ({ id, kind, parent }) =>
        !(kind === "view" && parent !== "") && !existsSync(join(state, "snapshots", "directory", String(id), "fs"))
    )
    return [...blobs.map(({ digest }) => String(digest)), ...snapshots.map(({ name }) => String(name))]
  } finally {
    db.close()
  }
}

/** Everything that takes place on the disk: blobs, ingests, snapshots, temporary files. */
export const files = (root: string): ReadonlyArray<string> => {
  const below = (path: string) => {
    const directory = join(root, path)
    return existsSync(directory) ? readdirSync(directory).map((name) => `${path}/${name}`) : []
  }
  return [
    ...below("blobs/sha256"),
    ...below("blobs/sha512"),
    ...below(".effect-containerd/ingest"),
    ...below(".effect-containerd/snapshots/directory"),
    ...below(".effect-containerd").filter((path) => /\/tmp-|\.new$/.test(path))
  ].sort()
}
