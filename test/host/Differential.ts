/** Reads what snapshots and layers make of a random change, and says where two trees differ. */
import { randomUUID } from "node:crypto"
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { gunzipSync } from "node:zlib"
import { assert } from "@effect/vitest"
import { Effect, Option, Stream } from "effect"
import { ContentStore, Differ, type Mount, Snapshotter } from "effect-containerd"
import type * as Layer from "effect-containerd/oci/Layer"
import * as RandomTrees from "../layer/RandomTrees.ts"
import * as Tars from "../layer/Tars.ts"
import * as Trees from "../layer/Trees.ts"
import { run } from "../support/Process.ts"
import * as RandomChanges from "./RandomChanges.ts"

export const snapshotter = Effect.map(Snapshotter.Snapshotters, (all) => all.get("overlayfs"))

/** Changed by the environment; said when something fails. */
export const seed = Number(process.env["DIFFERENTIAL_SEED"] ?? 1)
export const isUsualSeed = process.env["DIFFERENTIAL_SEED"] === undefined

const optionOf = (options: ReadonlyArray<string>, name: string) =>
  options.find((option) => option.startsWith(`${name}=`))?.slice(name.length + 1)

/** As the topmost of read-only layers: an upper directory that is mounted twice is undefined behaviour. */
const readOnly = ({ options, source, target, type }: Mount.Mount): Mount.Mount => {
  if (type !== "overlay") return { type: "none", source, target, options: ["bind", "ro"] }
  const layers = [optionOf(options, "upperdir"), optionOf(options, "lowerdir")].filter((layer) => layer !== undefined)
  return { type, source, target, options: ["ro", "index=off", `lowerdir=${layers.join(":")}`] }
}

const mountScoped = Effect.fnUntraced(function* (directory: string, { options, source, type }: Mount.Mount) {
  const target = join(directory, `mounted-${randomUUID()}`)
  mkdirSync(target)
  yield* Effect.acquireRelease(run("mount", ["-t", type, source, target, "-o", options.join(",")]), () =>
    Effect.ignoreCause(run("umount", [target]), { log: "Warn" })
  )
  return target
})

const only = (mounts: ReadonlyArray<Mount.Mount>): Mount.Mount => {
  const [mount] = mounts
  if (mount === undefined) throw new Error("a snapshot of no mounts")
  return mount
}

/** What mounts show: everything that there is to know of each path. */
export const read = (directory: string, mounts: ReadonlyArray<Mount.Mount>) =>
  Effect.scoped(Effect.map(mountScoped(directory, readOnly(only(mounts))), Trees.read))

/** What a committed snapshot shows. */
export const readCommitted = Effect.fnUntraced(function* (directory: string, name: string) {
  const view = yield* (yield* snapshotter).view({ key: `read-${randomUUID()}`, parent: name })
  return yield* read(directory, view.mounts)
}, Effect.scoped)

/** What containerd makes of a layer on a committed snapshot; without a layer, that snapshot. */
export const readApplied = Effect.fnUntraced(function* (
  directory: string,
  parent: string,
  layer: Option.Option<Pick<Layer.Layer, "descriptor">>
) {
  const target = yield* (yield* snapshotter).prepare({ key: `applied-${randomUUID()}`, parent })
  if (Option.isSome(layer)) yield* (yield* Differ.Differ).apply(layer.value.descriptor, target.mounts)
  return yield* read(directory, target.mounts)
}, Effect.scoped)

/** Changes the files of an active snapshot through its own mount, as a container would. Gives what was done. */
export const change = Effect.fnUntraced(function* (
  directory: string,
  mounts: ReadonlyArray<Mount.Mount>,
  is: RandomTrees.Random
) {
  const root = yield* mountScoped(directory, only(mounts))
  const reference = join(directory, `reference-${randomUUID()}`)
  writeFileSync(reference, "")
  return yield* Effect.try({
    try: () => RandomChanges.make(is, root, reference, 1 + is.int(12)),
    catch: (error) => new Error(`cannot change the tree: ${String(error)}`)
  })
}, Effect.scoped)

/** The entries of a layer, plain or gzip, by path, from "/". */
export const entriesOf = Effect.fnUntraced(function* (layer: Option.Option<Pick<Layer.Layer, "descriptor">>) {
  if (Option.isNone(layer)) return new Map<string, Tars.Decoded>()
  const store = yield* ContentStore.ContentStore
  const tar = yield* Stream.mkUint8Array(store.read(layer.value.descriptor.digest))
  const plain = tar[0] === 0x1f && tar[1] === 0x8b ? gunzipSync(tar) : tar
  return new Map(Tars.decode(plain).map((entry) => [`/${entry.path.replace(/^\.\/|\/$/g, "")}`, entry]))
})

/** One thing of one path that is not the same in two trees. */
export interface Difference {
  readonly path: string
  /** `name`: it is there in one of them only. Extended attributes have their own names. */
  readonly field: string
  readonly expected: string
  readonly actual: string
}

const attributesOf = ({ xattrs }: Trees.Node): ReadonlyMap<string, string> =>
  new Map(
    xattrs
      .split(/; (?=SCHILY\.xattr\.)/)
      .filter((record) => record !== "")
      .map((record) => {
        const [, name = "", value = ""] = /^SCHILY\.xattr\.([^=]*)=(.*)$/s.exec(record) ?? []
        return [name, value === "" ? "(empty)" : value]
      })
  )

const fieldsOf = (node: Trees.Node | undefined): ReadonlyMap<string, string> => {
  if (node === undefined) return new Map()
  const { xattrs: _, ...plain } = node
  return new Map([
    ["name", "there"],
    ...Object.entries(plain).map(([key, value]) => [key, String(value)] as const),
    ...attributesOf(node)
  ])
}

const compareNodes = (path: string, expected: Trees.Node | undefined, actual: Trees.Node | undefined) => {
  const [a, b] = [fieldsOf(expected), fieldsOf(actual)]
  const fields = expected === undefined || actual === undefined ? ["name"] : new Set([...a.keys(), ...b.keys()])
  return [...fields]
    .map((field): Difference => ({ path, field, expected: a.get(field) ?? "", actual: b.get(field) ?? "" }))
    .filter((one) => one.expected !== one.actual)
}

export const differences = (expected: Trees.Tree, actual: Trees.Tree): ReadonlyArray<Difference> =>
  [...new Set([...Object.keys(expected), ...Object.keys(actual)])].flatMap((path) =>
    compareNodes(path, expected[path], actual[path])
  )

/** What is known about a change, to judge a difference by. */
export interface Case {
  /** What the container stands on. */
  readonly parent: Trees.Tree
  /** What the container shows. */
  readonly container: Trees.Tree
  /** What the layer in question says. */
  readonly layer: ReadonlyMap<string, Tars.Decoded>
  /** What the commit said that it could not carry. */
  readonly notCarried: ReadonlyArray<string>
}

/** A way for a tree not to be as it was. */
export interface Loss {
  /** For people, in Markdown. */
  readonly what: string
  readonly why: string
  /** A commit by the host says it of each path. */
  readonly isReported?: boolean
  readonly covers: (difference: Difference, context: Case) => boolean
}

/** How many change sets show each loss. */
export type Counts = Map<string, number>

export interface Known {
  readonly losses: ReadonlyArray<Loss>
  readonly counts?: Counts
}

/** Counts each loss once; gives what no loss covers. */
export const explain = (
  found: ReadonlyArray<Difference>,
  known: ReadonlyArray<Known>,
  context: Case
): ReadonlyArray<Difference> => {
  const seen = new Map<Loss, Counts | undefined>()
  const left = found.filter((difference) => {
    for (const { counts, losses } of known) {
      const loss = losses.find(({ covers }) => covers(difference, context))
      if (loss === undefined) continue
      seen.set(loss, counts)
      return false
    }
    return true
  })
  for (const [{ what }, counts] of seen) counts?.set(what, (counts.get(what) ?? 0) + 1)
  return left
}

/** Shows enough to see it, and to make it again. */
export const assertNone = (
  what: string,
  left: ReadonlyArray<Difference>,
  name: string,
  done: ReadonlyArray<string>
) => {
  const lines = left.slice(0, 20).map((one) => JSON.stringify(one))
  const story = `DIFFERENTIAL_SEED=${seed}, change set ${name}:\n${done.map((one) => JSON.stringify(one)).join("\n")}`
  assert.isTrue(left.length === 0, `${what}\n${lines.join("\n")}\n${story}`)
}

export const randomOf = (...numbers: ReadonlyArray<number>): RandomTrees.Random =>
  RandomTrees.random(numbers.reduce((state, number) => Math.imul(state, 1_000_003) ^ number, seed))
