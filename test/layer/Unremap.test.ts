import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { IdMap, IdMapping } from "../../src/layer/IdMap.ts"
import * as TarRewrite from "../../src/layer/TarRewrite.ts"
import * as Unremap from "../../src/layer/Unremap.ts"
import * as Tars from "./Tars.ts"

const { bytes, capabilities, capabilityKey, end, file, gnuLong, paxHeader, paxRecord, run } = Tars

const ids = (...mappings: ReadonlyArray<IdMapping>): IdMap => ({ uids: mappings, gids: mappings })

/** What `newuidmap` gives a user by default. */
const usual = ids({ containerId: 0, hostId: 100_000, size: 65_536 })

const swapped = (mappings: ReadonlyArray<IdMapping>) =>
  mappings.map(({ containerId, hostId, size }) => ({ containerId: hostId, hostId: containerId, size }))

/** The map by its definition, one id at a time; none of the generated entries is without a counterpart. */
const toContainer = (mappings: ReadonlyArray<IdMapping>, id: number) =>
  mappings.flatMap(({ containerId, hostId, size }) =>
    id - hostId >= 0 && id - hostId < size ? [id - hostId + containerId] : []
  )[0] ?? -1

const latin1 = (data: Uint8Array) => Buffer.from(data).toString("latin1")

const unremap = (ids: IdMap) => TarRewrite.rewrite(Unremap.unremap(ids))

/** What `unremap` does to an entry, as a function of the entry. */
const unremapped =
  ({ gids, uids }: IdMap) =>
  (entry: Tars.Decoded): Tars.Decoded => ({
    ...entry,
    uid: toContainer(uids, entry.uid),
    gid: toContainer(gids, entry.gid),
    records: entry.records.map((record) =>
      record === latin1(bytes(capabilityKey, "=", capabilities[3]))
        ? latin1(bytes(capabilityKey, "=", capabilities[2]))
        : record
    )
  })

describe("unremap", () => {
  it.effect.prop(
    "changes ids and capabilities, entry by entry, and nothing else",
    { archive: Tars.archive },
    ({ archive }) =>
      Effect.gen(function* () {
        const out = yield* run(unremap(archive.ids), archive.tar, archive.chunks)
        const expected = Tars.decode(archive.tar).map((entry) =>
          entry.type === "g" ? entry : unremapped(archive.ids)(entry)
        )
        assert.deepStrictEqual(Tars.decode(out), expected)
        assert.strictEqual(out.length % 512, 0)
      }),
    { arbitrary: { runs: 150, size: 60 } }
  )

  it.effect.prop(
    "is what the reference reader says about the entries that were written",
    { archive: Tars.archive },
    ({ archive }) =>
      Effect.gen(function* () {
        const out = Tars.decode(yield* run(unremap(archive.ids), archive.tar)).filter(({ type }) => type !== "g")
        assert.deepStrictEqual(
          out.map(({ content, gid, link, path, uid }) => ({ content, gid, link, path, uid })),
          archive.entries.map(({ content, gid, link, path, uid }) => ({
            content: latin1(content),
            gid: toContainer(archive.ids.gids, gid),
            link: latin1(link),
            path: latin1(path),
            uid: toContainer(archive.ids.uids, uid)
          }))
        )
      }),
    { arbitrary: { runs: 100, size: 60 } }
  )

  it.effect.prop(
    "and its opposite give the ids back",
    { archive: Tars.archive },
    ({ archive }) =>
      Effect.gen(function* () {
        const back = { uids: swapped(archive.ids.uids), gids: swapped(archive.ids.gids) }
        const out = yield* run(unremap(archive.ids), archive.tar, archive.chunks)
        const again = Tars.decode(yield* run(unremap(back), out))
        const before = Tars.decode(archive.tar)
        assert.deepStrictEqual(
          again.map(({ content, gid, path, uid }) => ({ content, gid, path, uid })),
          before.map(({ content, gid, path, uid }) => ({ content, gid, path, uid }))
        )
      }),
    { arbitrary: { runs: 100, size: 60 } }
  )

  it.effect.prop(
    "gives a tar that tar-stream reads as before, but for the ids",
    { archive: Tars.archive },
    ({ archive }) =>
      Effect.gen(function* () {
        // tar-stream gives pax ids only as records, and those only as UTF-8: the other properties look at them.
        const parts = (tar: Uint8Array) =>
          Effect.map(Tars.readByTarStream(tar), (entries) =>
            entries.map(({ content, header: { linkname, mode, mtime, name, size, type } }) => ({
              content,
              linkname,
              mode,
              mtime,
              name,
              size,
              type
            }))
          )
        const out = yield* run(unremap(archive.ids), archive.tar)
        const before = yield* parts(archive.tar)
        assert.strictEqual(before.length, archive.entries.length)
        assert.deepStrictEqual(yield* parts(out), before)
      }),
    { arbitrary: { runs: 50, size: 60 } }
  )

  it.effect("takes ids up to the last of 32 bits, in both directions", () =>
    Effect.gen(function* () {
      const high = ids({ containerId: 0, hostId: 0xffff_fff0, size: 16 })
      for (const dialect of ["gnu", "pax"] as const) {
        const entry = {
          path: bytes("file"),
          type: "0",
          uid: 0xffff_ffff,
          gid: 0xffff_fff0,
          link: bytes(),
          content: bytes("content"),
          xattrs: []
        }
        const out = yield* run(unremap(high), Tars.encode(entry, dialect))
        const [low] = Tars.decode(out)
        assert.deepStrictEqual([low?.uid, low?.gid], [15, 0])
        const [back] = Tars.decode(yield* run(unremap(ids({ containerId: 0xffff_fff0, hostId: 0, size: 16 })), out))
        assert.deepStrictEqual([back?.uid, back?.gid, back?.content], [0xffff_ffff, 0xffff_fff0, "content"])
      }
    })
  )

  it.effect("makes a capability of a namespace one without, with the same sets and flags", () =>
    Effect.gen(function* () {
      const tar = (value: Uint8Array) =>
        bytes(paxHeader(paxRecord(capabilityKey, value)), file({ uid: 100_000, gid: 100_000 }), end)
      assert.strictEqual(capabilities[3].length, 24)
      assert.strictEqual(capabilities[2].length, 20)
      const out = yield* run(unremap(usual), tar(capabilities[3]))
      assert.deepStrictEqual(
        Tars.decode(out).flatMap(({ records }) => records),
        [latin1(bytes(capabilityKey, "=", capabilities[2]))]
      )
      // Revision 2 stays, and so does what only looks like revision 3.
      for (const value of [capabilities[2], capabilities[3].subarray(0, 23), bytes(capabilities[3], [0]), bytes()]) {
        const [entry] = Tars.decode(yield* run(unremap(usual), tar(value)))
        assert.deepStrictEqual(entry?.records, [latin1(bytes(capabilityKey, "=", value))])
      }
    })
  )

  it.effect("does so where no id changes, too", () =>
    Effect.gen(function* () {
      const same = ids({ containerId: 0, hostId: 0, size: 10 })
      const out = yield* run(unremap(same), bytes(paxHeader(paxRecord(capabilityKey, capabilities[3])), file({}), end))
      const expected = bytes(paxHeader(paxRecord(capabilityKey, capabilities[2])), file({}), end)
      assert.isTrue(out.equals(expected))
    })
  )

  it.effect("leaves an attribute alone that has the bytes of a capability and another name", () =>
    Effect.gen(function* () {
      const record = paxRecord("SCHILY.xattr.user.capability", capabilities[3])
      const out = yield* run(unremap(usual), bytes(paxHeader(record), file({ uid: 100_000, gid: 100_000 }), end))
      assert.isTrue(out.equals(bytes(paxHeader(record), file({ uid: 0, gid: 0 }), end)))
    })
  )

  it.effect("leaves whiteouts alone: differs write them with ids of the host's root, which the map does not have", () =>
    Effect.gen(function* () {
      const tar = bytes(
        file({ name: ".wh.gone" }),
        file({ name: "dir/.wh..wh..opq" }),
        paxHeader(paxRecord("path", bytes("d".repeat(200), "/.wh.", [0xff], "\n"))),
        file({ name: "d" }),
        end
      )
      assert.isTrue((yield* run(unremap(usual), tar)).equals(tar))
      const { message } = yield* Effect.flip(run(unremap(usual), file({ name: ".wh.dir/file" })))
      assert.match(message, /^"\.wh\.dir\/file" has the uid 0/)
    })
  )

  it.effect("leaves a global header alone", () =>
    Effect.gen(function* () {
      const global = paxHeader(paxRecord("comment", "x"), "g")
      const out = yield* run(unremap(usual), bytes(global, file({ uid: 100_001, gid: 100_002 }), end))
      assert.isTrue(out.equals(bytes(global, file({ uid: 1, gid: 2 }), end)))
    })
  )

  it.effect.each([
    ["a uid below the map", file({ name: "dir/näme", uid: 99_999, gid: 100_000 }), '"dir/näme" has the uid 99999'],
    ["a uid above the map", file({ name: "n", uid: 165_536, gid: 100_000 }), '"n" has the uid 165536'],
    ["a gid below the map", file({ name: "n", uid: 165_535, gid: 0 }), '"n" has the gid 0'],
    [
      "a long name of GNU",
      bytes(gnuLong("L", "l".repeat(120)), file({ name: "l", dialect: "gnu" })),
      `"${"l".repeat(120)}" has the uid 0`
    ],
    ["a name in a record", bytes(paxHeader(paxRecord("path", "a\nb")), file({ name: "x" })), '"a\\nb" has the uid 0'],
    [
      "a uid in a record",
      bytes(paxHeader(paxRecord("uid", "4294967295")), file({ uid: 100_000 })),
      '"file" has the uid 4294967295'
    ]
  ] as const)("names the path of an entry with %s", ([, tar, beginning]) =>
    Effect.gen(function* () {
      const { kind, message } = yield* Effect.flip(run(unremap(usual), bytes(tar, end), [100]))
      assert.deepStrictEqual(
        { kind, message },
        { kind: "id-map", message: `${beginning}, which the id map does not have` }
      )
    })
  )

  it.effect("maps users and groups by their own maps", () =>
    Effect.gen(function* () {
      const both: IdMap = {
        uids: [{ containerId: 0, hostId: 1000, size: 1 }],
        gids: [
          { containerId: 10, hostId: 1, size: 5 },
          { containerId: 0, hostId: 1000, size: 1 }
        ]
      }
      const out = yield* run(unremap(both), bytes(file({ uid: 1000, gid: 5 }), file({ uid: 1000, gid: 1000 }), end))
      assert.deepStrictEqual(
        Tars.decode(out).map(({ gid, uid }) => [uid, gid]),
        [
          [0, 14],
          [0, 0]
        ]
      )
    })
  )
})
