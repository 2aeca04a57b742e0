import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { gzipSync } from "node:zlib"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { Archive, Commit, Images, Leases } from "effect-containerd"
import * as BaseImage from "../support/BaseImage.ts"
import * as Cache from "../support/Cache.ts"
import * as Container from "../support/Container.ts"
import { versions } from "../support/Containerd.ts"
import { describeDaemons } from "../support/Daemons.ts"
import * as Dockerd from "../support/Dockerd.ts"
import * as Host from "../support/Host.ts"
import * as Inventory from "../support/Inventory.ts"
import { run } from "../support/Process.ts"

const directory = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "archive-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true }))
)

const skopeo = (...args: ReadonlyArray<string>) => run(Cache.program("skopeo", "skopeo"), args)

/** An image with a change of its own, and the file that it was exported to. */
const exported = Effect.fnUntraced(function* (name: string) {
  const { base, containerd } = yield* Host.Host
  const container = yield* Container.run(containerd, { image: base.ref })
  yield* container.exec(`echo ${name} > /name`)
  const committed = yield* Commit.commit({ container: container.id, name })
  const path = join(yield* directory, "image.tar")
  yield* Archive.exportArchive([committed.image.name], path)
  return { committed, path }
})

for (const version of versions) {
  describeDaemons(`archives on containerd ${version}`, () => {
    layer(Host.layer(version), { excludeTestServices: true })((it) => {
      it.effect("come back as the same image, from a tar, a gzipped tar and a directory", () =>
        Effect.gen(function* () {
          const { containerd } = yield* Host.Host
          const images = yield* Images.Images
          const { committed, path } = yield* exported("round:trip")
          const gzipped = `${path}.gz`
          writeFileSync(gzipped, gzipSync(readFileSync(path)))
          const layout = join(yield* directory, "layout")
          yield* skopeo("copy", "--quiet", `oci-archive:${path}`, `oci:${layout}:trip`)
          for (const source of [path, gzipped, layout]) {
            yield* images.delete(committed.image.name)
            yield* Inventory.collectGarbage(containerd)
            const [record] = yield* Archive.importArchive(source, { name: "round:trip" })
            assert.deepStrictEqual(record, { ...committed.image, labels: {} }, source)
            yield* Inventory.collectGarbage(containerd)
            const said = yield* Container.runOnce(containerd, { image: "docker.io/library/round:trip" }, "cat /name")
            assert.strictEqual(said, "round:trip\n")
          }
          const again = join(yield* directory, "again.tar")
          yield* Archive.exportArchive([committed.image.name], again)
          assert.isTrue(readFileSync(again).equals(readFileSync(path)), "the same images give the same bytes")
          const leases = yield* Leases.Leases
          assert.deepStrictEqual(yield* leases.list(), [])
        })
      )

      it.effect("are read by skopeo in both of their forms and imported by ctr", () =>
        Effect.gen(function* () {
          const { containerd } = yield* Host.Host
          const { committed, path } = yield* exported("tools:1")
          const inspected: unknown = JSON.parse(yield* skopeo("inspect", `oci-archive:${path}`))
          assert.nestedPropertyVal(inspected, "Digest", committed.image.target.digest)
          const asDocker: unknown = JSON.parse(yield* skopeo("inspect", `docker-archive:${path}`))
          assert.nestedProperty(asDocker, "Layers[1]")
          const namespace = `import-${version}`
          yield* containerd.ctr(["images", "import", path], { namespace })
          const image = "docker.io/library/tools:1"
          assert.strictEqual(yield* Container.runOnce(containerd, { image, namespace }, "cat /name"), "tools:1\n")
        })
      )

      it.effect("of docker save before Docker 25, with links in them, become images, too", () =>
        Effect.gen(function* () {
          const { containerd } = yield* Host.Host
          const { path } = yield* exported("legacy:1")
          const legacy = join(yield* directory, "legacy.tar")
          yield* skopeo("copy", "--quiet", `oci-archive:${path}`, `docker-archive:${legacy}:old/name:2`)
          const [record] = yield* Archive.importArchive(legacy)
          assert.strictEqual(record?.name, "docker.io/old/name:2")
          yield* Inventory.collectGarbage(containerd)
          const said = yield* Container.runOnce(containerd, { image: "docker.io/old/name:2" }, "cat /name")
          assert.strictEqual(said, "legacy:1\n")
        })
      )

      it.effect("with all platforms of an index keep those that are there", () =>
        Effect.gen(function* () {
          const platforms = [BaseImage.hostPlatform, { os: "linux", architecture: "s390x" }]
          const index = yield* BaseImage.busybox({
            ref: "localhost/many:1",
            platforms,
            config: { Labels: { version } }
          })
          const [record] = yield* Archive.importArchive(index.archive)
          assert.strictEqual(record?.target.digest, index.target.digest)
          const path = join(yield* directory, "many.tar")
          yield* Archive.exportArchive(["localhost/many:1"], path)
          const raw: unknown = JSON.parse(yield* skopeo("inspect", "--raw", `oci-archive:${path}`))
          assert.nestedPropertyVal(raw, "manifests[1].platform.architecture", "s390x")
        })
      )

      it.effect("that are none, or are damaged, are refused with a reason, and nothing is left", () =>
        Effect.gen(function* () {
          const { containerd } = yield* Host.Host
          const folder = yield* directory
          const { path } = yield* exported("bad:1")
          const good = readFileSync(path)
          const file = (name: string, bytes: Uint8Array) => {
            writeFileSync(join(folder, name), bytes)
            return join(folder, name)
          }
          // The first byte of the first blob, behind three documents and its own header.
          const damaged = Buffer.from(good)
          const at = damaged.indexOf("blobs/sha256/", 0, "latin1") + 512
          damaged.writeUInt8(damaged.readUInt8(at) ^ 1, at)
          const before = yield* Inventory.take(containerd)
          const cases: ReadonlyArray<readonly [string, RegExp]> = [
            [join(folder, "missing"), /no such file/],
            [file("text", Buffer.from("this is no archive, and it is long enough".repeat(50))), /text: /],
            [file("empty.tar", Buffer.alloc(1024)), /neither an index\.json nor a manifest\.json/],
            [file("short.tar", good.subarray(0, good.length / 2)), /./],
            [file("damaged.tar", damaged), /./]
          ]
          for (const [source, message] of cases) {
            const error = yield* Effect.flip(Archive.importArchive(source))
            assert.match(error.message, message, source)
          }
          assert.deepStrictEqual(yield* Inventory.take(containerd), before)

          const nowhere = yield* Effect.flip(Archive.exportArchive(["docker.io/library/bad:1"], "/nowhere/at/all.tar"))
          assert.strictEqual(nowhere._tag, "ArchiveError")
          const unknown = yield* Effect.flip(Archive.exportArchive(["docker.io/library/gone:1"], join(folder, "x.tar")))
          assert.strictEqual(unknown._tag, "ContainerdError")
          assert.deepStrictEqual(
            readdirSync(folder).filter((name) => name.startsWith("x.tar")),
            []
          )
          assert.deepStrictEqual(yield* Inventory.take(containerd), before)
        })
      )

      if (version === "2.x") {
        it.effect("are loaded and run by docker", () =>
          Effect.gen(function* () {
            const { containerd } = yield* Host.Host
            const { path } = yield* exported("loaded:1")
            const dockerd = yield* Dockerd.start(containerd)
            yield* dockerd.docker(["load", "--input", path])
            const said = yield* dockerd.docker(["run", "--rm", "--network", "none", "loaded:1", "cat", "/name"])
            assert.strictEqual(said, "loaded:1\n")
          })
        )
      }
    })
  })
}
