import { mkdirSync, utimesSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import * as Overlay from "../../src/host/Overlay.ts"
import * as Trees from "../layer/Trees.ts"

const mount = (...options: ReadonlyArray<string>) => ({ type: "overlay", source: "overlay", target: "", options })
const directories = ["workdir=/s/3/work", "upperdir=/s/3/fs", "lowerdir=/s/2/fs:/s/1/fs"]

const refusal = (result: Result.Result<unknown, { readonly message: string }>) =>
  Result.match(result, { onSuccess: () => "", onFailure: ({ message }) => message })

describe("Overlay.fromMounts", () => {
  it("names the directories of a snapshot as containerd mounts it", () => {
    const expected = { upper: "/s/3/fs", lowers: ["/s/2/fs", "/s/1/fs"], userxattr: false }
    assert.deepStrictEqual(Overlay.fromMounts([mount("index=off", ...directories)]), Result.succeed(expected))
    assert.deepStrictEqual(
      Overlay.fromMounts([mount("userxattr", ...directories)]),
      Result.succeed({ ...expected, userxattr: true })
    )
  })

  it("takes a directory for a snapshot without a parent", () => {
    const bind = { type: "bind", source: "/s/1/fs", target: "", options: ["rw", "rbind"] }
    const expected = { upper: "/s/1/fs", lowers: [], userxattr: false }
    assert.deepStrictEqual(Overlay.fromMounts([bind]), Result.succeed(expected))
  })

  it.each([
    ["no mount", [], /not one mount/],
    ["two mounts", [mount(...directories), mount(...directories)], /not one mount/],
    ["a view", [{ type: "bind", source: "/s/1/fs", target: "", options: ["ro", "rbind"] }], /no overlay, but .* bind/],
    [
      "another file system",
      [{ type: "fuse-overlayfs", source: "o", target: "", options: [] }],
      /the type fuse-overlayfs/
    ],
    ["a view of several layers", [mount("lowerdir=/s/2/fs:/s/1/fs")], /no upper or no lower directory/],
    ["redirect_dir", [mount("redirect_dir=on", ...directories)], /with redirect_dir/],
    ["metacopy", [mount("metacopy=on", ...directories)], /with metacopy/]
  ] as const)("refuses %s", (_, mounts, why) => {
    assert.match(refusal(Overlay.fromMounts(mounts)), why)
  })

  it("heeds an option that turns a feature off", () => {
    const off = mount("redirect_dir=off", "metacopy=off", ...directories)
    assert.isTrue(Result.isSuccess(Overlay.fromMounts([off])))
  })
})

describe("Overlay.checkSeen", () => {
  const sandbox = Effect.map(Trees.temporary, (home) => {
    const overlay = (id: string) => ({ upper: join(home, id, "fs"), lowers: [], userxattr: false })
    for (const id of ["1", "2"]) mkdirSync(overlay(id).upper, { recursive: true })
    return { home, overlay }
  })

  it.effect("is content with a directory that was made since", () =>
    Effect.gen(function* () {
      const since = Date.now()
      const { overlay } = yield* sandbox
      assert.isTrue(Result.isSuccess(Overlay.checkSeen(overlay("1"), overlay("2"), since)))
    })
  )

  it.effect("refuses one that is not there, is older, or is elsewhere", () =>
    Effect.gen(function* () {
      const { home, overlay } = yield* sandbox
      const now = Date.now()
      assert.match(refusal(Overlay.checkSeen(overlay("1"), overlay("3"), now)), /not on this host/)
      assert.match(refusal(Overlay.checkSeen(overlay("1"), overlay("2"), now + 60_000)), /daemon has just made/)
      const other = { ...overlay("1"), upper: join(home, "other", "1", "fs") }
      assert.match(refusal(Overlay.checkSeen(other, overlay("2"), now)), /not in the same place/)
    })
  )

  it.effect("is not deceived by a time that anybody can set", () =>
    Effect.gen(function* () {
      const { overlay } = yield* sandbox
      const later = Date.now() + 60_000
      utimesSync(overlay("2").upper, later / 1000, later / 1000)
      assert.match(refusal(Overlay.checkSeen(overlay("1"), overlay("2"), later)), /daemon has just made/)
    })
  )
})
