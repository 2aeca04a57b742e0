/**
 * Images of every format and compression, read by the tools that people have: skopeo and podman (containers/image) by
 * the manifest, which says what a layer is, and Docker by its own list of files.
 */
import { existsSync, mkdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { Archive, Commit } from "effect-containerd"
import * as BaseImage from "../support/BaseImage.ts"
import * as Cache from "../support/Cache.ts"
import * as Container from "../support/Container.ts"
import { describeDaemons } from "../support/Daemons.ts"
import * as Debris from "../support/Debris.ts"
import * as Dockerd from "../support/Dockerd.ts"
import * as Host from "../support/Host.ts"
import * as ImageJson from "../support/ImageJson.ts"
import * as Inventory from "../support/Inventory.ts"
import * as Podman from "../support/Podman.ts"
import { run, sleep } from "../support/Process.ts"

const skopeo = (...args: ReadonlyArray<string>) => run(Cache.program("skopeo", "skopeo"), args)

type Format = "oci" | "docker"

/** A running container of a parent of one format, with a new file. */
const changed = Effect.fnUntraced(function* (parent: Format) {
  const { containerd } = yield* Host.Host
  const base = yield* BaseImage.busybox({ ref: `localhost/${parent}:1`, mediaTypes: parent })
  yield* BaseImage.importImage(containerd, base)
  const container = yield* Container.run(containerd, { image: base.ref })
  yield* container.exec("echo committed > /committed")
  return container.id
})

/** As a tar, and as the layout that the tar is. */
const exported = Effect.fnUntraced(function* (image: string) {
  const directory = yield* Debris.directory
  const [tar, layout] = [join(directory, "image.tar"), join(directory, "layout")]
  yield* Archive.exportArchive([image], tar)
  mkdirSync(layout)
  yield* run("tar", ["-xf", tar, "-C", layout])
  return { directory, tar, layout }
})

type Exported = Effect.Success<ReturnType<typeof exported>>

const forms = ["dir", "oci-archive", "docker-archive"] as const

/** Into all forms but some; the file is in the last layer of what comes out, as skopeo reads it again. */
const copies = Effect.fnUntraced(function* (
  source: "oci-archive" | "docker-archive",
  { directory, tar }: Exported,
  except: ReadonlyArray<string> = []
) {
  for (const form of forms.filter((one) => !except.includes(one))) {
    const target = `${form}:${join(directory, `${source}-to-${form}`)}`
    yield* skopeo("copy", "--quiet", `${source}:${tar}`, target)
    const inspected: unknown = JSON.parse(yield* skopeo("inspect", target))
    assert.nestedProperty(inspected, "Layers[1]", `${source} to ${target}`)
  }
})

const ranByDocker = Effect.fnUntraced(function* ({ docker }: Dockerd.RunningDockerd, name: string, tar: string) {
  yield* docker(["load", "--input", tar])
  return yield* docker(["run", "--rm", "--network", "none", name, "cat", "/committed"])
})

const podmanGroups = "find /sys/fs/cgroup -depth -type d -path '*/libpod_parent*' -exec rmdir {} +"

const untilFile = Effect.fnUntraced(function* (path: string) {
  while (!existsSync(path)) yield* sleep(20)
  return readFileSync(path, "utf8")
}, Effect.timeout("10 seconds"))

/**
 * With the settings of that store, which lie beside its images; its own limits are more than a machine may have. In the
 * background: where nobody collects conmon, podman waits 20 seconds for it after the end of the container.
 */
const ranByPodman = Effect.fnUntraced(function* (store: string, id: string) {
  const env = {
    PATH: Cache.path([]),
    TMPDIR: store,
    HOME: store,
    CONTAINERS_CONF: join(store, "containers.conf"),
    CONTAINERS_STORAGE_CONF: join(store, "storage.conf"),
    CONTAINERS_REGISTRIES_CONF: join(store, "registries.conf")
  }
  const out = yield* Debris.directory
  const isolated = ["--mount", "sh", "-c", `mount -t tmpfs tmpfs /var/lib && exec "$@"`, "sh"]
  const podman = [Cache.program("podman", "podman"), "--tmpdir", join(store, "tmp"), "--cgroup-manager", "cgroupfs"]
  const limits = ["nofile=1024:1024", "nproc=1024:1024"].flatMap((limit) => ["--ulimit", limit])
  const flags = ["--detach", "--network", "none", "--log-driver", "none", "--volume", `${out}:/out`, ...limits]
  const script = "cp /committed /out/part && mv /out/part /out/committed"
  yield* Effect.addFinalizer(() => Effect.ignore(run("sh", ["-c", podmanGroups])))
  yield* run("unshare", [...isolated, ...podman, "run", ...flags, id, "sh", "-c", script], { env })
  return yield* untilFile(join(out, "committed"))
})

/** The tag is left out: containers/image (as of skopeo 1.9) finds a manifest of Docker's in a layout by no tag. */
const readByPodman = (podman: Podman.Podman, layout: string) =>
  Effect.gen(function* () {
    const id = yield* podman.pull(layout, "")
    const root = yield* podman.mounted(id)
    const [store = ""] = root.split("/root/vfs/")
    return [readFileSync(join(root, "committed"), "utf8"), yield* ranByPodman(store, id)]
  }).pipe(Effect.scoped)

const compressions = ["gzip", "zstd", "uncompressed"] as const
const formats = ["oci", "docker"] as const

describeDaemons("a commit of every format and compression on containerd 2.x", () => {
  layer(Host.layer("2.x"), { excludeTestServices: true })((it) => {
    it.effect.each(formats.map((parent) => [parent] as const))(
      "is read and run by skopeo, Docker and podman; nerdctl TestZstdCommit, buildah layer types, podman 030-run.bats, 060-mount.bats (of a parent of the format %s)",
      ([parent]) =>
        Effect.gen(function* () {
          const { containerd } = yield* Host.Host
          const dockerd = yield* Dockerd.start(containerd)
          const podman = yield* Podman.store
          const container = yield* changed(parent)
          for (const format of formats) {
            for (const compression of compressions.filter((one) => format === "oci" || one !== "zstd")) {
              const name = `${parent}-to-${format}:${compression}`
              const committed = yield* Commit.commit({ container, name, format, compression })
              const files = yield* exported(committed.image.name)
              // skopeo makes no layer of zstd into one of Docker's, not even where that would not be compressed.
              yield* copies("oci-archive", files, compression === "zstd" ? ["docker-archive"] : [])
              yield* copies("docker-archive", files)
              assert.strictEqual(yield* ranByDocker(dockerd, name, files.tar), "committed\n", name)
              const read = yield* readByPodman(podman, files.layout)
              assert.deepStrictEqual(read, ["committed\n", "committed\n"], name)
            }
          }
        }),
      120_000
    )

    it.effect("is refused with advice for zstd in Docker's form, before anything is made", () =>
      Effect.gen(function* () {
        const { containerd } = yield* Host.Host
        const container = yield* changed("docker")
        const before = yield* Inventory.take(containerd)
        const refusal = Effect.fnUntraced(function* (format: "docker" | "auto") {
          const error = yield* Effect.flip(Commit.commit({ container, name: "no:zstd", format, compression: "zstd" }))
          assert.match(error.message, /no layers of zstd.*: give the compression gzip, or .*the format oci/)
          return [error.step, error.reason._tag === "InvalidOption" && error.reason.option]
        })
        assert.deepStrictEqual(yield* refusal("docker"), ["options", "compression"])
        assert.deepStrictEqual(yield* refusal("auto"), ["readParent", "compression"])
        assert.deepStrictEqual(yield* Inventory.take(containerd), before)
      })
    )

    it.effect("would be refused by skopeo and podman otherwise: the reason", () =>
      Effect.gen(function* () {
        const zstd = yield* BaseImage.busybox({ ref: "localhost/zstd:1", mediaTypes: "docker", compression: "zstd" })
        const { containerd } = yield* Host.Host
        yield* BaseImage.importImage(containerd, zstd)
        const { layout, tar } = yield* exported(zstd.ref)
        const podman = yield* Podman.store
        const message = /unsupported docker v2s2 media type: "application\/vnd\.docker\.image\.rootfs\.diff\.tar\.zstd"/
        const targets = forms.map((form) => skopeo("copy", `oci-archive:${tar}`, `${form}:${tar}.${form}`))
        for (const refused of [...targets, podman.pull(layout, "")]) {
          // skopeo quotes in what it logs.
          assert.match((yield* Effect.flip(refused)).message.replaceAll("\\", ""), message)
        }
        const manifest = yield* ImageJson.manifest(containerd, zstd.target.digest)
        assert.strictEqual(manifest.layers[0]?.mediaType, "application/vnd.docker.image.rootfs.diff.tar.zstd")
      })
    )
  })
})
