import { execFileSync } from "node:child_process"
import * as Fs from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Option, Stream } from "effect"
import { giveBack } from "../../src/internal/LentBytes.ts"
import type * as DiffSource from "../../src/layer/DiffSource.ts"
import * as DirectoryDiff from "../../src/layer/DirectoryDiff.ts"
import * as GnuTar from "../../src/layer/GnuTar.ts"
import * as LargeFiles from "../../src/layer/LargeFiles.ts"
import type { RawPath } from "../../src/layer/RawPath.ts"
import { readLargeFiles } from "../../src/layer/ReadLargeFiles.ts"
import { compressible } from "./Compressible.ts"
import * as LargeLayers from "./LargeLayers.ts"
import * as Tars from "./Tars.ts"
import * as Trees from "./Trees.ts"

const { directory, hardLink, regular, withPax } = Trees

const here: LargeFiles.Limits = { least: 0, together: 0 }

const gnuTar = Effect.flatMap(GnuTar.find, Effect.fromOption)

const { bytesOf, write } = LargeLayers

/** Sizes around those of blocks and of buffers. */
const sizes = [0, 1, 511, 512, 513, 1024, 65_535, ...[-513, -1, 0, 1, 511].map((more) => 1024 * 1024 + more), 3_000_001]

const xattr = (name: string, value: string | Uint8Array, entry: Uint8Array) =>
  withPax({ [`SCHILY.xattr.${name}`]: value }, entry)

/** Bytes that are no UTF-8, and all that GNU tar has a letter for. */
const odd = "odd \x07\b\t\n\v\f\r\x1b\x7f\\\"'*? -> \xff\xc3\xa4"

const place = (root: string) => {
  Trees.place(
    root,
    directory("./"),
    directory("d"),
    ...sizes.map((size) => regular(`d/${size}`, compressible(size))),
    regular("plain", "x".repeat(5000), { mode: 0o4755, uid: 4_000_000_000, gid: 7 }),
    xattr("user.a", "1", regular("with-user", "x".repeat(5000))),
    ...(Trees.isRoot
      ? [xattr("security.capability", Tars.capabilities[2], regular("with-capability", "x".repeat(5000)))]
      : []),
    xattr(
      "system.posix_acl_access",
      Trees.acl([1, 6], [2, 4, 1000], [4, 4], [16, 4], [32, 4]),
      regular("with-acl", "x".repeat(5000))
    ),
    regular("linked", "y".repeat(5000)),
    hardLink("d/linked-too", "linked"),
    Trees.symlink("symlink", "plain")
  )
  const raw = Buffer.concat([Buffer.from(`${root}/`), Buffer.from(odd, "latin1")])
  Fs.writeFileSync(raw, "odd")
  Fs.mkdirSync(join(root, "deep", "n".repeat(200)), { recursive: true })
  Fs.writeFileSync(join(root, "deep", "n".repeat(200), "m".repeat(200)), "long")
  Trees.sparse(join(root, "sparse"), 3_000_000)
  const times = ["2001-02-03T04:05:06.123456789Z", "1960-01-01T00:00:00.5Z", "1969-12-31T23:59:59.999999999Z"]
  for (const [index, time] of times.entries()) {
    Fs.writeFileSync(join(root, `time-${index}`), "t")
    execFileSync("touch", ["-d", time, join(root, `time-${index}`)])
  }
  return root
}

describe.runIf(Trees.hasGnuTar)("large files", () => {
  it.effect("give the same bytes, whoever reads them", () =>
    Effect.gen(function* () {
      const root = place(join(yield* Trees.temporary, "root"))
      const lost: Array<unknown> = []
      const tar = yield* bytesOf(write(root, here, (one) => lost.push(one)))
      assert.isTrue(tar.equals(yield* bytesOf(write(root, LargeLayers.byTar))))
      assert.isTrue(tar.equals(yield* bytesOf(write(root, { least: 1024, together: 0 }))))
      assert.deepStrictEqual(lost, [])
    })
  )

  it.effect("are read by Node unless they have extended attributes or other names", () =>
    Effect.gen(function* () {
      const root = place(join(yield* Trees.temporary, "root"))
      const changes = yield* DirectoryDiff.changes({ lower: undefined, upper: root })
      const large = LargeFiles.among(changes, here)
      assert.include(large, "with-user")
      assert.notInclude(large, "linked")
      const found = [...(yield* LargeFiles.select(yield* gnuTar, root, large)).keys()]
      const others = ["plain", "sparse", odd, `deep/${"n".repeat(200)}/${"m".repeat(200)}`]
      const expected = [...sizes.map((size) => `d/${size}`), ...others, "time-0", "time-1", "time-2"]
      assert.deepStrictEqual(found.toSorted(), expected.toSorted())
    })
  )

  it.effect("that GNU tar does not say clearly are none", () =>
    Effect.gen(function* () {
      const root = yield* Trees.temporary
      for (const name of ["a", "b"]) Fs.writeFileSync(join(root, name), name)
      const tar = yield* gnuTar
      const select = (program: string, ...paths: ReadonlyArray<RawPath>) =>
        Effect.map(LargeFiles.select({ program }, root, paths), (found) => [...found.keys()])
      assert.deepStrictEqual(yield* select(tar.program, "a", "gone", "b"), ["a", "b"])
      Fs.linkSync(join(root, "a"), join(root, "linked"))
      assert.deepStrictEqual(yield* select(tar.program, "a", "b"), ["b"])
      Fs.rmSync(join(root, "linked"))
      const script = (name: string, text: string) => {
        Fs.writeFileSync(join(root, name), `#!/bin/sh\n${text}\n`, { mode: 0o755 })
        return join(root, name)
      }
      assert.deepStrictEqual(yield* select(script("warns", 'echo "tar: no" >&2; exec tar "$@"'), "a"), [])
      assert.deepStrictEqual(yield* select(script("old", 'tar "$@" | sed "s/  0/ 0/"'), "a"), [])
      assert.deepStrictEqual(yield* select(script("fails", "exit 2"), "a"), [])
      assert.deepStrictEqual(yield* select(join(root, "missing"), "a"), [])
    })
  )

  it("are worth it together, or not at all", () => {
    const change = { kind: "added", sameContent: true } as const
    const changes = [
      { ...change, path: "a", size: 10 },
      { ...change, path: "b", size: 9 },
      { ...change, path: "c" },
      { ...change, path: "d", size: 11 }
    ]
    assert.deepStrictEqual(LargeFiles.among(changes, { least: 10, together: 21 }), ["a", "d"])
    assert.deepStrictEqual(LargeFiles.among(changes, { least: 10, together: 22 }), [])
  })
})

/** What it reads of a file to which something happens before, or after the first mebibytes. */
const readChanging = Effect.fnUntraced(function* (happens: (path: string) => void, when: "before" | "meanwhile") {
  const root = yield* Trees.temporary
  const path = join(root, "file")
  Fs.writeFileSync(path, compressible(5 * mib))
  Fs.writeFileSync(join(root, "other"), "stays")
  const ctime = (name: string) => [name, Fs.lstatSync(join(root, name), { bigint: true }).ctimeNs] as const
  const files = new Map([ctime("file"), ctime("other")])
  // The clock of a file system ticks slowly.
  yield* Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 20)))
  const lost: Array<string> = []
  const report: DiffSource.Options["report"] = ({ path, what }) => void lost.push(`${path}: ${what}`)
  if (when === "before") happens(path)
  const source = readLargeFiles(files, { root, report })
  const events = yield* Effect.tryPromise({
    try: async () => {
      const events: Array<DiffSource.Event> = []
      for await (const batch of source) {
        if (when === "meanwhile" && events.length === 0) happens(path)
        events.push(...batch)
      }
      return events
    },
    catch: String
  })
  const entries = events.flatMap((event) => (event._tag === "Entry" ? [event.entry] : []))
  const content = Buffer.concat(events.flatMap((event) => (event._tag === "Data" ? [event.bytes] : [])))
  return { lost, content, types: entries.map(({ path, size, type }) => `${type} ${path} ${size}`) }
})

const mib = 1024 * 1024
const changed = "file: file changed as we read it"
const other = "0 other 5"

describe("a large file", () => {
  it.live("that shrinks while it is read is filled up with zeros, and reported", () =>
    Effect.gen(function* () {
      const { content, lost, types } = yield* readChanging((path) => Fs.truncateSync(path, 4 * mib + 5), "meanwhile")
      assert.deepStrictEqual(types, [`0 file ${5 * mib}`, other])
      const expected = Buffer.concat([compressible(4 * mib + 5), Buffer.alloc(mib - 5), Buffer.from("stays")])
      assert.isTrue(content.equals(expected))
      assert.deepStrictEqual(lost, [`file: File shrank by ${mib - 5} bytes; padding with zeros`, changed])
    }).pipe(Effect.scoped)
  )

  it.live("that grows while it is read is as long as its header says, and reported", () =>
    Effect.gen(function* () {
      const { content, lost, types } = yield* readChanging((path) => Fs.appendFileSync(path, "more"), "meanwhile")
      assert.deepStrictEqual(types, [`0 file ${5 * mib}`, other])
      assert.isTrue(content.equals(Buffer.concat([compressible(5 * mib), Buffer.from("stays")])))
      assert.deepStrictEqual(lost, [changed])
    }).pipe(Effect.scoped)
  )

  it.live("that grew before is read in full, and reported: it may have got extended attributes", () =>
    Effect.gen(function* () {
      const { content, lost, types } = yield* readChanging((path) => Fs.appendFileSync(path, "more"), "before")
      assert.deepStrictEqual(types, [`0 file ${5 * mib + 4}`, other])
      assert.strictEqual(content.subarray(5 * mib).toString(), "morestays")
      assert.deepStrictEqual(lost, [changed])
    }).pipe(Effect.scoped)
  )

  it.live("that is gone is left out", () =>
    Effect.gen(function* () {
      const { lost, types } = yield* readChanging((path) => Fs.rmSync(path), "before")
      assert.deepStrictEqual([types, lost], [[other], []])
    }).pipe(Effect.scoped)
  )

  const others: ReadonlyArray<readonly [string, string, (path: string) => void]> = [
    ["a symlink", "2 file 0", (path) => Fs.symlinkSync("other", path)],
    ["a FIFO", "6 file 0", (path) => void execFileSync("mkfifo", [path])],
    ["a directory", "5 file 0", (path) => Fs.mkdirSync(path)]
  ]
  it.live.each(others)("that has become %s is that, and reported", ([, type, make]) =>
    Effect.gen(function* () {
      const { content, lost, types } = yield* readChanging((path) => {
        Fs.rmSync(path)
        make(path)
      }, "before")
      assert.deepStrictEqual([types, lost], [[type, other], [changed]])
      assert.strictEqual(content.toString(), "stays")
    }).pipe(Effect.scoped)
  )

  it.live("that may not be read ends the reading", () =>
    Effect.gen(function* () {
      const forbid = (path: string) => {
        Fs.chmodSync(path, 0)
        if (Trees.isRoot) process.seteuid?.("nobody")
      }
      const failure = yield* Effect.flip(readChanging(forbid, "before")).pipe(
        Effect.ensuring(Effect.sync(() => Trees.isRoot && process.seteuid?.(0)))
      )
      assert.match(failure, /EACCES/)
    }).pipe(Effect.scoped)
  )

  it.live("leaves no descriptor when nobody takes the rest", () =>
    Effect.gen(function* () {
      const root = yield* Trees.temporary
      Trees.sparse(join(root, "big"), 2 ** 32)
      const opened = () => Fs.readdirSync("/proc/self/fd").map((fd) => Option.getOrElse(linkOf(fd), () => ""))
      const stream = write(root, here)
      yield* stream.pipe(Stream.take(3), Stream.runDrain)
      yield* Effect.sleep("50 millis")
      assert.deepStrictEqual(
        opened().filter((path) => path.includes(root)),
        []
      )
    }).pipe(Effect.scoped)
  )
})

const linkOf = Option.liftThrowable((fd: string) => Fs.readlinkSync(`/proc/self/fd/${fd}`))

describe.runIf(Trees.hasGnuTar)("bytes that are lent", () => {
  it.live("stay as they are until they are given back, however long that takes", () =>
    Effect.gen(function* () {
      const root = LargeLayers.place(join(yield* Trees.temporary, "root"))
      const pieces = yield* Stream.runCollect(write(root, LargeLayers.limits))
      assert.isTrue(Buffer.concat(pieces).equals(yield* bytesOf(write(root, LargeLayers.byTar))))
    }).pipe(Effect.scoped)
  )

  it.live("come back: a large layer needs few buffers", () =>
    Effect.gen(function* () {
      const root = LargeLayers.place(join(yield* Trees.temporary, "root"))
      const buffers = new Set<ArrayBufferLike>()
      yield* Stream.runForEach(write(root, LargeLayers.limits), (bytes) =>
        Effect.sync(() => {
          if (bytes.buffer.byteLength === mib) buffers.add(bytes.buffer)
          giveBack(bytes)
        })
      )
      assert.isAbove(buffers.size, 1)
      assert.isBelow(buffers.size, 6)
    }).pipe(Effect.scoped)
  )

  it.live.each([
    ["gzip", "node"],
    ["zstd", "node"]
  ] as const)("are compressed before others come into their place: %s by %s", LargeLayers.compressed, 30_000)
})
