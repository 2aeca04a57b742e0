import * as Fs from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Rights from "../../src/layer/Rights.ts"
import * as Sandbox from "./Sandbox.ts"
import * as Tars from "./Tars.ts"
import * as Trees from "./Trees.ts"

const { bytes } = Tars
const { directory, hardLink, regular, symlink, whiteout, withPax } = Trees
const { extract, layer, lostOf, sandbox, without } = Sandbox
const ordinary = Rights.ordinary({ uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 })

describe("what the user may not do", () => {
  const device = Tars.header({ name: "null", type: "3", mode: 0o666 })
  const entries = [
    directory("shut", { mode: 0o555 }),
    regular("shut/file", "x", { uid: 5, gid: 6, mode: 0o4755 }),
    regular("secret", "s", { mode: 0o000 }),
    device,
    hardLink("null2", "null"),
    withPax({ "SCHILY.xattr.security.capability": Tars.capabilities[2], "SCHILY.xattr.trusted.t": "1" }, regular("cap"))
  ]

  it.effect.runIf(Trees.hasGnuTar)("is recorded and reported", () =>
    Effect.gen(function* () {
      const { root } = yield* sandbox
      const result = yield* extract(root, layer(...entries), { rights: ordinary })
      assert.deepStrictEqual(lostOf(result), [
        "shut/file: the owner 5:6",
        "secret: the mode 0: 400 is there, for its owner could not read it",
        "null: a character device (0:0): an empty file stands in its place",
        "cap: the extended attribute security.capability needs CAP_SETFCAP",
        "cap: the extended attribute trusted.t needs CAP_SYS_ADMIN"
      ])
      const special = { type: "3", major: 0, minor: 0 } as const
      assert.deepStrictEqual(
        [...result.metadata.paths].toSorted(([a], [b]) => (a < b ? -1 : 1)),
        [
          [
            "cap",
            {
              xattrs: [
                ["security.capability", Tars.capabilities[2].toString("base64")],
                ["trusted.t", "MQ=="]
              ]
            }
          ],
          ["null", { special }],
          ["null2", { special }],
          ["secret", { mode: { real: 0, shown: 0o400 } }],
          ["shut/file", { owner: { uid: 5, gid: 6 } }]
        ]
      )
      assert.deepStrictEqual(result.metadata.self, ordinary.self)
      const tree = Trees.read(root)
      assert.deepStrictEqual(
        [tree["/null"]?.type, tree["/null"]?.size, tree["/null"]?.links],
        ["10", 0, "/null /null2"]
      )
      assert.deepStrictEqual(
        [tree["/shut"]?.mode, tree["/shut/file"]?.mode, tree["/secret"]?.mode],
        ["555", "4755", "400"]
      )
    })
  )

  it.effect("is forgotten with the file that it was about, and kept with the others", () =>
    Effect.gen(function* () {
      const { root } = yield* sandbox
      const owned = (...paths: ReadonlyArray<string>) => paths.map((path) => regular(path, "x", { uid: 5, gid: 6 }))
      const first = yield* extract(root, layer(...owned("a", "b", "c", "d/e", "f/g", "h/i")), { rights: ordinary })
      assert.deepStrictEqual([...first.metadata.paths.keys()], ["a", "b", "c", "d/e", "f/g", "h/i"])
      const second = layer(
        regular("a"),
        regular("b", "y", { uid: 7, gid: 8 }),
        whiteout(".wh.d"),
        whiteout("f/.wh..wh..opq"),
        regular("h", "no directory any more")
      )
      const { metadata } = yield* extract(root, second, { rights: ordinary, metadata: first.metadata })
      assert.deepStrictEqual(
        [...metadata.paths],
        [
          ["c", { owner: { uid: 5, gid: 6 } }],
          ["b", { owner: { uid: 7, gid: 8 } }]
        ]
      )
    })
  )

  it.effect("says what GNU tar is missed for", () =>
    Effect.gen(function* () {
      const { root } = yield* sandbox
      const fifo = Tars.header({ name: "fifo", type: "6" })
      const xattr = withPax({ "SCHILY.xattr.user.a": "1" }, regular("file"))
      const result = yield* extract(root, layer(fifo, xattr), without)
      assert.deepStrictEqual(
        lostOf(result).filter((line) => !line.includes("owner")),
        [
          "fifo: a FIFO: an empty file stands in its place",
          "file: the extended attribute user.a needs GNU tar",
          ": times are exact to a microsecond only: GNU tar is not in the PATH"
        ]
      )
      assert.deepStrictEqual(result.metadata.paths.get("file")?.xattrs, [["user.a", "MQ=="]])
    })
  )
})

describe.runIf(Trees.hasGnuTar)("extended attributes", () => {
  const xattrs = (path: string) =>
    Effect.map(sandbox, ({ root }) => ({ root, of: () => Trees.read(root)[path]?.xattrs }))
  const list = Trees.acl([1, 6], [2, 6, 1000], [4, 4], [0x10, 6], [0x20, 4])
  const listForAll = Trees.acl([1, 7], [2, 7, 1000], [4, 5], [0x10, 7], [0x20, 5])

  it.effect("have names with any character and values of any bytes", () =>
    Effect.gen(function* () {
      const { of, root } = yield* xattrs("/f")
      const records = { "SCHILY.xattr.user.a%25b": "1", "SCHILY.xattr.user.bin": bytes([0, 10, 255]) }
      yield* extract(root, layer(withPax(records, regular("f"))))
      // GNU tar writes "%" as "%25".
      assert.strictEqual(of(), "SCHILY.xattr.user.a%2525b=1; SCHILY.xattr.user.bin=\0\n\xff")
    })
  )

  it.effect("hold access control lists; a file without one gets none from the directory it is in", () =>
    Effect.gen(function* () {
      const { root } = yield* xattrs("/")
      const key = "SCHILY.xattr.system.posix_acl"
      yield* extract(root, layer(withPax({ [`${key}_default`]: listForAll }, directory("d"))))
      yield* extract(
        root,
        layer(regular("d/plain"), withPax({ [`${key}_access`]: list }, regular("d/listed", "", { mode: 0o664 })))
      )
      const tree = Trees.read(root)
      assert.strictEqual(tree["/d"]?.xattrs, `${key}_default=${listForAll.toString("latin1")}`)
      assert.strictEqual(tree["/d/plain"]?.xattrs, "")
      assert.strictEqual(tree["/d/listed"]?.xattrs, `${key}_access=${list.toString("latin1")}`)
    })
  )

  it.effect("of a directory stay when the writer had to settle, and when it is described again", () =>
    Effect.gen(function* () {
      const { root } = yield* xattrs("/")
      const records = { "SCHILY.xattr.system.posix_acl_default": listForAll, "SCHILY.xattr.user.a": "1" }
      Fs.writeFileSync(join(root, "low"), "")
      // The link has to be there before the lower file goes.
      const settled = [hardLink("d/x", "low"), whiteout(".wh.low"), regular("d/y")]
      yield* extract(root, layer(withPax(records, directory("d")), ...settled))
      yield* extract(
        root,
        layer(withPax({ "SCHILY.xattr.user.b": "2" }, directory("e")), directory("e", { mode: 0o700 }))
      )
      const tree = Trees.read(root)
      assert.match(tree["/d"]?.xattrs ?? "", /posix_acl_default=.*user\.a=1/s)
      assert.strictEqual(tree["/e"]?.xattrs, "SCHILY.xattr.user.b=2")
      assert.strictEqual(tree["/e"]?.mode, "700")
    })
  )

  it.effect("in forms that no container tool reads are reported", () =>
    Effect.gen(function* () {
      const { root } = yield* xattrs("/f")
      const result = yield* extract(root, layer(withPax({ "SCHILY.acl.access": "user::rw-" }, regular("f"))))
      assert.deepStrictEqual(lostOf(result), ["f: the pax record SCHILY.acl.access"])
    })
  )

  it.effect("that steer overlayfs are never set; others that cannot be are reported", () =>
    Effect.gen(function* () {
      const { root } = yield* xattrs("/")
      const overlay = { "SCHILY.xattr.trusted.overlay.redirect": "/etc", "SCHILY.xattr.user.overlay.opaque": "y" }
      const odd = { "SCHILY.xattr.nonsense.a": "1", "SCHILY.xattr.system.posix_acl_access": "no list" }
      const result = yield* extract(
        root,
        layer(
          withPax(overlay, directory("d")),
          withPax({ "SCHILY.xattr.user.s": "1" }, symlink("s", "x")),
          withPax(odd, regular("ü"))
        )
      )
      const lost = lostOf(result).join("\n")
      assert.match(lost, /^d: the extended attribute trusted\.overlay\.redirect would change/m)
      assert.match(lost, /^s: the extended attribute user\.s is for files and directories only/m)
      assert.match(lost, /^ü: Cannot set 'nonsense\.a' extended attribute: Operation not supported/m)
      assert.match(lost, /^ü: system\.posix_acl_access is no access control list/m)
      assert.strictEqual(Trees.read(root)["/d"]?.xattrs, "")
    })
  )

  it.effect.runIf(Trees.isRoot)("and owners, devices, capabilities and exact times are set by root", () =>
    Effect.gen(function* () {
      const { root } = yield* xattrs("/")
      const records = { "SCHILY.xattr.security.capability": Tars.capabilities[2], "SCHILY.xattr.trusted.t": "1" }
      const result = yield* extract(
        root,
        layer(
          withPax({ ...records, mtime: "1700000000.123456789" }, regular("f", "x", { mode: 0o4711, uid: 1, gid: 2 })),
          withPax({ mtime: "-1.5", uid: "4294967294" }, symlink("s", "x")),
          Tars.header({ name: "fifo", type: "6", uid: 3, mtime: 7 }),
          Tars.header({ name: "null", type: "3", mode: 0o666 })
        )
      )
      assert.deepStrictEqual(result.notApplied, [])
      assert.strictEqual(result.metadata.paths.size, 0)
      const tree = Trees.read(root)
      const about = (path: string) => [tree[path]?.type, tree[path]?.mode, tree[path]?.owner, tree[path]?.mtime]
      assert.deepStrictEqual(about("/f"), ["10", "4711", "1:2", "1700000000123456789"])
      assert.deepStrictEqual(about("/s"), ["12", "777", "4294967294:0", "-1500000000"])
      assert.deepStrictEqual(about("/fifo"), ["1", "644", "3:0", "7000000000"])
      assert.deepStrictEqual(about("/null").slice(0, 2), ["2", "666"])
      assert.match(tree["/f"]?.xattrs ?? "", /security\.capability=.*trusted\.t=1/s)
    })
  )
})
