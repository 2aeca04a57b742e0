import { execFileSync } from "node:child_process"
import { createHash } from "node:crypto"
import { createWriteStream, readFileSync } from "node:fs"
import { join } from "node:path"
import { buffer } from "node:stream/consumers"
import { pipeline } from "node:stream/promises"
import { gzipSync, zstdCompressSync } from "node:zlib"
import { Effect, type Scope } from "effect"
import { type Header, pack } from "tar-stream"
import * as Cache from "./Cache.ts"
import type { RunningContainerd } from "./Containerd.ts"
import * as Debris from "./Debris.ts"
import { DaemonError } from "./Process.ts"

/** An entry of a layer: tar-stream's header, of which only the name is needed, and the bytes of a file. */
export interface Entry extends Partial<Header> {
  readonly name: string
  readonly body?: string | Uint8Array
}

export interface Platform {
  readonly os: string
  readonly architecture: string
  readonly variant?: string | undefined
  readonly "os.version"?: string | undefined
  readonly "os.features"?: ReadonlyArray<string> | undefined
}

export type Compression = "gzip" | "zstd" | "none"

export interface Options {
  readonly ref?: string | undefined
  /** Layers on top of the one with busybox, the lowest first. */
  readonly layers?: ReadonlyArray<ReadonlyArray<Entry>> | undefined
  /** More than one makes an index: the same layers under each platform. */
  readonly platforms?: ReadonlyArray<Platform> | undefined
  /** Joins the `config` of the image configuration: Env, Cmd, Labels, … */
  readonly config?: Readonly<Record<string, unknown>> | undefined
  /** Joins the image configuration itself: author, created, … */
  readonly image?: Readonly<Record<string, unknown>> | undefined
  readonly mediaTypes?: "oci" | "docker" | undefined
  readonly compression?: Compression | undefined
}

export interface Descriptor {
  readonly mediaType: string
  readonly digest: string
  readonly size: number
}

export interface Layer extends Descriptor {
  readonly diffId: string
}

export interface Manifest extends Descriptor {
  readonly platform: Platform
  readonly config: Descriptor
  readonly layers: ReadonlyArray<Layer>
}

export interface BaseImage {
  readonly ref: string
  /** The path of an OCI layout as a tar file. */
  readonly archive: string
  /** The index when there is more than one platform, else the manifest. */
  readonly target: Descriptor
  readonly manifests: readonly [Manifest, ...ReadonlyArray<Manifest>]
}

/** Every time in an image is this one: the same options give the same bytes. */
export const epoch = new Date("2024-01-02T03:04:05Z")

const architectures: Readonly<Record<string, string>> = { x64: "amd64", ia32: "386", arm: "arm" }

/** The platform of this machine, as containerd names it. */
export const hostPlatform: Platform = { os: "linux", architecture: architectures[process.arch] ?? process.arch }

const mediaTypes = {
  oci: {
    index: "application/vnd.oci.image.index.v1+json",
    manifest: "application/vnd.oci.image.manifest.v1+json",
    config: "application/vnd.oci.image.config.v1+json",
    layer: "application/vnd.oci.image.layer.v1.tar",
    gzip: "+gzip",
    zstd: "+zstd",
    none: ""
  },
  docker: {
    index: "application/vnd.docker.distribution.manifest.list.v2+json",
    manifest: "application/vnd.docker.distribution.manifest.v2+json",
    config: "application/vnd.docker.container.image.v1+json",
    layer: "application/vnd.docker.image.rootfs.diff.tar",
    gzip: ".gzip",
    zstd: ".zstd",
    none: ""
  }
} as const

const compressors: Readonly<Record<Compression, (bytes: Buffer) => Buffer>> = {
  gzip: (bytes) => gzipSync(bytes, { level: 1 }),
  zstd: (bytes) => zstdCompressSync(bytes),
  none: (bytes) => bytes
}

const digestOf = (bytes: Uint8Array): string => `sha256:${createHash("sha256").update(bytes).digest("hex")}`

const directory = (name: string, mode = 0o755): Entry => ({ name, type: "directory", mode })
const file = (name: string, body: string): Entry => ({ name, body })

/** What the tests change: one thing of each kind. */
const rootfs = (): ReadonlyArray<Entry> => {
  const busybox = Cache.program("busybox", "busybox")
  const applets = execFileSync(busybox, ["--list"], { encoding: "utf8" }).trim().split("\n")
  return [
    directory("bin/"),
    { name: "bin/busybox", mode: 0o755, body: readFileSync(busybox) },
    ...applets
      .filter((applet) => applet !== "busybox")
      .map((applet): Entry => ({ name: `bin/${applet}`, type: "symlink", linkname: "busybox", mode: 0o777 })),
    directory("data/"),
    file("data/keep.txt", "keep\n"),
    file("data/change.txt", "before\n"),
    file("data/delete.txt", "delete\n"),
    directory("data/dir/"),
    file("data/dir/file.txt", "file\n"),
    directory("data/opaque/"),
    file("data/opaque/a", "a\n"),
    file("data/opaque/b", "b\n"),
    directory("dev/"),
    directory("etc/"),
    file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n"),
    file("etc/group", "root:x:0:\nuser:x:1000:\n"),
    directory("home/"),
    { ...directory("home/user/"), uid: 1000, gid: 1000 },
    directory("proc/"),
    directory("root/", 0o700),
    directory("run/"),
    directory("sys/"),
    directory("tmp/", 0o1777)
  ]
}

/** A layer's bytes: a tar file. */
export const tar = (entries: ReadonlyArray<Entry>): Promise<Buffer> => {
  const archive = pack()
  for (const { body, ...header } of entries) {
    const bytes = typeof body === "string" ? Buffer.from(body) : Buffer.from(body ?? "")
    archive.entry({ mode: 0o644, uid: 0, gid: 0, mtime: epoch, ...header }, bytes)
  }
  archive.finalize()
  return buffer(archive)
}

const makeImage = async (archive: string, options: Options): Promise<BaseImage> => {
  const { ref = "localhost/busybox:latest", compression = "gzip", platforms = [hostPlatform] } = options
  const types = mediaTypes[options.mediaTypes ?? "oci"]
  const blobs = new Map<string, Buffer>()
  const put = (mediaType: string, content: Buffer | object): Descriptor => {
    const bytes = Buffer.isBuffer(content) ? content : Buffer.from(JSON.stringify(content))
    const digest = digestOf(bytes)
    blobs.set(digest, bytes)
    return { mediaType, digest, size: bytes.length }
  }
  const layers: Array<Layer> = []
  for (const entries of [rootfs(), ...(options.layers ?? [])]) {
    const bytes = await tar(entries)
    const descriptor = put(`${types.layer}${types[compression]}`, compressors[compression](bytes))
    layers.push({ ...descriptor, diffId: digestOf(bytes) })
  }
  const manifestFor = (platform: Platform): Manifest => {
    const config = put(types.config, imageConfig(platform, layers, options))
    const manifest = {
      schemaVersion: 2,
      mediaType: types.manifest,
      config,
      layers: layers.map(({ diffId: _, ...descriptor }) => descriptor)
    }
    return { ...put(types.manifest, manifest), platform, config, layers }
  }
  const [first = hostPlatform, ...others] = platforms
  const manifests = [manifestFor(first), ...others.map(manifestFor)] as const
  const [only] = manifests
  const listed = manifests.map(({ mediaType, digest, size, platform }) => ({ mediaType, digest, size, platform }))
  const target =
    others.length === 0
      ? { mediaType: only.mediaType, digest: only.digest, size: only.size }
      : put(types.index, { schemaVersion: 2, mediaType: types.index, manifests: listed })
  await writeLayout(archive, ref, target, blobs)
  return { ref, archive, target, manifests }
}

const imageConfig = (platform: Platform, layers: ReadonlyArray<Layer>, options: Options) => ({
  created: epoch.toISOString(),
  ...platform,
  config: { Env: ["PATH=/usr/local/bin:/usr/bin:/bin"], Cmd: ["sh"], ...options.config },
  rootfs: { type: "layers", diff_ids: layers.map((layer) => layer.diffId) },
  history: layers.map((_, index) => ({ created: epoch.toISOString(), created_by: `layer ${index}` })),
  ...options.image
})

const writeLayout = async (
  archive: string,
  ref: string,
  target: Descriptor,
  blobs: ReadonlyMap<string, Buffer>
): Promise<void> => {
  const annotations = { "io.containerd.image.name": ref, "org.opencontainers.image.ref.name": ref.split(":").at(-1) }
  const index = { schemaVersion: 2, mediaType: mediaTypes.oci.index, manifests: [{ ...target, annotations }] }
  const layout = await tar([
    file("oci-layout", JSON.stringify({ imageLayoutVersion: "1.0.0" })),
    file("index.json", JSON.stringify(index)),
    directory("blobs/"),
    directory("blobs/sha256/"),
    ...[...blobs].map(([digest, body]): Entry => ({ name: `blobs/${digest.replace(":", "/")}`, body }))
  ])
  await pipeline([layout], createWriteStream(archive))
}

/** An image made of busybox and a few files to change, without any network. */
export const busybox = (options: Options = {}): Effect.Effect<BaseImage, DaemonError, Scope.Scope> =>
  Effect.flatMap(Debris.directory, (dir) =>
    Effect.tryPromise({
      try: () => makeImage(join(dir, "image.tar"), options),
      catch: (error) => new DaemonError({ command: "make a base image", detail: String(error) })
    })
  )

export interface ImportOptions {
  readonly namespace?: string | undefined
  readonly snapshotter?: string | undefined
}

/**
 * Imports an image with all its platforms and unpacks the one of this machine.
 *
 * `--local` (unknown to 1.6): the transfer service, which later versions use, unpacks only into the default snapshotter.
 */
export const importImage = (
  containerd: RunningContainerd,
  image: BaseImage,
  { namespace, snapshotter = "overlayfs" }: ImportOptions = {}
): Effect.Effect<void, DaemonError> =>
  Effect.asVoid(
    containerd.ctr(
      [
        ...["images", "import", "--all-platforms", "--snapshotter", snapshotter],
        ...(containerd.version === "1.6" ? [] : ["--local"]),
        image.archive
      ],
      { namespace }
    )
  )
