/**
 * What every snapshotter promises. The cases are those of containerd's own `snapshots/testsuite`, as far as our
 * interface can ask for them.
 */
import {
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync
} from "node:fs"
import { join } from "node:path"
import { assert, layer as withLayer } from "@effect/vitest"
import { Deferred, Effect, Fiber, type Layer, Stream } from "effect"
import { type ContainerdError, Leases, Snapshotter } from "effect-containerd"
import { collect, exists, leased, leasedAs, reason, unique } from "./Cases.ts"
import { isOther } from "./Differences.ts"
import { file, filesOf, makeSnapshots, type SnapshotTraits } from "./Snapshots.ts"
import { differs, title } from "./Title.ts"

const modeOf = (path: string) => (statSync(path).mode & 0o7777).toString(8)

export const snapshotterSuite = <E>(
  name: string,
  layer: Layer.Layer<Leases.Leases | Snapshotter.Snapshotters, E>,
  traits: SnapshotTraits
): void => {
  const { backend, mount, root, snapshotter } = traits
  const { commit, look, snapshots } = makeSnapshots(traits)

  withLayer(layer, { excludeTestServices: true })(title("snapshotter", name), (it) => {
    it.effect("a chain shows the sum of its changes (Basic, Transitivity)", () =>
      Effect.gen(function* () {
        const one = yield* commit("", (dir) => {
          mkdirSync(join(dir, "a"))
          file("a/1", "one")(dir)
          file("keep", "kept")(dir)
        })
        const two = yield* commit(one, (dir) => {
          file("a/1", "changed")(dir)
          file("a/2", "two")(dir)
        })
        const three = yield* commit(two, (dir) => rmSync(join(dir, "a/2")))
        assert.deepStrictEqual(yield* look(one, filesOf), { "a/1": "one", keep: "kept" })
        assert.deepStrictEqual(yield* look(two, filesOf), { "a/1": "changed", "a/2": "two", keep: "kept" })
        assert.deepStrictEqual(yield* look(three, filesOf), { "a/1": "changed", keep: "kept" })
        const { stat } = yield* snapshots
        assert.deepStrictEqual(
          [(yield* stat(one)).parent, (yield* stat(two)).parent, (yield* stat(three)).parent],
          ["", one, two]
        )
      }).pipe(leased)
    )

    it.effect("what is done to an active snapshot shows in no other (its parent, its brother)", () =>
      Effect.gen(function* () {
        const { prepare } = yield* snapshots
        const base = yield* commit("", file("f", "base"))
        const [one, two] = [
          yield* prepare({ key: unique("a"), parent: base }),
          yield* prepare({ key: unique("a"), parent: base })
        ]
        file("f", "one")(yield* mount(one.mounts))
        assert.deepStrictEqual(filesOf(yield* mount(two.mounts)), { f: "base" })
        assert.deepStrictEqual(yield* look(base, filesOf), { f: "base" })
      }).pipe(leased)
    )

    it.effect("a view shows what its parent holds, and says that it is read-only (View)", () =>
      Effect.gen(function* () {
        const base = yield* commit("", file("f", "base"))
        const view = yield* (yield* snapshots).view({ key: unique("view"), parent: base })
        const dir = yield* mount(view.mounts)
        assert.deepStrictEqual(filesOf(dir), { f: "base" })
        assert.isTrue(
          view.mounts.every(({ options, type }) =>
            type === "overlay" ? !options.some((option) => option.startsWith("upperdir=")) : options.includes("ro")
          )
        )
        assert.deepStrictEqual(
          filesOf(yield* mount((yield* (yield* snapshots).view({ key: unique("view"), parent: "" })).mounts)),
          {}
        )
      }).pipe(leased)
    )

    it.effect(`to look into a view nothing has to be mounted${differs("viewsAreDirectories")}`, () =>
      Effect.gen(function* () {
        const base = yield* commit("", file("f", "base"))
        const view = yield* (yield* snapshots).view({ key: unique("view"), parent: base })
        if (isOther("viewsAreDirectories", traits)) {
          const dir = yield* mount(view.mounts)
          assert.throws(() => file("g", "x")(dir), /EROFS/)
        } else {
          assert.deepStrictEqual(filesOf(view.mounts[0]?.source ?? ""), { f: "base" })
        }
      }).pipe(leased)
    )

    it.effect("stat: an active one, a view, a committed one (StatActive, StatCommitted)", () =>
      Effect.gen(function* () {
        const { prepare, stat, view } = yield* snapshots
        const [base, labels] = [yield* commit(""), { "suite/l": "é" }]
        const [a, v] = [unique("a"), unique("v")]
        const active = yield* prepare({ key: a, parent: base, labels })
        yield* view({ key: v, parent: base, labels })
        assert.deepStrictEqual({ ...(yield* stat(a)) }, { name: a, parent: base, kind: "active", labels })
        assert.deepStrictEqual({ ...(yield* stat(v)) }, { name: v, parent: base, kind: "view", labels })
        const name = unique("c")
        yield* active.commit(name, { labels: { "suite/other": "1" } })
        assert.deepStrictEqual(
          { ...(yield* stat(name)) },
          { name, parent: base, kind: "committed", labels: { "suite/other": "1" } }
        )
      }).pipe(leased)
    )

    it.effect("a commit consumes the key, and labels are not inherited", () =>
      Effect.gen(function* () {
        const { prepare, stat } = yield* snapshots
        const [key, name] = [unique("a"), unique("c")]
        const active = yield* prepare({ key, parent: "", labels: { "suite/l": "1" } })
        yield* active.commit(name)
        assert.strictEqual(yield* reason(stat(key)), "NotFound")
        assert.deepStrictEqual((yield* stat(name)).labels, {})
        yield* prepare({ key, parent: name })
      }).pipe(leased)
    )

    it.effect(
      "a key that is taken is AlreadyExists, for prepare and view and whatever took it (PrepareViewFailing)",
      () =>
        Effect.gen(function* () {
          const { prepare, stat, view } = yield* snapshots
          const base = yield* commit("")
          const [a, v] = [unique("a"), unique("v")]
          yield* prepare({ key: a, parent: base })
          yield* view({ key: v, parent: base })
          for (const key of [a, v, base]) {
            assert.strictEqual(yield* reason(Effect.scoped(prepare({ key, parent: base }))), "AlreadyExists")
            assert.strictEqual(yield* reason(Effect.scoped(view({ key, parent: base }))), "AlreadyExists")
            yield* stat(key)
          }
        }).pipe(Effect.scoped, leased)
    )

    it.effect("a parent must be there (NotFound) and be committed (InvalidArgument)", () =>
      Effect.gen(function* () {
        const { prepare, view } = yield* snapshots
        const active = unique("a")
        yield* prepare({ key: active, parent: "" })
        for (const make of [prepare, view]) {
          const on = (parent: string) => reason(Effect.scoped(make({ key: unique("k"), parent })))
          assert.strictEqual(yield* on(unique("nothing")), "NotFound")
          assert.strictEqual(yield* on(active), "InvalidArgument")
        }
      }).pipe(leased)
    )

    it.effect("a committed name that is taken is AlreadyExists; the active one stays until its scope closes", () =>
      Effect.gen(function* () {
        const { stat } = yield* snapshots
        const [name, key] = [yield* commit("", file("f", "first")), unique("a")]
        yield* Effect.gen(function* () {
          const active = yield* (yield* snapshots).prepare({ key, parent: "" })
          assert.strictEqual(yield* reason(active.commit(name)), "AlreadyExists")
          assert.strictEqual((yield* stat(key)).kind, "active")
        }).pipe(Effect.scoped)
        assert.strictEqual(yield* reason(stat(key)), "NotFound")
        assert.deepStrictEqual(yield* look(name, filesOf), { f: "first" })
      }).pipe(leased)
    )

    it.effect("of many who commit one name at once, one does", () =>
      Effect.gen(function* () {
        const name = unique("c")
        const all = yield* Effect.all(
          Array.from({ length: 4 }, () =>
            Effect.gen(function* () {
              const active = yield* (yield* snapshots).prepare({ key: unique("a"), parent: "" })
              return yield* Effect.isSuccess(active.commit(name))
            }).pipe(Effect.scoped)
          ),
          { concurrency: "unbounded" }
        )
        assert.strictEqual(all.filter((won) => won).length, 1)
      }).pipe(leased)
    )

    it.effect("one with children is not removed, and then it is (Remove, RemoveIntermediate)", () =>
      Effect.gen(function* () {
        const { remove, stat, view } = yield* snapshots
        const bottom = yield* commit("", file("f", "bottom"))
        const middle = yield* commit(bottom)
        const top = yield* commit(middle)
        assert.strictEqual(yield* reason(remove(bottom)), "FailedPrecondition")
        assert.strictEqual(yield* reason(remove(middle)), "FailedPrecondition")
        yield* Effect.scoped(
          Effect.gen(function* () {
            yield* view({ key: unique("v"), parent: top })
            assert.strictEqual(yield* reason(remove(top)), "FailedPrecondition")
          })
        )
        assert.deepStrictEqual(yield* look(top, filesOf), { f: "bottom" })
        for (const name of [top, middle, bottom]) {
          yield* remove(name)
          assert.strictEqual(yield* reason(stat(name)), "NotFound")
          yield* remove(name)
        }
      }).pipe(leased)
    )

    it.effect("what is not there is NotFound (stat, mounts, usage), and a committed one has no mounts", () =>
      Effect.gen(function* () {
        const { mounts, stat, usage } = yield* snapshots
        const nothing = unique("nothing")
        for (const call of [stat, mounts, usage].map((ask) =>
          Effect.asVoid<unknown, ContainerdError.ContainerdError, never>(ask(nothing))
        )) {
          assert.strictEqual(yield* reason(call), "NotFound")
        }
        assert.strictEqual(yield* reason(mounts(yield* commit(""))), "FailedPrecondition")
      }).pipe(leased)
    )

    it.effect("the mounts of a key are the same whenever one asks", () =>
      Effect.gen(function* () {
        const { mounts, prepare, view } = yield* snapshots
        const base = yield* commit("")
        for (const make of [prepare, view]) {
          const made = yield* make({ key: unique("k"), parent: base })
          assert.deepStrictEqual(yield* mounts(made.key), made.mounts)
        }
      }).pipe(leased)
    )

    it.effect("what the lower has, the upper can delete: files, directories, and a directory in a file's place", () =>
      Effect.gen(function* () {
        const base = yield* commit("", (dir) => {
          mkdirSync(join(dir, "d/deep"), { recursive: true })
          for (const path of ["d/1", "d/deep/2", "f", "x"]) file(path, path)(dir)
        })
        const top = yield* commit(base, (dir) => {
          rmSync(join(dir, "d"), { recursive: true })
          rmSync(join(dir, "f"))
          mkdirSync(join(dir, "f"))
          file("f/in", "in")(dir)
          mkdirSync(join(dir, "d"))
          file("d/new", "new")(dir)
        })
        assert.deepStrictEqual(yield* look(top, filesOf), { "d/new": "new", "f/in": "in", x: "x" })
        assert.deepStrictEqual(yield* look(base, filesOf), { "d/1": "d/1", "d/deep/2": "d/deep/2", f: "f", x: "x" })
      }).pipe(leased)
    )

    it.effect("a file of the lower can be moved, and a directory renamed that is new (MoveFile, RenameDir)", () =>
      Effect.gen(function* () {
        const base = yield* commit("", file("f", "moved"))
        const top = yield* commit(base, (dir) => {
          mkdirSync(join(dir, "new"))
          file("new/1", "1")(dir)
          renameSync(join(dir, "f"), join(dir, "g"))
          renameSync(join(dir, "new"), join(dir, "renamed"))
        })
        assert.deepStrictEqual(yield* look(top, filesOf), { g: "moved", "renamed/1": "1" })
      }).pipe(leased)
    )

    it.effect("modes, links and times come through (DirectoryPermission)", () =>
      Effect.gen(function* () {
        const base = yield* commit("", (dir) => {
          mkdirSync(join(dir, "d"), { mode: 0o700 })
          chmodSync(join(dir, "d"), 0o1770)
          file("one", "x")(dir)
          chmodSync(join(dir, "one"), 0o4751)
          linkSync(join(dir, "one"), join(dir, "two"))
          symlinkSync("nowhere", join(dir, "link"))
          utimesSync(join(dir, "one"), 1_700_000_000, 1_700_000_000)
        })
        const top = yield* commit(base, file("new", "x"))
        for (const name of [base, top]) {
          const seen = yield* look(name, (dir) => ({
            modes: ["d", "one"].map((path) => modeOf(join(dir, path))),
            sameFile: statSync(join(dir, "one")).ino === statSync(join(dir, "two")).ino,
            link: readlinkSync(join(dir, "link")),
            time: statSync(join(dir, "one")).mtimeMs
          }))
          const expected = { modes: ["1770", "4751"], sameFile: true, link: "nowhere", time: 1_700_000_000_000 }
          assert.deepStrictEqual(seen, expected)
        }
      }).pipe(leased)
    )

    it.effect("the root directory has a mode like any other (RootPermission)", () =>
      Effect.gen(function* () {
        const name = yield* commit("", (dir) => chmodSync(dir, 0o711))
        assert.strictEqual(yield* look(name, modeOf), "711")
      }).pipe(leased)
    )

    it.effect(`the root directory of a child has the mode of its parent's${differs("rootIsInherited")}`, () =>
      Effect.gen(function* () {
        const base = yield* commit("", (dir) => chmodSync(dir, 0o711))
        assert.strictEqual(yield* look(yield* commit(base), modeOf), isOther("rootIsInherited", traits) ? "755" : "711")
      }).pipe(leased)
    )

    it.effect.runIf(root)("owners come through, of links, too (Chown)", () =>
      Effect.gen(function* () {
        const base = yield* commit("", (dir) => {
          file("f", "x")(dir)
          chownSync(join(dir, "f"), 1, 2)
          mkdirSync(join(dir, "d"))
        })
        const top = yield* commit(base, (dir) => chownSync(join(dir, "d"), 3, 4))
        const owners = yield* look(top, (dir) =>
          ["f", "d"].map((path) => lstatSync(join(dir, path))).map(({ gid, uid }) => [uid, gid])
        )
        assert.deepStrictEqual(owners, [
          [1, 2],
          [3, 4]
        ])
      }).pipe(leased)
    )

    it.effect("a chain of 40 shows every one of its files (ManyLayers)", () =>
      Effect.gen(function* () {
        let top = ""
        for (let i = 0; i < 40; i++) top = yield* commit(top, file(`f${i}`, String(i)))
        assert.strictEqual(Object.keys(yield* look(top, filesOf)).length, 40)
      }).pipe(leased)
    )

    it.effect("usage counts bytes and inodes, and is remembered by the commit", () =>
      Effect.gen(function* () {
        const { prepare, usage } = yield* snapshots
        const active = yield* prepare({ key: unique("a"), parent: "" })
        const dir = yield* mount(active.mounts)
        const before = yield* usage(active.key)
        file("large", "x".repeat(1_000_000))(dir)
        linkSync(join(dir, "large"), join(dir, "again"))
        const after = yield* usage(active.key)
        assert.isAtLeast(after.size - before.size, 1_000_000)
        assert.isBelow(after.size - before.size, 1_100_000)
        assert.strictEqual(after.inodes - before.inodes, 1)
        const name = unique("c")
        yield* active.commit(name)
        assert.isAtLeast((yield* usage(name)).size, 1_000_000)
      }).pipe(leased)
    )

    it.effect(`the usage of a child counts what is its parent's, too${differs("usageIsWhole")}`, () =>
      Effect.gen(function* () {
        const { prepare, usage } = yield* snapshots
        const parent = yield* commit("", file("large", "x".repeat(1_000_000)))
        const { size } = yield* usage((yield* prepare({ key: unique("a"), parent })).key)
        if (isOther("usageIsWhole", traits)) assert.isBelow(size, 1_000_000)
        else assert.isAtLeast(size, 1_000_000)
      }).pipe(leased)
    )

    it.effect("list, by kind, parent, name and labels (Walk, StatInWalk)", () =>
      Effect.gen(function* () {
        const { list, prepare, stat, view } = yield* snapshots
        const base = yield* commit("")
        const labels = { "suite/run": unique("run") }
        const [a, v] = [unique("a"), unique("v")]
        yield* prepare({ key: a, parent: base, labels })
        yield* view({ key: v, parent: base })
        const found = (...filters: ReadonlyArray<string>) =>
          Effect.map(Stream.runCollect(list(filters)), (all) => all.map((info) => info.name).sort())
        assert.deepStrictEqual(yield* found(`parent==${base}`), [a, v].sort())
        assert.deepStrictEqual(yield* found(`parent==${base},labels."suite/run"==${labels["suite/run"]}`), [a])
        assert.deepStrictEqual(yield* found(`name==${base}`, `name==${v}`), [base, v].sort())
        assert.includeMembers(yield* found(), [base, a, v])
        // Others may be collected meanwhile.
        const all = yield* Stream.runCollect(list())
        for (const info of all.filter(({ name }) => [base, a, v].includes(name))) {
          assert.deepStrictEqual({ ...(yield* stat(info.name)) }, { ...info })
        }
      }).pipe(leased)
    )

    it.effect("the lease holds the key, and after the commit the name instead", () =>
      leasedAs((id) =>
        Effect.gen(function* () {
          const { resources } = yield* Leases.Leases
          const [key, name] = [unique("a"), unique("c")]
          const active = yield* (yield* snapshots).prepare({ key, parent: "" })
          assert.deepStrictEqual(yield* resources(id), [Leases.snapshotResource(snapshotter, key)])
          yield* active.commit(name)
          assert.deepStrictEqual(yield* resources(id), [Leases.snapshotResource(snapshotter, name)])
        })
      )
    )

    it.effect.skipIf(isOther("lateCommitIsLeased", traits))(
      `a name that was taken is under the lease of the one who was late${differs("lateCommitIsLeased")}`,
      () =>
        Effect.gen(function* () {
          const { stat } = yield* snapshots
          const name = yield* Effect.gen(function* () {
            const first = yield* commit("")
            yield* leasedAs((id) =>
              Effect.gen(function* () {
                const late = yield* (yield* snapshots).prepare({ key: unique("a"), parent: "" })
                yield* Effect.flip(late.commit(first))
                const { resources } = yield* Leases.Leases
                assert.deepInclude(yield* resources(id), Leases.snapshotResource(snapshotter, first))
              })
            )
            return first
          }).pipe(leased)
          yield* collect
          assert.isFalse(yield* exists(stat(name)))
        })
    )

    it.effect("an interrupted prepare leaves nothing", () =>
      Effect.gen(function* () {
        const { list, prepare } = yield* snapshots
        const base = yield* commit("", (dir) => {
          for (let i = 0; i < 300; i++) file(`f${i}`, "x".repeat(1000))(dir)
        })
        for (const wait of [0, 1, 3, 10]) {
          const started = yield* Deferred.make<void>()
          const fiber = yield* Deferred.succeed(started, undefined).pipe(
            Effect.andThen(prepare({ key: unique("a"), parent: base })),
            Effect.andThen(Effect.never),
            Effect.scoped,
            Effect.forkChild
          )
          yield* Deferred.await(started)
          yield* Effect.sleep(wait)
          yield* Fiber.interrupt(fiber)
          assert.deepStrictEqual(yield* Stream.runCollect(list([`parent==${base}`])), [])
        }
      }).pipe(leased)
    )

    it.effect("under a lease that is gone nothing is made", () =>
      leasedAs((id) =>
        Effect.gen(function* () {
          const { prepare, stat, view } = yield* snapshots
          yield* Leases.Leases.use((leases) => leases.delete(id))
          const key = unique("a")
          for (const make of [prepare, view]) {
            assert.strictEqual(yield* reason(Effect.scoped(make({ key, parent: "" }))), "NotFound")
          }
          assert.strictEqual(yield* reason(stat(key)), "NotFound")
        })
      )
    )

    it.effect("a snapshotter that the backend has not is InvalidArgument", () =>
      Effect.gen(function* () {
        const all = yield* Snapshotter.Snapshotters
        assert.strictEqual(yield* reason(all.get("no-such").stat("x")), "InvalidArgument")
        assert.include([...(yield* all.available)], snapshotter)
      })
    )

    it.effect("removal takes the files, whatever their modes and names", () =>
      Effect.gen(function* () {
        const { prepare } = yield* snapshots
        let path = ""
        yield* Effect.scoped(
          Effect.gen(function* () {
            const active = yield* prepare({ key: unique("a"), parent: "" })
            const dir = yield* mount(active.mounts)
            path = active.mounts.find(({ type }) => type === "bind")?.source ?? ""
            mkdirSync(join(dir, "locked/below"), { recursive: true })
            file("locked/below/f", "x")(dir)
            writeFileSync(Buffer.concat([Buffer.from(`${dir}/`), Buffer.from([0xff, 0xfe, 0x0a])]), "x")
            file("n".repeat(255), "x")(dir)
            chmodSync(join(dir, "locked/below"), 0o500)
            chmodSync(join(dir, "locked"), 0o500)
          })
        )
        yield* collect
        assert.isFalse(backend === "embedded" && (path === "" || existsSync(path)))
      }).pipe(leased)
    )
  })
}
