/** What is measured. */
import type { Variant } from "./tools/oursMessages.ts"
import type { Place } from "./tools/Place.ts"
import type { Tree } from "./trees.ts"

export interface Case {
  readonly id: string
  readonly title: string
  /** What the image has that the containers start from. */
  readonly base?: Tree | undefined
  /** What the containers write. */
  readonly change?: Tree | undefined
  readonly containers: number
  readonly userns?: boolean | undefined
  readonly ours: ReadonlyArray<Variant>
  readonly peers: ReadonlyArray<Place["name"]>
  /** In place of what the command line says. */
  readonly runs?: number | undefined
  /** On the disk only: it does not fit into memory. */
  readonly diskOnly?: boolean | undefined
}

const everybody = ["docker", "podman", "buildah"] as const
const usual = ["host, gzip", "host, gzip by igzip", "containerd, gzip"] as const
const all: ReadonlyArray<Variant> = [
  ...(["host, gzip", "host, gzip by igzip", "host, zstd", "host, zstd by zstd", "host, uncompressed"] as const),
  ...(["containerd, gzip", "containerd, zstd", "containerd, uncompressed"] as const)
]

const thousand = (count: number): string => String(count).replace(/(\d)(?=(\d{3})+$)/g, "$1 ")

const grown = (files: number): Case => {
  const base = { directories: 100, files, bytes: files * 400 }
  return {
    id: `g-${files}`,
    title: `one file changed on ${thousand(files)}`,
    base,
    change: { ...base, change: true },
    containers: 1,
    ours: ["host, gzip", "containerd, gzip"],
    peers: everybody
  }
}

const gibibyte = 2 ** 30

const memory = (bytes: number): Case => ({
  id: `m-${thousand(bytes / 2 ** 20).replace(" ", "")}`,
  title: `memory for a change of ${bytes / gibibyte} GiB`,
  change: { directories: 16, files: Math.ceil(bytes / (8 * 2 ** 20)), bytes },
  containers: 1,
  ours: ["host, gzip", "host, gzip by igzip"],
  peers: [],
  // Memory does not vary as times do, and each takes minutes.
  runs: 1,
  diskOnly: true
})

interface Sizes {
  readonly large: Tree
  readonly many: Tree
  readonly each: Tree
  readonly atOnce: number
  readonly growth: ReadonlyArray<number>
  readonly memory: ReadonlyArray<number>
}

const full: Sizes = {
  large: { directories: 100, files: 3000, bytes: 650e6 },
  many: { directories: 100, files: 20_000, bytes: 8e6 },
  each: { directories: 10, files: 300, bytes: 65e6 },
  atOnce: 10,
  growth: [1000, 10_000, 100_000],
  memory: [gibibyte, 10 * gibibyte]
}

const quick: Sizes = {
  large: { directories: 10, files: 60, bytes: 6e6 },
  many: { directories: 10, files: 300, bytes: 120_000 },
  each: { directories: 2, files: 10, bytes: 300_000 },
  atOnce: 2,
  growth: [20, 200],
  memory: []
}

const single = { containers: 1, peers: everybody } as const

const casesOf = ({ atOnce, each, growth, large, many, memory: sizes }: Sizes): ReadonlyArray<Case> => {
  const title = `${Math.round(large.bytes / 1e6)} MB in ${thousand(large.files)} files`
  const change = { ...large, change: true }
  return [
    { id: "a", title, change: large, ours: all, ...single },
    { id: "b", title: `${thousand(many.files)} tiny files`, change: many, ours: usual, ...single },
    { id: "c", title: `one file changed on ${title}`, base: large, change, ours: usual, ...single },
    {
      id: "d",
      title: "the same with userns-remap",
      ...{ base: large, change, containers: 1, userns: true, ours: usual, peers: ["docker-userns"] }
    },
    { id: "e", title: "nothing changed", ours: usual, ...single },
    { id: "tiny", title: "one tiny file", change: { ...many, change: true }, ours: usual, ...single },
    {
      id: "f",
      title: `${atOnce} containers at once, ${thousand(Math.round(each.bytes / 1000))} kB each`,
      ...{ change: each, containers: atOnce, ours: usual, peers: everybody }
    },
    ...growth.map(grown),
    ...sizes.map(memory)
  ]
}

/** Each tool takes part in the first case; what all have shown there is not shown again. */
const short = (all: ReadonlyArray<Case>): ReadonlyArray<Case> =>
  all.map((one, i) => ({
    ...one,
    ours: i === 0 ? one.ours : ["host, gzip"],
    peers: i === 0 ? one.peers : one.peers.slice(0, 1)
  }))

export const cases = (isQuick: boolean): ReadonlyArray<Case> => (isQuick ? short(casesOf(quick)) : casesOf(full))

/** What a case is called on the command line: the letter of `g-1000` is `g`. */
export const letterOf = ({ id }: Case): string => id.split("-")[0] ?? id

/** What the command line knows; `calls` has no containers of its own here (`calls.ts`). */
export const known = [...new Set([...cases(false).map(letterOf), "calls"])]

/** Of a letter, and of one of several cases with the same letter. */
export const isNamedBy = (one: Case, names: ReadonlyArray<string>): boolean =>
  names.includes(letterOf(one)) || names.includes(one.id)

export const isKnown = (name: string): boolean => known.includes(name) || cases(false).some(({ id }) => id === name)
