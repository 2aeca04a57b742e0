import { execFileSync } from "node:child_process"
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Effect, Exit, Schema, Stream } from "effect"
import { LayerError } from "../../src/layer/LayerError.ts"
import * as TarRewrite from "../../src/layer/TarRewrite.ts"
import * as Tars from "./Tars.ts"

const { bytes, end, file, gnuLong, header, identity, paxHeader, paxRecord, run } = Tars

/** An edit that records what it sees. */
const watching = (edit: TarRewrite.Edit = (entry) => entry) => {
  const seen: Array<TarRewrite.Entry> = []
  const transform = TarRewrite.rewrite((entry) => {
    seen.push(entry)
    return edit(entry)
  })
  return { seen, transform }
}

const seenIn = (tar: Uint8Array) => {
  const { seen, transform } = watching()
  return Effect.as(run(transform, tar), seen)
}

const givenTo = (uid: number, gid: number) => TarRewrite.rewrite(({ pax }) => ({ uid, gid, pax }))

/** The last byte of its last block is no zero. */
const filledUp = paxHeader(paxRecord("a", "1"))
filledUp[filledUp.length - 1] = 1

const failure = (tar: Uint8Array, sizes?: ReadonlyArray<number>) => Effect.flip(run(identity, tar, sizes))

const text = (data: Uint8Array | undefined) => Buffer.from(data ?? []).toString("latin1")

describe("an edit that changes nothing", () => {
  it.effect.prop(
    "gives back the very bytes, however they are cut",
    { archive: Tars.archive },
    ({ archive }) =>
      Effect.gen(function* () {
        assert.isTrue((yield* run(identity, archive.tar, archive.chunks)).equals(archive.tar))
      }),
    { arbitrary: { runs: 150, size: 60 } }
  )

  it.effect.each([
    ["an empty stream", bytes()],
    ["an empty tar", end],
    ["a tar without blocks of zeros at its end", file({}, "content")],
    ["a tar with one block of zeros", bytes(file({}, "content"), Buffer.alloc(512))],
    ["a tar filled up to a record of 20 blocks", bytes(file({}, "content"), Buffer.alloc(9216))],
    ["garbage after the end", bytes(file({}, "content"), end, "no header at all")],
    ["a half block of zeros after the end", bytes(file({}, "content"), end, Buffer.alloc(200))],
    ["a header from before ustar", bytes(file({ dialect: "v7", type: "\0" }, "content"), end)],
    ["a type that nobody knows", bytes(file({ type: "Q" }, "content"), file({}), end)],
    ["an empty extended header", bytes(paxHeader(bytes()), file({}), end)],
    ["an extended header that is filled up with something else", bytes(filledUp, file({}, "content"), end)],
    ["two extended headers", bytes(paxHeader(paxRecord("a", "1")), paxHeader(paxRecord("b", "2")), file({}), end)]
  ] as const)("keeps %s", ([, tar]) =>
    Effect.gen(function* () {
      for (const sizes of [[], [1], [511], [512], [513]]) {
        assert.isTrue((yield* run(identity, tar, sizes)).equals(tar))
      }
    })
  )

  it.effect("works on a stream more than once", () =>
    Effect.gen(function* () {
      const tar = bytes(paxHeader(paxRecord("path", "x")), file({}, "content"))
      const stream = Stream.make(tar.subarray(0, 100), tar.subarray(100)).pipe(identity)
      assert.isTrue(tar.equals(yield* Stream.mkUint8Array(stream)))
      assert.isTrue(tar.equals(yield* Stream.mkUint8Array(stream)))
    })
  )

  it.effect("passes the failure of its source on", () =>
    Effect.gen(function* () {
      const source = Stream.concat(Stream.make(file({}, "x").subarray(0, 700)), Stream.fail("broken" as const))
      assert.strictEqual(yield* source.pipe(identity, Stream.runDrain, Effect.flip), "broken")
    })
  )
})

describe("what an edit sees", () => {
  it.effect("takes path, ids and size from the pax records before those of the header", () =>
    Effect.gen(function* () {
      const records = bytes(
        paxRecord("path", bytes([0xff, 0xfe], "/name")),
        paxRecord("uid", "4294967295"),
        paxRecord("gid", "4000000000"),
        paxRecord("size", "600"),
        paxRecord("SCHILY.xattr.user.x", bytes([0, 255, 10]))
      )
      const tar = bytes(paxHeader(records), file({ size: 1 }, Buffer.alloc(600, "c")), file({ name: "next" }), end)
      const [first, second, ...others] = yield* seenIn(tar)
      assert.strictEqual(text(first?.path), "\xff\xfe/name")
      assert.strictEqual(first?.uid, 4294967295)
      assert.strictEqual(first?.gid, 4000000000)
      assert.strictEqual(text(first?.pax.find(({ key }) => key === "SCHILY.xattr.user.x")?.value), "\0\xff\n")
      assert.strictEqual(text(second?.path), "next")
      assert.deepStrictEqual(second?.pax, [])
      assert.deepStrictEqual(others, [])
    })
  )

  it.effect("falls back to the header where a record is empty, which is how pax takes a value back", () =>
    Effect.gen(function* () {
      const records = ["path", "uid", "gid", "size"].map((key) => paxRecord(key, ""))
      const tar = bytes(paxHeader(bytes(...records)), file({ name: "n", uid: 7, gid: 8 }, "x"), file({ name: "next" }))
      const [first, second] = yield* seenIn(tar)
      assert.deepStrictEqual([text(first?.path), first?.uid, first?.gid], ["n", 7, 8])
      assert.strictEqual(text(second?.path), "next")
    })
  )

  it.effect("takes the last of several records", () =>
    Effect.gen(function* () {
      const [entry] = yield* seenIn(bytes(paxHeader(bytes(paxRecord("uid", "1"), paxRecord("uid", "2"))), file({})))
      assert.strictEqual(entry?.uid, 2)
    })
  )

  it.effect("takes a long name of GNU, up to its NUL", () =>
    Effect.gen(function* () {
      const long = bytes("d/".repeat(200), [0xff])
      const tar = bytes(
        gnuLong("K", "l".repeat(300)),
        gnuLong("L", long),
        file({ name: "d", dialect: "gnu" }),
        file({})
      )
      const [first, second] = yield* seenIn(tar)
      assert.strictEqual(text(first?.path), text(long))
      assert.strictEqual(text(second?.path), "file")
    })
  )

  it.effect("joins the prefix and the name of a ustar header, and of no other", () =>
    Effect.gen(function* () {
      const tar = bytes(
        file({ name: "n", prefix: "dir" }),
        file({ name: "n", prefix: "atime", dialect: "gnu" }),
        file({ name: "n", prefix: "junk", dialect: "v7" })
      )
      const seen = yield* seenIn(tar)
      assert.deepStrictEqual(
        seen.map(({ path }) => text(path)),
        ["dir/n", "n", "n"]
      )
    })
  )

  it.effect("reads ids and sizes in base 256", () =>
    Effect.gen(function* () {
      const block = Buffer.from(header({ uid: 4294967295, gid: 2097152, dialect: "gnu" }))
      block.set([0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 88], 124)
      const [first, second] = yield* seenIn(bytes(Tars.sealed(block), Buffer.alloc(1024, "x"), file({ name: "next" })))
      assert.deepStrictEqual([first?.uid, first?.gid], [4294967295, 2097152])
      assert.strictEqual(text(second?.path), "next")
    })
  )

  it.effect("takes a size field of an entry that has no data for nothing, as Go does", () =>
    Effect.gen(function* () {
      const types = ["1", "2", "3", "4", "5", "6"]
      const seen = yield* seenIn(bytes(...types.map((type) => header({ type, size: 12345 }))))
      assert.deepStrictEqual(
        seen.map(({ type }) => type),
        types
      )
    })
  )

  it.effect("is no global header: that is no file and has no owner", () =>
    Effect.gen(function* () {
      const tar = bytes(paxHeader(paxRecord("uid", "5"), "g"), file({ name: "n", uid: 6 }), end)
      const { seen, transform } = watching(({ pax }) => ({ uid: 1, gid: 1, pax }))
      const out = yield* run(transform, tar)
      assert.deepStrictEqual(
        seen.map(({ path, uid }) => [text(path), uid]),
        [["n", 6]]
      )
      assert.isTrue(out.subarray(0, 1024).equals(tar.subarray(0, 1024)))
    })
  )
})

describe("an edit", () => {
  it.effect("puts ids that fit into the header, and takes their records away", () =>
    Effect.gen(function* () {
      const tar = bytes(
        paxHeader(paxRecord("uid", "4294967295")),
        file({ uid: 0o7777777, mode: 0o4755 }, "content"),
        end
      )
      const out = yield* run(givenTo(0o7777777, 0), tar)
      assert.isTrue(out.equals(bytes(file({ uid: 0o7777777, mode: 0o4755 }, "content"), end)))
    })
  )

  it.effect("puts ids that do not fit into records, and those come back", () =>
    Effect.gen(function* () {
      for (const id of [0o7777777 + 1, 4294967295]) {
        const out = yield* run(givenTo(id, 5), bytes(file({ name: "n" }, "content"), end))
        const [entry, ...others] = yield* seenIn(out)
        assert.deepStrictEqual([entry?.uid, entry?.gid, text(entry?.path)], [id, 5, "n"])
        assert.deepStrictEqual(
          entry?.pax.map(({ key, value }) => [key, text(value)]),
          [["uid", String(id)]]
        )
        assert.deepStrictEqual(others, [])
        assert.deepStrictEqual(Tars.decode(yield* run(givenTo(0, 0), out)), Tars.decode(file({ name: "n" }, "content")))
      }
    })
  )

  it.effect("keeps every other byte of every record, its key too", () =>
    Effect.gen(function* () {
      const records = bytes(
        paxRecord("path", bytes([0xff, 0x80], "\n=x")),
        paxRecord("mtime", "1700000000.123456789"),
        paxRecord("SCHILY.xattr.user.v", bytes([0, 1, 0xff, 0xfe, 10, 0x3d])),
        paxRecord(bytes("SCHILY.xattr.user.", [0xff, 0xe9]), "non-UTF-8 key"),
        paxRecord(bytes([0xef, 0xbb, 0xbf], "key"), "key with a byte order mark")
      )
      const out = yield* run(givenTo(1, 4294967295), bytes(paxHeader(records), file({}, "content"), end))
      const expected = bytes(records, paxRecord("gid", "4294967295"))
      assert.strictEqual(text(out.subarray(512, 512 + expected.length)), text(expected))
    })
  )

  it.effect("leaves the headers of GNU where they are", () =>
    Effect.gen(function* () {
      const long = gnuLong("L", "n".repeat(2000))
      const out = yield* run(givenTo(1, 2), bytes(long, file({ dialect: "gnu" }, "content"), end))
      assert.isTrue(out.equals(bytes(long, file({ dialect: "gnu", uid: 1, gid: 2 }, "content"), end)))
    })
  )

  it.effect("can take all records away", () =>
    Effect.gen(function* () {
      const none = TarRewrite.rewrite(({ gid, uid }) => ({ uid, gid, pax: [] }))
      const out = yield* run(none, bytes(paxHeader(paxRecord("comment", "x")), file({}, "content"), end))
      assert.isTrue(out.equals(bytes(file({}, "content"), end)))
    })
  )

  it.effect("may refuse, with an error of its own", () =>
    Effect.gen(function* () {
      const refusal = new LayerError({ kind: "id-map", message: "no" })
      const refusing = TarRewrite.rewrite(() => {
        throw refusal
      })
      assert.strictEqual(yield* Effect.flip(run(refusing, file({}))), refusal)
    })
  )
})

describe("a damaged tar", () => {
  const sound = bytes(
    file({ name: "a", uid: 1 }, "one"),
    paxHeader(paxRecord("path", "b".repeat(150))),
    file({ name: "b", type: "5" }),
    gnuLong("L", "c".repeat(150)),
    file({ name: "c", dialect: "gnu" }, "z".repeat(700))
  )
  const borders = new Set([0, 1024, 2560, 5120])

  it.effect("that ends before its time fails, at every byte but those between two entries", () =>
    Effect.gen(function* () {
      assert.strictEqual(sound.length, 5120)
      for (let length = 0; length <= sound.length; length++) {
        for (const sizes of [[], [100]]) {
          const exit = yield* Effect.exit(run(identity, sound.subarray(0, length), sizes))
          assert.strictEqual(Exit.isSuccess(exit), borders.has(length), `${length} bytes`)
        }
      }
      const { kind, message } = yield* failure(sound.subarray(0, 600))
      assert.deepStrictEqual({ kind, message }, { kind: "tar", message: "the tar ends in the middle of an entry" })
    })
  )

  it.effect("fails at any changed byte of a header", () =>
    Effect.gen(function* () {
      for (let at = 0; at < 512; at++) {
        // The last two bytes of the checksum are its end.
        if (at === 154 || at === 155) continue
        const damaged = Buffer.from(sound)
        damaged[at] = (damaged[at] ?? 0) ^ 0x01
        const { kind } = yield* failure(damaged)
        assert.strictEqual(kind, "tar", `byte ${at}`)
      }
      const { message } = yield* failure(bytes("no tar at all, but long enough".repeat(20)))
      assert.match(message, /damaged tar header/)
    })
  )

  it.effect.prop(
    "never hangs and fails with nothing but LayerError, whatever is changed",
    {
      archive: Tars.archive,
      at: Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 })),
      byte: Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 255 })))
    },
    ({ archive, at, byte }) =>
      Effect.gen(function* () {
        const damaged = Buffer.from(archive.tar)
        damaged[Math.floor(at * damaged.length)] = byte
        const exit = yield* Effect.exit(run(identity, damaged, archive.chunks))
        if (Exit.isFailure(exit)) {
          const [reason] = exit.cause.reasons
          assert.isTrue(reason?._tag === "Fail" && reason.error instanceof LayerError)
        } else {
          assert.isTrue(exit.value.equals(damaged))
        }
      }),
    { arbitrary: { runs: 100, size: 60 } }
  )

  const withRecords = (...records: ReadonlyArray<string | Uint8Array>) =>
    bytes(paxHeader(bytes(...records)), file({ name: "n" }, "content"), file({ name: "next" }), end)

  it.effect.each([
    ["no length", " path=x\n"],
    ["a length of 0", "0 path=x\n"],
    ["a length that is too large", "999 path=x\n"],
    ["a length that is too small", "5 path=x\n"],
    ["a negative length", "-9 path=x\n"],
    ["a length that is no decimal number", "0xb path=x\n"],
    ["a fraction as length", "12.0 path=x\n"],
    ["no equals sign", "7 path\n"],
    ["no equals sign before the next record", bytes("4 a\n", paxRecord("path", "x"))],
    ["no space", "path=x"],
    ["no end of line", "9 path=xy"],
    ["garbage after the records", bytes(paxRecord("path", "x"), "\0\0\0")]
  ] as const)("whose records have %s is refused", ([, records]) =>
    Effect.gen(function* () {
      const { kind, message } = yield* failure(withRecords(records))
      assert.deepStrictEqual({ kind, message }, { kind: "tar", message: "damaged pax header in the tar" })
    })
  )

  it.effect.each([
    ["size", "abc"],
    ["size", "-512"],
    ["size", "-1"],
    ["size", "1.5"],
    ["size", "1e3"],
    ["size", "0x10"],
    ["size", "9".repeat(40)],
    ["uid", "abc"],
    ["uid", "-1"],
    ["gid", "1.5"]
  ] as const)("whose %s is %s is refused, not waited for", ([key, value]) =>
    Effect.gen(function* () {
      const { kind, message } = yield* failure(withRecords(paxRecord(key, value)))
      assert.strictEqual(kind, "tar")
      assert.include(message, value)
    })
  )

  it.effect("with a sparse file of GNU is refused", () =>
    Effect.gen(function* () {
      const { message } = yield* failure(bytes(file({ type: "S", dialect: "gnu" }, "x"), end))
      assert.strictEqual(message, "GNU sparse entries are not allowed in a layer")
    })
  )

  it.effect("with an extended header of no end is refused before it is read", () =>
    Effect.gen(function* () {
      const { message } = yield* failure(header({ type: "x", size: 17 * 1024 * 1024 }))
      assert.strictEqual(message, `a tar header of ${17 * 1024 * 1024} bytes is too large`)
    })
  )
})

describe("a large tar", () => {
  const mebibyte = 1024 * 1024

  it.effect("takes no memory that grows with it, and little time", () =>
    Effect.gen(function* () {
      // Entries of 10 KiB, 200 MiB in all; chunks do not end where entries end.
      const unit = bytes(
        ...Array.from({ length: 100 }, (_, i) => file({ name: `f${i}`, uid: 100_000 }, Buffer.alloc(9728)))
      )
      const chunks = Tars.chunked(unit, [65_537])
      let out = 0
      let entries = 0
      let peak = 0
      const used = () => {
        const { arrayBuffers, heapUsed } = process.memoryUsage()
        return arrayBuffers + heapUsed
      }
      const before = used()
      const started = performance.now()
      yield* Stream.fromIterable(chunks).pipe(
        Stream.forever,
        Stream.take(chunks.length * 200),
        TarRewrite.rewrite(({ pax, uid }) => {
          if (++entries % 1000 === 0) peak = Math.max(peak, used())
          return { uid: uid - 100_000, gid: 1, pax }
        }),
        Stream.runForEachArray((parts) =>
          Effect.sync(() => {
            for (const part of parts) out += part.length
          })
        )
      )
      assert.isBelow(performance.now() - started, 4000)
      assert.strictEqual(out, unit.length * 200)
      assert.strictEqual(entries, 20_000)
      assert.isBelow((peak - before) / mebibyte, 100)
    })
  )
})

describe("other programs", () => {
  it.effect("tar-stream's archives come through, and are read by it", () =>
    Effect.gen(function* () {
      const mtime = new Date(1_700_000_000_000)
      const tar = yield* Tars.writeByTarStream([
        [{ name: "dir", type: "directory", uid: 1000, mtime }],
        [{ name: `dir/${"n".repeat(200)}`, uid: 1001, gid: 5, mtime }, "content"],
        [{ name: "dir/ü", type: "symlink", linkname: "target", mtime }],
        [{ name: "link", type: "link", linkname: "dir/ü", mtime }],
        [{ name: "null", type: "character-device", devmajor: 1, devminor: 3, mtime }]
      ])
      const before = yield* Tars.readByTarStream(tar)
      const after = yield* Tars.readByTarStream(yield* run(givenTo(3, 4), tar, [100]))
      assert.strictEqual(after.length, 5)
      assert.deepStrictEqual(
        after,
        before.map(({ content, header }) => ({ content, header: { ...header, uid: 3, gid: 4 } }))
      )
    })
  )

  const gnuTar = () => {
    try {
      return execFileSync("tar", ["--version"], { encoding: "utf8" }).includes("GNU tar")
    } catch {
      return false
    }
  }

  it.effect.runIf(gnuTar())("GNU tar's archives come through, and are read by it", () =>
    Effect.gen(function* () {
      const dir = yield* Effect.acquireRelease(
        Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-containerd-"))),
        (path) => Effect.sync(() => rmSync(path, { recursive: true }))
      )
      const long = "n".repeat(200)
      writeFileSync(join(dir, long), "content")
      writeFileSync(join(dir, "ü"), Buffer.alloc(100_000, "x"))
      symlinkSync(long, join(dir, "link"))
      const list = (input: Uint8Array) =>
        execFileSync("tar", ["-t", "-v", "--numeric-owner", "-f", "-"], { input, encoding: "utf8" })
      for (const format of ["v7", "oldgnu", "gnu", "ustar", "posix"]) {
        const names = format === "v7" || format === "ustar" ? ["ü"] : [long, "ü", "link"]
        const args = ["-c", "-C", dir, "--owner=5", "--group=6", `--format=${format}`, ...names]
        const tar = execFileSync("tar", args)
        const listing = list(yield* run(givenTo(2097152, 7), tar))
        assert.strictEqual(listing.trim().split("\n").length, names.length, format)
        assert.strictEqual(
          listing.replaceAll("2097152/7", "5/6").replace(/ +/g, " "),
          list(tar).replace(/ +/g, " "),
          format
        )
      }
    })
  )
})
