/** An ordinary user's containers: what the user may not set is kept beside them, and nothing of it is lost. */
import { execFileSync } from "node:child_process"
import { chmodSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { gunzipSync } from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { ContentStore, Embedded } from "effect-containerd"
import * as Tars from "../layer/Tars.ts"
import * as Trees from "../layer/Trees.ts"
import * as Fixtures from "./Containers.ts"
import * as Root from "./Root.ts"

const { directory, regular, withPax } = Trees
const user = 65534
const script = fileURLToPath(new URL("userProgram.ts", import.meta.url))

/** As another user, if this one is root. */
const asUser = (...args: ReadonlyArray<string>): string => {
  const node = [process.execPath, "--conditions=effect-containerd-source", "--no-warnings", script, ...args]
  const prefix = Trees.isRoot ? ["setpriv", `--reuid=${user}`, `--regid=${user}`, "--clear-groups", "--"] : []
  const [program = "", ...rest] = [...prefix, ...node]
  return execFileSync(program, rest, { encoding: "utf8", stdio: "pipe" })
}

const capability = { "SCHILY.xattr.security.capability": Tars.capabilities[2] }
const null3 = Tars.header({ name: "null", type: "3", mode: 0o666, gid: 6 })
null3.set(Buffer.from("0000001\x000000003\0"), 329)

/** Files that only root may make so. */
const foreign = Fixtures.tar(
  directory("./"),
  directory("hidden", { mode: 0, uid: 3 }),
  regular("hidden/inside", "i", { uid: 4 }),
  regular("owned", "o", { uid: 5, gid: 6, mode: 0o4755 }),
  regular("secret", "s", { mode: 0, uid: 7 }),
  withPax(capability, regular("ping", "p", { mode: 0o755 })),
  withPax(capability, regular("moved", "m", { mode: 0o750 })),
  regular("gone", "g", { uid: 8 }),
  Tars.sealed(null3)
)

/** An image of these in a file, and a directory where the user may write. */
const prepared = Effect.gen(function* () {
  const base = yield* Trees.temporary
  chmodSync(base, 0o777)
  const archive = join(base, "base.tar")
  yield* Fixtures.imageOfTars("docker.io/library/base:1", [foreign])
  yield* Embedded.exportArchive(["docker.io/library/base:1"], archive)
  return { base, archive, root: join(base, "root") }
})

const Kept = Schema.fromJsonString(
  Schema.Struct({ first: Schema.Array(Schema.Unknown), second: Schema.Array(Schema.Unknown) })
)
const Closed = Schema.fromJsonString(
  Schema.Struct({ messages: Schema.Array(Schema.String), isClean: Schema.Boolean, isGone: Schema.Boolean })
)

/** Each entry of each layer above the first: type, name, mode and owner. */
const said = Effect.fnUntraced(function* (archive: string) {
  const [image] = yield* Embedded.importArchive(archive)
  if (image === undefined) return []
  const { manifest } = yield* Fixtures.documentsOf(image.target)
  const [, ...layers] = manifest.layers ?? []
  return yield* Effect.forEach(layers, (layer) =>
    Effect.map(ContentStore.readBytes(layer), (bytes) =>
      Tars.decode(gunzipSync(bytes)).map(({ gid, link, path, records, rest, type, uid }) => {
        if (type === "1") return `1 ${path} -> ${link}`
        const mode = Number.parseInt(rest.slice(100, 107), 8).toString(8)
        const hasCapability = records.some((record) => record.startsWith("SCHILY.xattr.security.capability="))
        return `${type} ${path} ${mode} ${uid}:${gid}${hasCapability ? " capable" : ""}`
      })
    )
  )
})

describe.runIf(Trees.hasGnuTar)("an ordinary user", { timeout: 30_000 }, () => {
  it.live(
    "is told what could not be set, and commits it all the same: owners, devices, modes, capabilities; umoci repack.bats unprivileged",
    () =>
      Effect.gen(function* () {
        const { archive, root } = yield* prepared
        const { first, second } = yield* Schema.decodeEffect(Kept)(asUser("keep", root, archive))
        const lost = (path: string, ...whats: ReadonlyArray<string>) => whats.map((what) => ({ path, what }))
        const capable = "has the extended attribute security.capability"
        const kept = [
          ...lost("hidden", "belongs to 3:0", "has the mode 0"),
          ...lost("hidden/inside", "belongs to 4:0"),
          ...lost("moved", capable),
          ...lost("null", "is a character device", "belongs to 0:6"),
          ...lost("owned", "belongs to 5:6"),
          ...lost("ping", capable),
          ...lost("secret", "belongs to 7:0", "has the mode 0")
        ]
        assert.deepStrictEqual(first, [...lost("gone", "belongs to 8:0"), ...kept])
        const names = new Map([
          ["null", ["null", "null too"]],
          ["ping", ["a ping", "ping"]],
          ["secret", ["a secret", "secret"]],
          ["moved", ["there"]]
        ])
        const expected = kept.flatMap((one) => (names.get(one.path) ?? [one.path]).map((path) => ({ ...one, path })))
        assert.sameDeepMembers([...second], expected)

        assert.deepStrictEqual(yield* said(`${root}.tar`), [
          [
            "5 ./ 755 0:0",
            "0 a ping 755 0:0 capable",
            "0 a secret 0 7:0",
            "0 .wh.gone 0 0:0",
            "5 hidden/ 0 3:0",
            "0 hidden/new 644 0:0",
            "0 mine 644 0:0",
            "0 moved 644 0:0",
            "3 null 666 0:6",
            "1 null too -> null",
            "0 owned 4755 5:6",
            "1 ping -> a ping",
            "1 secret -> a secret",
            "0 there 750 0:0 capable"
          ],
          ["5 ./ 755 0:0", "0 owned 755 5:6"]
        ])
      }).pipe(Effect.scoped, Effect.provide(Root.layer))
  )

  it.live.runIf(Trees.isRoot)("gives root an image in which all of it is there", () =>
    Effect.gen(function* () {
      const { archive, root } = yield* prepared
      asUser("keep", root, archive)
      yield* Embedded.importArchive(`${root}.tar`)
      const { notApplied, rootfs } = yield* Embedded.createContainer("app:2")
      assert.deepStrictEqual(notApplied, [])
      const tree = Trees.read(rootfs)
      const about = (path: string) => [tree[path]?.type, tree[path]?.mode, tree[path]?.owner, tree[path]?.links]
      assert.deepStrictEqual(about("/null"), ["2", "666", "0:6", "/null /null too"])
      assert.strictEqual(tree["/null"]?.device, "259")
      assert.deepStrictEqual(about("/hidden"), ["4", "0", "3:0", "/hidden"])
      assert.deepStrictEqual(about("/hidden/inside"), ["10", "644", "4:0", "/hidden/inside"])
      assert.deepStrictEqual(about("/owned"), ["10", "755", "5:6", "/owned"])
      assert.deepStrictEqual(about("/secret"), ["10", "0", "7:0", "/a secret /secret"])
      assert.match(tree["/ping"]?.xattrs ?? "", /^SCHILY\.xattr\.security\.capability=/)
      assert.isUndefined(tree["/gone"])
    }).pipe(Effect.scoped, Effect.provide(Root.layer))
  )

  it.live("who closes a file or a directory to all is told which one the commit cannot read, and nothing is left", () =>
    Effect.gen(function* () {
      const { archive, root } = yield* prepared
      const { isClean, isGone, messages } = yield* Schema.decodeEffect(Closed)(asUser("closed", root, archive))
      assert.isTrue(isClean)
      assert.isTrue(isGone)
      assert.strictEqual(messages.length, 3)
      assert.match(messages[0] ?? "", /^cannot commit container one: .*: owned: Cannot open: Permission denied/)
      assert.match(messages[1] ?? "", /^cannot commit container one: .*permission denied.*ROOTFS\/hidden'/)
      assert.match(messages[2] ?? "", /^cannot commit container one: .*permission denied.*ROOTFS'/)
    }).pipe(Effect.scoped, Effect.provide(Root.layer))
  )
})
