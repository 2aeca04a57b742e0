/**
 * What the peers' own test suites ask of a commit and nothing else here shows, on a containerd 2.x with containers that
 * run. The name of each test says whose case it is, here and where it is shown elsewhere (source → file):
 * - moby docker_cli_commit_test.go: WithoutPause, PausedContainer, NewFile → commit.integration.test.ts; HostBindMount
 *   → stubs.integration.test.ts, and below; Change → golden.integration.test.ts, ../change/docker.integration.test.ts
 * - moby UsernsCommit, umoci pack_mapping.bats, buildah namespaces.bats → userns.integration.test.ts
 * - moby history_test.go, inspect_test.go, podman author and message, buildah created-by, history.bats, umoci history
 *   flags → commit.integration.test.ts, ../suite/OptionsSuite.ts
 * - moby docker_api_containers_test.go (config in the body), podman `--config` → MergeConfig.test.ts, OptionsSuite.ts
 * - moby client/container_commit_test.go, podman and buildah names, umoci invalid args → Options.test.ts,
 *   ../oci/Reference.test.ts; podman bogus change → ../change/Change.test.ts; unknown container → CommitSuite.ts
 * - moby rmi_test.go, ps_test.go, podman rmi_test (chains) → ../suite/CommitSuite.ts
 * - nerdctl TestZstdCommit, buildah layer types, zstd to dir, oci and oci-archive, podman 030-run.bats, 060-mount.bats
 *   → formats.integration.test.ts; podman published ports → golden.integration.test.ts
 * - podman and buildah --squash, --omit-history, timestamps, umoci source_date_epoch.bats → OptionsSuite.ts
 * - podman and buildah -q → ../examples/commit.integration.test.ts
 * - umoci repack.bats: add, modify, delete, whiteout, replace, unicode, xattrs → commit.integration.test.ts,
 *   ../suite/DifferSuite.ts; empty diff, refresh-bundle → CommitSuite.ts; unprivileged
 *   → ../embedded/OrdinaryUser.test.ts
 * - OpenSandbox: resume after failures → laws.integration.test.ts; unpause again
 *   → ../examples/commit.integration.test.ts
 *
 * Not ours: filters of lists and events (moby list_test.go, docker_cli_events_test.go, images_test.go), Windows; push,
 * sign, encrypt, SBOM, `--rm`, `--add-file`, other storages (buildah, podman), which other tools do with our images;
 * buildah's identity label and `Docker.Container`, which tell the next reader nothing; podman `--include-volumes`, for
 * a container of containerd has mounts and no volumes; umoci's masked volumes, for what is mounted is not in the
 * snapshot and what is not mounted is data of the container; OpenSandbox's pods, for a commit is of one container.
 */
import { randomUUID } from "node:crypto"
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { gunzipSync } from "node:zlib"
import { assert, layer } from "@effect/vitest"
import { Effect, Option } from "effect"
import { Archive, Change, Commit, ContentStore, Images, Namespaces } from "effect-containerd"
import * as BaseImage from "../support/BaseImage.ts"
import * as Cache from "../support/Cache.ts"
import * as Cli from "../support/Cli.ts"
import * as Container from "../support/Container.ts"
import { describeDaemons } from "../support/Daemons.ts"
import * as Debris from "../support/Debris.ts"
import * as Host from "../support/Host.ts"
import * as ImageJson from "../support/ImageJson.ts"
import * as Inventory from "../support/Inventory.ts"
import { run, sleep } from "../support/Process.ts"

/** A container of the base image that runs, after a script in it. */
const changed = Effect.fnUntraced(function* (script: string, flags: ReadonlyArray<string> = []) {
  const { base, containerd } = yield* Host.Host
  const container = yield* Container.run(containerd, { image: base.ref, flags })
  yield* container.exec(script)
  return container
})

const configOf = Effect.fnUntraced(function* ({ config }: Commit.Committed) {
  const { containerd } = yield* Host.Host
  return (yield* ImageJson.config(containerd, config.digest)).config
})

const layerTar = ({ layer: made }: Commit.Committed) =>
  Effect.map(ContentStore.readBytes(Option.getOrThrow(made).descriptor), (bytes) => gunzipSync(bytes))

/** Runs what the image says, and gives what it prints. */
const runImage = Effect.fnUntraced(function* (image: string) {
  const { containerd } = yield* Host.Host
  return yield* containerd.ctr([
    "run",
    "--rm",
    "--fifo-dir",
    `${containerd.directory}/fifo`,
    image,
    `run-${randomUUID()}`
  ])
})

const isThere = (name: string) =>
  Effect.as(
    Images.Images.use((images) => images.get(name)),
    true
  ).pipe(Effect.catchReason("ContainerdError", "NotFound", () => Effect.succeed(false)))

describeDaemons("what peers ask of a commit", () => {
  layer(Host.layer("2.x"), { excludeTestServices: true })((it) => {
    it.effect("moby TestCommitAfterContainerIsDone: the task has ended, and is still there", () =>
      Effect.gen(function* () {
        const { base, containerd } = yield* Host.Host
        const args = ["sh", "-c", "echo done > /done"]
        const container = yield* Container.run(containerd, { image: base.ref, args })
        while ((yield* container.status) !== "STOPPED") yield* sleep(20)
        const { image, pausedMs } = yield* Commit.commit({ container: container.id, name: "is:done" })
        assert.strictEqual(pausedMs, 0)
        assert.strictEqual(yield* container.status, "STOPPED")
        assert.strictEqual(yield* Container.runOnce(containerd, { image: image.name }, "cat /done"), "done\n")
      })
    )

    it.effect("moby TestCommitHardlink: two names are one file in a container of the image", () =>
      Effect.gen(function* () {
        const { containerd } = yield* Host.Host
        const container = yield* changed("touch /file1; ln /file1 /file2")
        const { image } = yield* Commit.commit({ container: container.id, name: "hard:links" })
        const script = "stat -c %i:%h /file1 /file2"
        const [one, two] = (yield* Container.runOnce(containerd, { image: image.name }, script)).trim().split("\n")
        assert.match(one ?? "", /^\d+:2$/)
        assert.strictEqual(two, one)
      })
    )

    it.effect("moby TestCommitTTY: the image of a container with a terminal runs without one", () =>
      Effect.gen(function* () {
        const { base, containerd } = yield* Host.Host
        const flags = ["--tty"]
        const container = yield* Container.create(containerd, { image: base.ref, flags, args: ["sh", "-c", "tty"] })
        // ctr gives a terminal to a task only when it has one itself: `script` gives it one.
        const start = `ctr --address ${containerd.address} tasks start ${container.id}`
        const env = { PATH: Cache.path(["containerd-2"]) }
        assert.match(yield* run("script", ["-qec", start, "/dev/null"], { env }), /\/dev\/(pts\/|console)/)
        const { image } = yield* Commit.commit({ container: container.id, name: "with:tty" })
        assert.strictEqual(yield* Container.runOnce(containerd, { image: image.name }, "echo ran"), "ran\n")
      })
    )

    it.effect("moby TestCommitHostBindMount, podman volumes: a mount is neither in the files nor in the config", () =>
      Effect.gen(function* () {
        const { containerd } = yield* Host.Host
        const mount = "type=bind,src=/dev/null,dst=/winning,options=rbind:ro"
        const container = yield* changed("echo other > /other", ["--mount", mount])
        const committed = yield* Commit.commit({ container: container.id, name: "bind:mounted" })
        assert.notProperty(yield* configOf(committed), "Volumes")
        const script = "[ ! -e /winning ] && cat /other"
        assert.strictEqual(yield* Container.runOnce(containerd, { image: committed.image.name }, script), "other\n")
      })
    )

    it.effect("moby TestCommitChangeLabels: the container keeps its own labels, and its record as it was", () =>
      Effect.gen(function* () {
        const { containerd } = yield* Host.Host
        const container = yield* changed("touch /x", ["--label", "some=label"])
        const before = yield* containerd.ctr(["containers", "info", container.id])
        const changes = ["LABEL some=label2"]
        const committed = yield* Commit.commit({ container: container.id, name: "other:label", changes })
        assert.deepInclude(yield* configOf(committed), { Labels: { some: "label2" } })
        assert.include(before, '"some": "label"')
        assert.strictEqual(yield* containerd.ctr(["containers", "info", container.id]), before)
      })
    )

    it.effect("moby TestCommitInheritsEnv: a child's change sees what the first commit has set", () =>
      Effect.gen(function* () {
        const { containerd } = yield* Host.Host
        const parent = yield* changed("touch /x")
        const first = yield* Commit.commit({ container: parent.id, name: "path:1", changes: ["ENV PATH=/bin"] })
        const child = yield* Container.run(containerd, { image: first.image.name })
        const changes = ["ENV PATH=/usr/bin:$PATH"]
        const second = yield* Commit.commit({ container: child.id, name: "path:2", changes })
        assert.deepInclude(yield* configOf(first), { Env: ["PATH=/bin"] })
        assert.deepInclude(yield* configOf(second), { Env: ["PATH=/usr/bin:/bin"] })
        assert.strictEqual(
          yield* Container.runOnce(containerd, { image: second.image.name }, "echo $PATH"),
          "/usr/bin:/bin\n"
        )
      })
    )

    it.effect(
      "moby TestRemoveImageOrphaning, images_test.go: the replaced image stays, once, and the new one goes",
      () =>
        Effect.gen(function* () {
          const { containerd } = yield* Host.Host
          const images = yield* Images.Images
          const container = yield* changed("echo 1 > /text")
          const options = { container: container.id, name: "orphaned", keepReplaced: true }
          const first = yield* Commit.commit(options)
          yield* container.exec("echo 2 > /text")
          const second = yield* Commit.commit(options)
          // The same image under the same name again replaces nothing.
          yield* Commit.commit({ ...options, created: "2024-01-01T00:00:00Z" })
          yield* Commit.commit({ ...options, created: "2024-01-01T00:00:00Z" })
          const dangling = (yield* images.list()).filter(({ name }) => name.startsWith("moby-dangling@"))
          const [one, two] = [first, second].map(({ image }) => `moby-dangling@${image.target.digest}`)
          assert.deepStrictEqual(dangling.map(({ name }) => name).sort(), [one, two].sort())

          yield* containerd.ctr(["images", "rm", "--sync", "docker.io/library/orphaned:latest", two ?? ""])
          const gone = yield* Effect.flip(ContentStore.readBytes(second.image.target))
          assert.match(gone.message, /not found/)
          assert.isTrue(yield* isThere(one ?? ""))
          assert.strictEqual(yield* Container.runOnce(containerd, { image: one ?? "" }, "cat /text"), "1\n")
        })
    )

    it.effect("moby save_test.go MultipleImages: two tags of one repository in one archive", () =>
      Effect.gen(function* () {
        const container = yield* changed("echo many > /many")
        const name = ["many:1", "many:2"]
        const { images } = yield* Commit.commit({ container: container.id, name })
        const directory = yield* Debris.directory
        const path = join(directory, "many.tar")
        yield* Archive.exportArchive(
          images.map((image) => image.name),
          path
        )
        yield* run("tar", ["-xf", path, "-C", directory, "manifest.json"])
        const manifest: unknown = JSON.parse(readFileSync(join(directory, "manifest.json"), "utf8"))
        assert.nestedProperty(manifest, "[1].RepoTags[0]")
        assert.sameMembers(JSON.stringify(manifest).match(/many:\d/g) ?? [], name)
      })
    )

    it.effect.each([[true], [false]] as const)(
      "nerdctl TestCommit: CMD and ENTRYPOINT are what runs (pause: %s)",
      ([pause]) =>
        Effect.gen(function* () {
          const container = yield* changed("echo hello-test-commit > /foo")
          const changes = ['CMD ["/foo"]', 'ENTRYPOINT ["cat"]']
          const name = `localhost/nerdctl-${pause}:1`
          const committed = yield* Commit.commit({ container: container.id, name, pause, changes })
          assert.strictEqual(committed.pausedMs > 0, pause)
          assert.strictEqual(yield* runImage(name), "hello-test-commit\n")
        })
    )

    it.effect("nerdctl TestKubeCommitSave: a container of the namespace k8s.io, committed and saved", () =>
      Effect.gen(function* () {
        const { base, containerd } = yield* Host.Host
        const namespace = "k8s.io"
        yield* BaseImage.importImage(containerd, base, { namespace })
        const container = yield* Container.run(containerd, { image: base.ref, namespace })
        yield* container.exec("mkdir -p /tmp/whatever")
        const path = join(yield* Debris.directory, "kube.tar")
        const { image } = yield* Commit.commit({ container: container.id, name: "kube:1" }).pipe(
          Effect.tap((committed) => Archive.exportArchive([committed.image.name], path)),
          Effect.provideService(Namespaces.CurrentNamespace, namespace)
        )
        assert.isFalse(yield* isThere(image.name))
        yield* containerd.ctr(["images", "import", path])
        yield* Container.runOnce(containerd, { image: image.name }, "[ -d /tmp/whatever ]")
      })
    )

    it.effect("podman commit_test.go: the environment `1=1-01=9.01` is intact, as what was given to run", () =>
      Effect.gen(function* () {
        const container = yield* changed("touch /x", ["--env", "1=1-01=9.01"])
        const committed = yield* Commit.commit({ container: container.id, name: "env:1", configFrom: "container" })
        const env = (yield* configOf(committed))?.["Env"]
        assert.deepStrictEqual(env, ["PATH=/usr/local/bin:/usr/bin:/bin", "1=1-01=9.01"])
      })
    )

    it.effect("podman commit_test.go: neither the secret in a file nor the one in the environment is committed", () =>
      Effect.gen(function* () {
        const file = join(yield* Debris.directory, "secret")
        writeFileSync(file, "somesecretdata")
        const mount = `type=bind,src=${file},dst=/run/secrets/mysecret,options=rbind:ro`
        const container = yield* changed("touch /x", ["--mount", mount, "--env", "SECRET=somesecretdata"])
        const seen = yield* container.exec("echo $SECRET; cat /run/secrets/mysecret")
        assert.strictEqual(seen, "somesecretdata\nsomesecretdata")
        const committed = yield* Commit.commit({ container: container.id, name: "secret:1" })
        assert.notInclude(JSON.stringify(yield* configOf(committed)), "secret")
        const tar = yield* layerTar(committed)
        assert.isFalse(tar.includes("somesecretdata") || tar.includes("mysecret"))
      })
    )

    it.effect("podman commit_test.go: ENTRYPOINT of JSON with `=`, CMD of a shell and CMD of JSON", () =>
      Effect.gen(function* () {
        const container = yield* changed("touch /x")
        const said = Effect.fnUntraced(function* (tag: string, ...changes: ReadonlyArray<string>) {
          const name = `localhost/form:${tag}`
          yield* Commit.commit({ container: container.id, name, changes })
          return yield* runImage(name)
        })
        assert.strictEqual(yield* said("entrypoint", 'ENTRYPOINT ["echo","foo=bar"]'), "foo=bar\n")
        assert.strictEqual(yield* said("shell", "CMD echo a  b"), "a b\n")
        assert.strictEqual(yield* said("json", 'CMD ["echo","a  b"]'), "a  b\n")
      })
    )

    it.effect("buildah commit.bats: --unsetenv, and owners in the tar are numbers without names", () =>
      Effect.gen(function* () {
        const { containerd } = yield* Host.Host
        const container = yield* changed("touch /owned; chown user:user /owned")
        const options = { container: container.id, name: "unset:1" }
        const set = yield* Commit.commit({ ...options, changes: ["ENV A=1 B=2"] })
        const child = yield* Container.run(containerd, { image: set.image.name })
        yield* child.exec("touch /owned; chown user:user /owned")
        const changes = [Change.unsetEnv("A")]
        const committed = yield* Commit.commit({ container: child.id, name: "unset:2", changes })
        const env = yield* Container.runOnce(containerd, { image: committed.image.name }, "env")
        assert.match(env, /^B=2$/m)
        assert.notMatch(env, /^A=/m)
        const tar = yield* layerTar(committed)
        const header = tar.subarray(tar.indexOf("owned"))
        const text = (from: number, to: number) => header.toString("latin1", from, to).replace(/\0/g, "")
        assert.strictEqual(Number.parseInt(text(108, 116), 8), 1000)
        assert.deepStrictEqual([text(265, 297), text(297, 329)], ["", ""])
      })
    )

    it.effect("buildah bud.bats: commits to one name at once all succeed, and the name is of one of them", () =>
      Effect.gen(function* () {
        const { containerd } = yield* Host.Host
        const containers = yield* Effect.forEach([1, 2, 3, 4], (n) => changed(`echo ${n} > /n`), { concurrency: 2 })
        const commits = yield* Effect.forEach(containers, ({ id }) => Commit.commit({ container: id, name: "race" }), {
          concurrency: "unbounded"
        })
        const { target } = yield* Images.Images.use((images) => images.get("docker.io/library/race:latest"))
        assert.include(
          commits.map(({ image }) => image.target.digest),
          target.digest
        )
        yield* Inventory.collectGarbage(containerd)
        const said = yield* Container.runOnce(containerd, { image: "docker.io/library/race:latest" }, "cat /n")
        const winner = commits.findIndex(({ image }) => image.target.digest === target.digest)
        assert.strictEqual(said, `${winner + 1}\n`)
      })
    )

    it.effect("podman and buildah: --iidfile has the image's id, --metadata-file is JSON with it", () =>
      Effect.gen(function* () {
        const { containerd } = yield* Host.Host
        const container = yield* changed("touch /x")
        const directory = yield* Debris.directory
        const [id, metadata] = [join(directory, "id"), join(directory, "metadata.json")]
        const flags = ["--iidfile", id, "--metadata-file", metadata]
        const { exitCode } = yield* Cli.run(containerd, [...flags, container.id, "files:1"])
        assert.strictEqual(exitCode, 0)
        const name = "docker.io/library/files:1"
        const { target } = yield* Images.Images.use((images) => images.get(name))
        assert.strictEqual(readFileSync(id, "utf8"), target.digest)
        const json: unknown = JSON.parse(readFileSync(metadata, "utf8"))
        assert.deepInclude(json, { "containerimage.digest": target.digest, "image.name": name })
      })
    )

    it.effect.each([false, true])(
      "OpenSandbox orchestrator_test.go: resumed before anything is written, and tells the manifest's digest (visible: %s)",
      (visible) =>
        Effect.gen(function* () {
          const { containerd } = yield* Host.Host
          const container = yield* changed("echo x > /x")
          const seen: Array<string> = []
          const look = Effect.gen(function* () {
            const [status, isFrozen] = yield* Effect.orDie(Effect.all([container.status, container.isFrozen]))
            seen.push(isFrozen ? `${status}, frozen` : status)
          })
          const watched = [
            "StepEnded pause",
            "StepStarted apply",
            "StepStarted writeContent",
            "StepStarted createImage"
          ]
          const { config, image } = yield* Commit.commit({ container: container.id, name: "resumed:1" }).pipe(
            Effect.provideService(Commit.Progress, ({ _tag, step }) =>
              watched.includes(`${_tag} ${step}`) ? look : Effect.void
            ),
            Effect.provideService(Commit.VisiblePause, visible)
          )
          const frozen = visible ? "PAUSED, frozen" : "RUNNING, frozen"
          assert.deepStrictEqual(seen, [frozen, "RUNNING", "RUNNING", "RUNNING"])
          const manifest = yield* ImageJson.manifest(containerd, image.target.digest)
          assert.strictEqual(manifest.config.digest, config.digest)
        })
    )
  })
})

describeDaemons("a disk that is full", () => {
  layer(Host.layer("2.x", { rootOnTmpfs: true }), { excludeTestServices: true })((it) => {
    it.effect(
      "buildah commit.bats: no space left is said, nothing is left, and there is an image when there is room",
      () =>
        Effect.gen(function* () {
          const { containerd } = yield* Host.Host
          const container = yield* changed("head -c 3000000 /dev/urandom > /large")
          const before = yield* Inventory.take(containerd)
          const used = Number((yield* run("du", ["-sm", containerd.root])).split("\t")[0])
          const resize = (size: string) => run("mount", ["-o", `remount,size=${size}`, containerd.root])
          yield* resize(`${used + 1}m`)
          const error = yield* Effect.flip(Commit.commit({ container: container.id, name: "full:1" }))
          assert.match(error.message, /no space left/i)
          assert.strictEqual(yield* container.status, "RUNNING")
          yield* resize("50%")
          assert.deepStrictEqual(yield* Inventory.take(containerd), before)
          const { image } = yield* Commit.commit({ container: container.id, name: "full:1" })
          const said = yield* Container.runOnce(containerd, { image: image.name }, "stat -c %s /large")
          assert.strictEqual(said, "3000000\n")
        })
    )
  })
})
