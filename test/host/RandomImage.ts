/** Images whose layers are random trees: the same seed gives the same. */
import { createHash } from "node:crypto"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import type * as RandomTrees from "../layer/RandomTrees.ts"
import { entries } from "../layer/RandomTrees.ts"
import * as Tars from "../layer/Tars.ts"
import * as Trees from "../layer/Trees.ts"
import { hostPlatform } from "../support/BaseImage.ts"

/** An overlay takes a character device 0:0 for a deletion. */
const withoutWhiteout = (entry: Uint8Array): Uint8Array => {
  const block = Buffer.from(entry.subarray(-512))
  if (entry.length < 512 || block[156] !== 0x33 || !/^[0\0]*$/.test(block.toString("latin1", 329, 345))) return entry
  block.write("1", 343)
  return Tars.bytes(entry.subarray(0, -512), Tars.sealed(block))
}

/** The entries of a tree that an overlay can show. */
export const tree = (is: RandomTrees.Random, count: number): ReadonlyArray<Uint8Array> =>
  entries(is, count).map(withoutWhiteout)

const { directory, hardLink, regular, symlink, withPax } = Trees

/** One of each of what changes are about, for chance makes little of it. */
const fixed: ReadonlyArray<Uint8Array> = [
  directory("links"),
  regular("links/a", "linked"),
  hardLink("links/b", "links/a"),
  hardLink("links/c", "links/a"),
  symlink("links/s", "nowhere"),
  hardLink("links/t", "links/s"),
  directory("full"),
  ...["1", "2", "3"].map((name) => regular(`full/${name}`, name)),
  directory("full/deep"),
  directory("full/deep/er"),
  regular("full/deep/er/file", "deep"),
  withPax({ "SCHILY.xattr.user.dir": "d" }, directory("attributes")),
  withPax({ "SCHILY.xattr.user.file": "f", "SCHILY.xattr.user.more": "m" }, regular("attributes/file", "f")),
  withPax({ "SCHILY.xattr.security.capability": Tars.capabilities[2] }, regular("attributes/capable", "c")),
  withPax({ mtime: "1600000000.123456789" }, regular("attributes/nanoseconds", "n")),
  regular("zeros", new Uint8Array(70_000)),
  symlink("to-directory", "full")
]

const layer = (is: RandomTrees.Random, index: number): Buffer =>
  Tars.bytes(directory("./"), ...(index === 0 ? fixed : []), ...tree(is, 15 + is.int(25)), Tars.end)

interface Blob {
  readonly digest: string
  readonly size: number
  readonly bytes: Buffer
}

const blobOf = (bytes: Buffer): Blob => ({
  digest: `sha256:${createHash("sha256").update(bytes).digest("hex")}`,
  size: bytes.length,
  bytes
})

const json = (value: object) => Buffer.from(JSON.stringify(value))
const type = (kind: string) => `application/vnd.oci.image.${kind}`

const layout = (ref: string, blobs: ReadonlyArray<Blob>, { digest, size }: Blob): Buffer => {
  const annotations = { "io.containerd.image.name": ref, "org.opencontainers.image.ref.name": ref.split(":").at(-1) }
  const manifests = [{ mediaType: type("manifest.v1+json"), digest, size, annotations }]
  return Tars.bytes(
    Tars.file({ name: "oci-layout" }, json({ imageLayoutVersion: "1.0.0" })),
    Tars.file({ name: "index.json" }, json({ schemaVersion: 2, mediaType: type("index.v1+json"), manifests })),
    ...blobs.map(({ bytes, digest }) => Tars.file({ name: `blobs/${digest.replace(":", "/")}` }, bytes)),
    Tars.end
  )
}

export interface RandomImage {
  readonly ref: string
  /** The path of an OCI layout as a tar file. */
  readonly archive: string
  /** The name of the snapshot that it is unpacked to. */
  readonly chainId: string
}

const chain = (parent: string, { digest }: Blob) =>
  parent === "" ? digest : blobOf(Buffer.from(`${parent} ${digest}`)).digest

export const write = (into: string, ref: string, is: RandomTrees.Random, layerCount: number): RandomImage => {
  const layers = Array.from({ length: layerCount }, (_, index) => blobOf(layer(is, index)))
  const config = blobOf(
    json({
      ...hostPlatform,
      config: { Cmd: ["none"] },
      rootfs: { type: "layers", diff_ids: layers.map(({ digest }) => digest) }
    })
  )
  const described = layers.map(({ digest, size }) => ({ mediaType: type("layer.v1.tar"), digest, size }))
  const manifest = blobOf(
    json({
      schemaVersion: 2,
      mediaType: type("manifest.v1+json"),
      config: { mediaType: type("config.v1+json"), digest: config.digest, size: config.size },
      layers: described
    })
  )
  const archive = join(into, `${ref.replaceAll(/\W/g, "-")}.tar`)
  writeFileSync(archive, layout(ref, [...layers, config, manifest], manifest))
  return { ref, archive, chainId: layers.reduce(chain, "") }
}
