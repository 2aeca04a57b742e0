/**
 * In what our images are not those of `docker commit`, on purpose. The same table, without the code, is for users:
 * docs/differences-from-docker.md.
 */
import { isDeepStrictEqual } from "node:util"
import { Result } from "effect"
import { ImageConfig, MediaType } from "effect-containerd"
import type { ImageDocuments } from "../../src/core/ImageDocuments.ts"
import * as Json from "../../src/oci/Json.ts"
import type { Commits } from "./Golden.ts"

interface Difference {
  readonly field: string
  readonly reason: string
  /** Told by what the commit begins with, not by what comes out. */
  readonly applies: (commits: Commits) => boolean
  /** What our image has there then. */
  readonly ours: (commits: Commits) => unknown
}

const has = ({ one }: Commits, change: string) => one.changes.includes(change)
const isEmpty = (list: ReadonlyArray<string> | null | undefined) => list == null || list.length === 0
const isDocker = ({ parent }: Commits) => parent.format === "docker"

const times = {
  Interval: "--interval",
  Timeout: "--timeout",
  StartPeriod: "--start-period",
  StartInterval: "--start-interval",
  Retries: "--retries"
} as const

/** The container's health check has a time that the new one does not set. */
const inheritsTimes = ({ container, one }: Commits): boolean => {
  const change = one.changes.find((text) => text.startsWith("HEALTHCHECK"))
  if (change === undefined) return false
  const had = Object.keys(container.Healthcheck ?? {})
  return Object.entries(times).some(([key, flag]) => had.includes(key) && !change.includes(flag))
}

/** Zeros at the end of a fraction of a second. */
const hasLongTime = ({ parent }: Commits) =>
  ImageConfig.history(parent.config).some(({ created }) => /\.\d*0(Z|[+-])/.test(created ?? ""))

const always = () => true
const nothing = () => undefined

const keys = [
  ...["created", "author", "architecture", "os", "os.version", "os.features", "variant"],
  ...["config", "rootfs", "history"]
]
const unknownKeys = (config: object) => Object.entries(config).filter(([key]) => !keys.includes(key))

/** Without what the change does not set. */
const ownCheck = ({ one, theirs }: Commits) => {
  const change = one.changes.join("\n")
  const check = Object.entries(theirs.config.value.config?.Healthcheck ?? {})
  const isOwn = (key: string) => Object.entries(times).every(([time, flag]) => time !== key || change.includes(flag))
  return Object.fromEntries(check.filter(([key]) => isOwn(key)))
}

const parentSteps = ({ parent }: Commits) => ImageConfig.history(parent.config)

/** `field` as in the document; what is in parentheses is not a field of it. */
export const differences: ReadonlyArray<Difference> = [
  {
    field: "(order of keys)",
    reason: "the order of the OCI specification, whatever wrote the parent",
    applies: always,
    ours: ({ ours }) => [
      ...keys.filter((key) => key in ours.config.value),
      ...unknownKeys(ours.config.value).map(([key]) => key)
    ]
  },
  { field: "(manifest: white space)", reason: "a manifest has none", applies: always, ours: () => false },
  {
    field: "(keys that Docker does not know)",
    reason: "kept from the parent",
    applies: ({ parent }) => unknownKeys(parent.config).length > 0,
    ours: ({ parent }) => unknownKeys(parent.config)
  },
  {
    field: "variant",
    reason: "kept from the parent, as `os.version` and `os.features`: else an arm/v7 image becomes one for any arm",
    applies: ({ parent }) => parent.config.variant !== undefined,
    ours: ({ parent }) => parent.config.variant
  },
  {
    field: "config.Cmd",
    reason: "`CMD []` and `ENTRYPOINT []` take the command away; Docker brings the container's back",
    applies: (commits) =>
      !isEmpty(commits.container.Cmd) &&
      (has(commits, "ENTRYPOINT []") || (has(commits, "CMD []") && isEmpty(commits.container.Entrypoint))),
    ours: nothing
  },
  {
    field: "config.Entrypoint",
    reason: "`ENTRYPOINT []` takes the entrypoint away; Docker brings the container's back",
    applies: (commits) => has(commits, "ENTRYPOINT []") && !isEmpty(commits.container.Entrypoint),
    ours: nothing
  },
  {
    field: "config.User",
    reason: '`USER ""` takes the user away; Docker brings the container\'s back',
    applies: (commits) => has(commits, 'USER ""') && commits.container.User !== undefined,
    ours: nothing
  },
  {
    field: "config.Healthcheck",
    reason: "a new check replaces the old one, as in a Dockerfile; Docker keeps the times that it does not set",
    applies: inheritsTimes,
    ours: ownCheck
  },
  {
    field: "history[].created",
    reason: "the parent's steps stay as they are written; Docker writes `05.000Z` as `05Z`",
    applies: hasLongTime,
    ours: (commits) => [...parentSteps(commits).map(({ created }) => created), commits.theirs.config.value.created]
  },
  {
    field: "history[].created_by",
    reason: "the whole command; Docker leaves the entrypoint out",
    applies: ({ container }) => !isEmpty(container.Entrypoint),
    ours: (commits) => [
      ...parentSteps(commits).map(({ created_by }) => created_by),
      [...(commits.container.Entrypoint ?? []), ...(commits.container.Cmd ?? [])].join(" ")
    ]
  },
  {
    field: "manifest: mediaType",
    reason: "the parent's form, unless `format` says another; Docker's is always OCI",
    applies: isDocker,
    ours: () => MediaType.dockerManifest
  },
  {
    field: "manifest: config.mediaType",
    reason: "of the manifest's form",
    applies: isDocker,
    ours: () => MediaType.dockerConfig
  },
  {
    field: "manifest: layers[].mediaType",
    reason: "of the manifest's form, all of them; Docker mixes, which strict readers refuse (containers/image #2972)",
    applies: (commits) => isDocker(commits) && commits.hasLayer,
    ours: ({ parent }) => [...parent.layers.map(({ mediaType }) => mediaType), MediaType.dockerLayerGzip]
  }
]

type Fields = ReadonlyMap<string, unknown>

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes)
const orderOf = (bytes: Uint8Array) => Object.keys(Object(Result.getOrThrow(Json.parse(text(bytes)))))

/** The steps key by key: the list of all times, of all commands, … */
const stepFields = (steps: ReadonlyArray<ImageConfig.History>): ReadonlyArray<readonly [string, unknown]> => {
  const keys = ["created", "created_by", "author", "comment", "empty_layer"]
  const rest = steps.map((step) => Object.entries(step).filter(([key]) => !keys.includes(key)))
  const lists = keys.map((key) => [`history[].${key}`, steps.map((step) => step[key])] as const)
  return [...lists, ["history[] (other keys)", rest]]
}

const prefixed = (prefix: string, entries: object) =>
  Object.entries(entries).map(([key, value]) => [`${prefix}${key}`, value] as const)

/** Everything of both documents, but the digest of the config, which any difference changes. */
const fieldsOf = ({ config, manifest }: ImageDocuments): Fields => {
  const { config: containerConfig, history, ...image } = config.value
  const { config: descriptor, layers, ...rest } = manifest.value
  const known = Object.entries(image).filter(([key]) => keys.includes(key))
  return new Map([
    ["(order of keys)", orderOf(config.bytes)],
    ["(manifest: white space)", /^\s+"/m.test(text(manifest.bytes))],
    ["(keys that Docker does not know)", unknownKeys(image)],
    ...known,
    ...prefixed("config.", containerConfig ?? {}),
    ...stepFields(history ?? []),
    ...prefixed("manifest: ", rest),
    ["manifest: config.mediaType", descriptor.mediaType],
    ["manifest: layers[].mediaType", layers?.map(({ mediaType }) => mediaType)],
    ["manifest: layers", layers?.map(({ mediaType: _, ...layer }) => layer)]
  ])
}

/** Where the two images differ, and what each has there. */
export const differing = ({ ours, theirs }: Commits) => {
  const [our, their] = [fieldsOf(ours), fieldsOf(theirs)]
  return [...new Set([...our.keys(), ...their.keys()])]
    .filter((field) => !isDeepStrictEqual(our.get(field), their.get(field)))
    .map((field) => ({ field, ours: our.get(field), theirs: their.get(field) }))
}

/** Where they are to differ, and what ours is to have there. */
export const expected = (commits: Commits) =>
  differences.filter(({ applies }) => applies(commits)).map(({ field, ours }) => ({ field, ours: ours(commits) }))
