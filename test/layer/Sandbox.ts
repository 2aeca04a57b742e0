/** A directory for a layer, with something beside it that nothing may touch. */
import * as Fs from "node:fs"
import { join } from "node:path"
import { assert } from "@effect/vitest"
import { Effect, Option, Stream } from "effect"
import * as Extract from "../../src/layer/Extract.ts"
import * as Tars from "./Tars.ts"
import * as Trees from "./Trees.ts"

const { bytes, end } = Tars

/** A directory for a layer, and beside it one that nothing may touch. */
export const sandbox = Effect.gen(function* () {
  const base = yield* Trees.temporary
  const canary = join(base, "canary")
  Fs.mkdirSync(join(canary, "dir"), { recursive: true })
  Fs.writeFileSync(join(canary, "file"), "untouched")
  Fs.writeFileSync(join(canary, "dir", "inner"), "untouched")
  Fs.symlinkSync("file", join(canary, "link"))
  const root = join(base, "root")
  Fs.mkdirSync(root)
  const before = Trees.read(canary)
  const isUntouched = () => {
    assert.deepStrictEqual(Trees.read(canary), before)
    assert.deepStrictEqual(Fs.readdirSync(base).toSorted(), ["canary", "root"])
  }
  return { base, root, canary, isUntouched }
})

export const layer = (...entries: ReadonlyArray<Uint8Array>) => bytes(...entries, end)

export const extract = (
  root: string,
  tar: Uint8Array,
  options: Extract.Options = {},
  sizes: ReadonlyArray<number> = [65_536]
) => Extract.extract(Stream.fromIterable(Tars.chunked(tar, sizes)), root, options)

export const names = (root: string) => Object.keys(Trees.read(root)).filter((path) => path !== "/")

export const without = { gnuTar: Option.none() }
/** With GNU tar where there is one, and always without. */
export const ways: ReadonlyArray<readonly [string, Extract.Options]> = [
  ...(Trees.hasGnuTar ? [["GNU tar", {}] as const] : []),
  ["Node alone", without]
]

export const content = (root: string, path: string) => Fs.readFileSync(join(root, path), "utf8")

export const lostOf = ({ notApplied }: Extract.Extracted): ReadonlyArray<string> =>
  notApplied.map(({ path, what }) => `${path}: ${what}`)
