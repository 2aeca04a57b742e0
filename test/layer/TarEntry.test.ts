import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import * as Acl from "../../src/layer/Acl.ts"
import * as RawPath from "../../src/layer/RawPath.ts"
import * as Rights from "../../src/layer/Rights.ts"
import * as TarEntry from "../../src/layer/TarEntry.ts"
import * as TarReader from "../../src/layer/TarReader.ts"
import * as Tars from "./Tars.ts"
import * as Trees from "./Trees.ts"

const int = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))
const Id = Schema.Union([Schema.Literals([0, 0o7777777, 0o7777777 + 1, 4_294_967_294]), int(0, 70_000)])
const Name = Schema.Union([
  Schema.Literals(["a", "dir/name", "\xff\xfe", `${"n".repeat(99)}`, "n".repeat(100), "n".repeat(101), "a b\nc=d"]),
  Schema.NonEmptyString.check(Schema.isPattern(/^[ -.0-~\xa0-\xff]{1,300}$/))
])
const Time = Schema.Union([
  Schema.Literals([0n, 1n, -1n, -1_500_000_000n, 8_589_934_591_000_000_000n, 8_589_934_592_000_000_000n]),
  Schema.BigInt.check(Schema.isBetweenBigInt({ minimum: -(2n ** 62n), maximum: 2n ** 62n }))
])

const Fields = Schema.Struct({
  type: Schema.Literals(["0", "1", "2", "3", "4", "5", "6"]),
  path: Name,
  link: Name,
  mode: int(0, 0o7777),
  uid: Id,
  gid: Id,
  size: Schema.Union([Schema.Literals([0, 0o77777777777, 0o77777777777 + 1]), int(0, 5000)]),
  mtime: Time,
  major: int(0, 4095),
  minor: int(0, 1_048_575),
  xattrs: Schema.Array(Name).check(Schema.isMaxLength(3))
})

const toEntry = (fields: typeof Fields.Type): TarEntry.TarEntry => {
  const { type } = fields
  const isDevice = type === "3" || type === "4"
  const names = [...new Set(fields.xattrs.map((name) => name.replaceAll("=", "-")))].toSorted()
  return {
    ...fields,
    size: type === "0" ? fields.size : 0,
    link: type === "1" || type === "2" ? fields.link : "",
    major: isDevice ? fields.major : 0,
    minor: isDevice ? fields.minor : 0,
    xattrs: names.map((name) => ({ name, value: Buffer.from(name, "latin1") }))
  }
}

const decoded = (tar: Uint8Array): ReadonlyArray<TarEntry.TarEntry> =>
  TarReader.make()
    .push(tar)
    .flatMap((event) => (event._tag === "Entry" ? [TarEntry.decode(event.header)] : []))

describe("an entry", () => {
  it.effect.prop(
    "comes back from its header",
    { fields: Fields },
    ({ fields }) =>
      Effect.sync(() => {
        const entry = toEntry(fields)
        const [back, ...others] = decoded(TarEntry.encode(entry))
        assert.deepStrictEqual(others, [])
        assert.isDefined(back)
        if (back === undefined) return
        assert.strictEqual(back.path.replace(/\/$/, ""), entry.path.replace(/\/$/, ""))
        assert.deepStrictEqual(
          { ...back, path: "", xattrs: back.xattrs.map(({ name, value }) => [name, Buffer.from(value)]) },
          { ...entry, path: "", xattrs: entry.xattrs.map(({ name, value }) => [name, value]) }
        )
      }),
    { arbitrary: { runs: 300 } }
  )

  it.effect("is read alike by tar-stream", () =>
    Effect.gen(function* () {
      const [base] = decoded(Trees.regular("x"))
      if (base === undefined) return assert.fail()
      const long = "d/ü".repeat(60)
      const tar = Tars.bytes(
        TarEntry.encode({
          ...base,
          path: RawPath.fromBytes(Buffer.from(long)),
          size: 3,
          uid: 1000,
          mode: 0o4755,
          mtime: 5_000_000_000n
        }),
        Tars.padded(Buffer.from("abc")),
        TarEntry.encode({ ...base, path: "null", type: "3", major: 1, minor: 3 }),
        TarEntry.end
      )
      const [file, device] = yield* Tars.readByTarStream(tar)
      assert.strictEqual(file?.header.name, long)
      assert.deepStrictEqual([file?.header.uid, file?.header.mode, file?.content], [1000, 0o4755, "abc"])
      assert.deepStrictEqual(file?.header.mtime, new Date(5000))
      assert.deepStrictEqual([device?.header.devmajor, device?.header.devminor], [1, 3])
    })
  )

  it("has a time before 1970 also in base 256; one that does not fit counts for none, as in containerd", () => {
    const block = Buffer.from(Trees.regular("x"))
    block.fill(0xff, 136, 147)
    block[147] = 0xfe
    assert.strictEqual(decoded(Tars.sealed(block))[0]?.mtime, -2_000_000_000n)
    const far = Trees.withPax({ mtime: "99999999999999.5" }, Trees.regular("x"))
    assert.strictEqual(decoded(far)[0]?.mtime, 0n)
  })
})

describe("a path", () => {
  it("is cleaned as Go cleans it, and may not climb out", () => {
    const clean = (path: string) => RawPath.clean(path)?.join("/")
    assert.deepStrictEqual(["a//b/./c/", "/a", "a/../b", "./", "", "a/b/../../c"].map(clean), [
      "a/b/c",
      "a",
      "b",
      "",
      "",
      "c"
    ])
    for (const path of ["..", "../a", "a/../..", "/..", "a/../../b/c"]) assert.isUndefined(clean(path))
  })

  it("is shown without loss, and sorted with each directory before what is in it", () => {
    assert.deepStrictEqual(["a", "\xc3\xbc", "\xff", "\\xff", "\xc3\xbc\xff"].map(RawPath.show), [
      "a",
      "ü",
      "\\xff",
      "\\x5cxff",
      "\\xc3\\xbc\\xff"
    ])
    const sorted = ["a-b", "a/x", "\xff", "a", "a/x/y", ""].toSorted((a, b) =>
      RawPath.sortKey(a) < RawPath.sortKey(b) ? -1 : 1
    )
    assert.deepStrictEqual(sorted, ["", "a", "a/x", "a/x/y", "a-b", "\xff"])
  })
})

describe("an access control list", () => {
  it("is written as star writes it; what is none has no text", () => {
    const list = Trees.acl([1, 7], [2, 5, 1000], [4, 4], [8, 1, 3], [0x10, 6], [0x20, 0])
    assert.strictEqual(Acl.toText(list), "user::rwx,user:1000:r-x,group::r--,group:3:--x,mask::rw-,other::---")
    const others = [list.subarray(0, 11), list.subarray(0, 3), list.subarray(0, 4), Buffer.from("no list at all!!")]
    for (const bytes of [...others, Trees.acl([3, 7])]) assert.isUndefined(Acl.toText(bytes))
  })
})

describe("rights", () => {
  it.effect("of this process are root's or nobody's", () =>
    Effect.gen(function* () {
      const rights = yield* Rights.current
      assert.strictEqual(rights.self.uid, process.geteuid?.())
      assert.isFalse(Rights.mayOwn(Rights.ordinary(rights.self), rights.self.uid, rights.self.gid))
      if (!Trees.isRoot) assert.isFalse(rights.devices || rights.admin)
      const mapped = { ...rights, owners: { uids: [{ first: 0, count: 10 }], gids: [{ first: 5, count: 1 }] } }
      assert.deepStrictEqual(
        [Rights.mayOwn(mapped, 9, 5), Rights.mayOwn(mapped, 10, 5), Rights.mayOwn(mapped, 0, 4)],
        [true, false, false]
      )
    })
  )
})
