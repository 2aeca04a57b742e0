import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Stream } from "effect"
import { TestClock } from "effect/testing"
import { ContentStore, Digest, Leases, Snapshotter } from "effect-containerd"
import * as BlobRecords from "../../src/embedded/BlobRecords.ts"
import { Database } from "../../src/embedded/Database.ts"
import * as Embedded from "../../src/embedded/Embedded.ts"
import * as Garbage from "../../src/embedded/Garbage.ts"
import * as Gc from "../../src/embedded/Gc.ts"
import * as ProcessOwner from "../../src/internal/ProcessOwner.ts"
import { hasBlob, leased, leasedAs, randomBytes, readAll, write } from "../suite/Cases.ts"
import * as Layout from "../suite/Layout.ts"
import * as Root from "./Root.ts"

/** This process as it would have been, had it died. */
const dead = ProcessOwner.current().replace(/ \d+ \S+$/, " 4194305 1")

const run = <A, E, R>(f: (root: string) => Effect.Effect<A, E, R>) =>
  Effect.flatMap(Root.directory, (root) => Effect.provide(f(root), Embedded.layer({ root })))

/** A lease that ends as a crash would end it: nobody collects. */
const forgotten = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  leasedAs((id) =>
    Effect.tap(self, () =>
      Effect.flatMap(Database, ({ transaction }) =>
        transaction("test", (sql) => sql.run("delete from leases where id = ?", id))
      )
    )
  )

const path = (root: string, digest: Digest.Digest) => join(root, "blobs", ...digest.split(":"))

/** Killed, and what it had started is at its end, too. */
const ended = async (child: ChildProcess): Promise<void> => {
  if (child.exitCode !== null || child.signalCode !== null) return
  const closed = once(child, "close")
  child.kill("SIGKILL")
  await closed
}

describe("gc", () => {
  it.live("removes what nobody refers to, of every kind; a dry run says the same before, and changes nothing", () =>
    run((root) =>
      Effect.gen(function* () {
        const { paths, transaction } = yield* Database
        const snapshots = (yield* Snapshotter.Snapshotters).get("directory")
        const leases = yield* Leases.Leases
        const kept = yield* leased(write(randomBytes(10), { labels: { "containerd.io/gc.root": "1" } }))
        const [base, blob] = yield* Effect.gen(function* () {
          const active = yield* snapshots.prepare({ key: "k", parent: "" })
          yield* active.commit("base")
          const child = yield* snapshots.prepare({ key: "child", parent: "base" })
          writeFileSync(join(child.mounts[0]?.source ?? "", "f"), "x".repeat(10_000))
          yield* child.handOver
          const cut = Stream.concat(Stream.make(randomBytes(2_097_152)), Stream.fail("cut"))
          const store = yield* ContentStore.ContentStore
          yield* Effect.exit(store.write(cut, { mediaType: "", ref: "ref" }))
          return ["base", yield* write(randomBytes(1000))] as const
        }).pipe(Effect.scoped, forgotten)
        yield* leases.create({ id: "expired", labels: { "containerd.io/gc.expire": "2001-01-01T00:00:00Z" } })
        yield* transaction("test", (sql) =>
          sql.run("insert into snapshots values ('half', 'half', '', 'active', '{}', null, null, 0, ?)", dead)
        )
        mkdirSync(paths.snapshot("half"))
        mkdirSync(paths.snapshot("stray"))

        const files = Layout.files(root)
        const dry = yield* Embedded.gc({ dryRun: true })
        assert.sameMembers(
          dry.items.map(({ id, kind }) => `${kind} ${id}`),
          [
            `blob ${blob.digest}`,
            `snapshot ${base}`,
            "snapshot child",
            "snapshot half",
            "snapshot stray",
            "ingest ref",
            "lease expired"
          ]
        )
        assert.strictEqual(dry.items.find(({ kind }) => kind === "blob")?.size, 1000)
        assert.strictEqual(dry.items.find(({ kind }) => kind === "ingest")?.size, 2_097_152)
        assert.isAtLeast(dry.items.find(({ id }) => id === "child")?.size ?? 0, 10_000)
        assert.deepStrictEqual(Layout.files(root), files)

        assert.deepStrictEqual(yield* Embedded.gc(), dry)
        assert.deepStrictEqual(Layout.files(root), [`blobs/sha256/${Digest.hex(kept.digest)}`])
        assert.deepStrictEqual(yield* Embedded.gc(), { items: [], bytes: 0 })
        assert.deepStrictEqual(Layout.staleRecords(root), [])
      })
    )
  )

  it.live("takes no file whose record might come back: a transaction that is cut off leaves both", () =>
    run((root) =>
      Effect.gen(function* () {
        const db = yield* Database
        const snapshots = (yield* Snapshotter.Snapshotters).get("directory")
        yield* Effect.gen(function* () {
          yield* write(randomBytes(1000))
          yield* Effect.flatMap(snapshots.prepare({ key: "k", parent: "" }), (active) => active.commit("base"))
        }).pipe(Effect.scoped, forgotten)
        const files = Layout.files(root)
        const cutOff: Database["Service"] = {
          ...db,
          transaction: (method, body) =>
            db.transaction(method, (sql) => {
              body(sql)
              throw new Error("power cut")
            })
        }
        assert.isTrue(Exit.isFailure(yield* Effect.exit(Gc.collect(cutOff))))
        assert.deepStrictEqual(Layout.files(root), files)
        assert.deepStrictEqual(Layout.staleRecords(root), [])
        assert.strictEqual((yield* Embedded.gc()).items.length, 2)
        assert.deepStrictEqual(Layout.files(root), [])
      })
    )
  )

  it.live("a blob that is written again between its record's end and its file's keeps its file", () =>
    run((root) =>
      Effect.gen(function* () {
        const db = yield* Database
        const bytes = randomBytes(1000)
        const { digest } = yield* leased(write(bytes, { labels: { "containerd.io/gc.root": "1" } }))
        yield* db.transaction("test", (sql) => BlobRecords.remove(sql, digest))
        assert.isTrue(existsSync(path(root, digest)))
        assert.isFalse(yield* hasBlob({ mediaType: "", digest, size: 1000 }))
        const again = yield* write(bytes)
        yield* Garbage.sweep(db)
        yield* Garbage.sweepBlobs(db, [digest])
        assert.isTrue(Buffer.from(yield* readAll(again)).equals(bytes))
        yield* db.transaction("test", (sql) => BlobRecords.remove(sql, digest))
        yield* Garbage.sweep(db)
        assert.isFalse(existsSync(path(root, digest)))
      }).pipe(leased)
    )
  )

  it.live("beside writers of the same few blobs takes none that is under a lease", () =>
    run(() =>
      Effect.gen(function* () {
        const blobs = [1, 2, 3].map(() => randomBytes(3000))
        const writer = (i: number) =>
          Effect.gen(function* () {
            const bytes = blobs[i % 3] ?? randomBytes(1)
            const descriptor = yield* write(bytes)
            yield* Effect.sleep(1)
            assert.isTrue(Buffer.from(yield* readAll(descriptor)).equals(bytes))
          }).pipe(leased)
        const writers = Effect.forEach(
          Array.from({ length: 60 }, (_, i) => i),
          writer,
          { concurrency: 6, discard: true }
        )
        yield* Effect.raceFirst(writers, Effect.forever(Effect.andThen(Embedded.gc(), Effect.sleep(0))))
        yield* Embedded.gc()
        const store = yield* ContentStore.ContentStore
        assert.deepStrictEqual(yield* Stream.runCollect(store.list()), [])
      })
    )
  )

  it.live("a writer that died between the rename and the record: the next of that name is done, or the file goes", () =>
    run((root) =>
      Effect.gen(function* () {
        const store = yield* ContentStore.ContentStore
        const { paths, transaction } = yield* Database
        const bytes = randomBytes(2_000_000)
        const digest = Digest.fromBytes(bytes)
        const crash = Effect.gen(function* () {
          const cut = Stream.concat(Stream.make(bytes), Stream.fail("cut"))
          yield* Effect.exit(store.write(cut, { mediaType: "", ref: "ref" }))
          yield* transaction("test", (sql) => {
            sql.run("update ingests set owner = ?, digest = ?", dead, digest)
            const [row] = sql.all("select id from ingests")
            BlobRecords.moveIntoPlace(paths, paths.ingestData(String(row?.["id"])), digest)
          })
        })
        yield* Effect.gen(function* () {
          yield* crash
          const written = yield* store.write(Stream.die("was read"), { mediaType: "", ref: "ref" })
          assert.strictEqual(written.digest, digest)
          assert.deepStrictEqual(yield* store.ingests, [])
        }).pipe(leased)
        assert.deepStrictEqual(Layout.files(root), [])

        yield* forgotten(crash)
        assert.isTrue(existsSync(path(root, digest)))
        const { items } = yield* Embedded.gc()
        assert.sameMembers(
          items.map(({ kind }) => kind),
          ["blob", "ingest"]
        )
        assert.deepStrictEqual(Layout.files(root), [])
      })
    )
  )

  it.live("a ref whose writer died is taken over at once", () =>
    run(() =>
      Effect.gen(function* () {
        const store = yield* ContentStore.ContentStore
        const { transaction } = yield* Database
        const bytes = randomBytes(2_000_000)
        const cut = Stream.concat(Stream.make(bytes.subarray(0, 1_500_000)), Stream.fail("cut"))
        yield* Effect.exit(store.write(cut, { mediaType: "", ref: "ref" }))
        yield* transaction("test", (sql) => sql.run("update ingests set owner = ?", dead))
        assert.strictEqual((yield* write(bytes, { ref: "ref" })).digest, Digest.fromBytes(bytes))
      }).pipe(leased)
    )
  )

  it.effect("a blob without a record goes after a day, a file of another name never", () =>
    run((root) =>
      Effect.gen(function* () {
        const bytes = randomBytes(100)
        const digest = Digest.fromBytes(bytes)
        writeFileSync(path(root, digest), bytes)
        writeFileSync(join(root, "blobs/sha256/tmp-of-another-tool"), "")
        yield* TestClock.setTime(Date.now() + 23 * 3_600_000)
        assert.deepStrictEqual((yield* Embedded.gc()).items, [])
        yield* TestClock.adjust("2 hours")
        assert.deepStrictEqual((yield* Embedded.gc()).items, [{ kind: "blob", id: digest, size: 100 }])
        assert.deepStrictEqual(Layout.files(root), ["blobs/sha256/tmp-of-another-tool"])
      })
    )
  )

  it.live("a snapshot that could not be filled leaves nothing, and its key is free", () =>
    run((root) =>
      Effect.gen(function* () {
        const { paths } = yield* Database
        const snapshots = (yield* Snapshotter.Snapshotters).get("directory")
        const active = yield* snapshots.prepare({ key: "k", parent: "" })
        const source = active.mounts[0]?.source ?? ""
        yield* active.commit("base")
        const files = Layout.files(root)
        rmSync(source, { recursive: true })
        assert.isTrue(
          Exit.isFailure(yield* Effect.exit(Effect.scoped(snapshots.prepare({ key: "child", parent: "base" }))))
        )
        assert.deepStrictEqual(Layout.files(root), files)
        mkdirSync(source)
        yield* snapshots.prepare({ key: "child", parent: "base" })
        assert.strictEqual(Layout.files(root).length, files.length + 1)
        assert.isTrue(source.startsWith(paths.snapshots))
      }).pipe(Effect.scoped, leased)
    )
  )

  it.live("what a child of a dead process still copies into is left to the next collection", () =>
    run((root) =>
      Effect.gen(function* () {
        const { paths } = yield* Database
        const stray = paths.snapshot("stray")
        const source = yield* Root.directory
        for (let i = 0; i < 500; i++) writeFileSync(join(source, `f${i}`), "")
        mkdirSync(stray)
        const copies = `i=0; while :; do i=$((i + 1)); mkdir -p "$0"; cp -r "$1" "$0/$2.$i" 2> /dev/null; done`
        const copying = yield* Effect.acquireRelease(
          Effect.sync(() => ["a", "b", "c"].map((name) => spawn("sh", ["-c", copies, stray, source, name]))),
          (children) => Effect.promise(() => Promise.all(children.map(ended)))
        )
        for (let i = 0; i < 10; i++) yield* Effect.andThen(Embedded.gc(), Effect.sleep(5))
        yield* Effect.promise(() => Promise.all(copying.map(ended)))
        yield* Embedded.gc()
        assert.deepStrictEqual(Layout.files(root), [])
      }).pipe(Effect.scoped)
    )
  )

  it.live("a failed program leaves nothing: its lease collects", () =>
    run((root) =>
      Effect.gen(function* () {
        const snapshots = (yield* Snapshotter.Snapshotters).get("directory")
        const exit = yield* Effect.gen(function* () {
          const active = yield* snapshots.prepare({ key: "k", parent: "" })
          yield* active.commit("committed")
          const blob = yield* write(randomBytes(1000))
          yield* snapshots.view({ key: "v", parent: "committed" })
          assert.isTrue(yield* hasBlob(blob))
          return yield* Effect.fail("no" as const)
        }).pipe(Effect.scoped, leased, Effect.exit)
        assert.deepStrictEqual(exit, Exit.fail("no" as const))
        assert.deepStrictEqual(Layout.files(root), [])
      })
    )
  )
})
