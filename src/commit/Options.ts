/**
 * The options of a commit, and their check: bad input is refused before anything is touched.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Result from "effect/Result"
import * as Change from "../change/Change.ts"
import * as Compressor from "../layer/Compressor.ts"
import * as IdMap from "../layer/IdMap.ts"
import type * as ImageConfig from "../oci/ImageConfig.ts"
import type { Compression, Format } from "../oci/MediaType.ts"
import * as Platform from "../oci/Platform.ts"
import * as Reference from "../oci/Reference.ts"
import * as Timestamp from "../oci/Timestamp.ts"
import { InvalidOption } from "./CommitError.ts"
import { problemOf } from "./Omissions.ts"

export interface CommitOptions {
  /** The container's id in the namespace, the first digits of it, or the name that nerdctl gave. */
  readonly container: string
  /**
   * The new image's name, or several, normalised as Docker does (`app` is `docker.io/library/app:latest`). Images of
   * these names are replaced. Without a name the image is recorded as `moby-dangling@<digest>`, Docker's form of an
   * untagged image.
   */
  readonly name?: string | ReadonlyArray<string> | undefined
  /** `docker commit --author`; the parent's author where there is none. */
  readonly author?: string | undefined
  /** `docker commit --message`: the comment in the image's history. */
  readonly message?: string | undefined
  /** Freeze a running container while its files are read. True by default. */
  readonly pause?: boolean | undefined
  /** Whose media types the manifest, the config and every layer have: the parent's (`auto`) by default. */
  readonly format?: Format | "auto" | undefined
  /** Of the new layer. `gzip` by default. */
  readonly compression?: Compression | undefined
  /**
   * 1 (fast) to 9 for gzip, to 22 for zstd; 0 to 3 for igzip, 0 to 9 for pigz, 1 to 19 for the program zstd. By default
   * what the differ takes (gzip 6, zstd 3) or, where the layer is compressed here, what docs/compression.md says.
   */
  readonly compressionLevel?: number | undefined
  /**
   * What compresses the new layer here: `node`, or the program `igzip`, `pigz` or `zstd` in the PATH. `auto`, the
   * default, leaves it to a differ that compresses, else takes the fastest; with `created` always `node`, so that the
   * bytes do not depend on what is installed.
   */
  readonly compressor?: Compressor.Compressor | undefined
  /** How many cores may compress at once, where the layer is compressed here. All by default; no byte depends on it. */
  readonly compressionConcurrency?: number | undefined
  /** RFC 3339, for the image's `created`. Now by default; with it, the same container state gives the same digests. */
  readonly created?: string | undefined
  /** With `created`: no file of the new layer is younger than that (buildah's `--rewrite-timestamp`). */
  readonly rewriteTimestamp?: boolean | undefined
  /**
   * How the container is read: `host` on the file system of this host, where the snapshotter's directories are, so that
   * cost follows the change; `containerd` by the backend's differ; `auto`, the default, the first where it can be done.
   */
  readonly differ?: DifferChoice | undefined
  /** Of a multi-platform parent (`linux/arm64`). By default the platform whose layers the container stands on. */
  readonly platform?: string | undefined
  /** Where the container's snapshot is. By default where the container's record says. */
  readonly snapshotter?: string | undefined
  /** The image that the container was made from. By default the one that the container's record names. */
  readonly parent?: string | undefined
  /**
   * The container's user namespace: layers carry the ids of the container, not of the host. By default what the
   * snapshot's labels or the container's spec say.
   */
  readonly idMap?: IdMap.IdMap | undefined
  /** What made the layer, for the history. By default the container's command. */
  readonly createdBy?: string | undefined
  /**
   * Changes of what the new image runs, one after the other: instructions of a Dockerfile (`docker commit --change`), in
   * its syntax or as values, and removals, which Docker has not.
   */
  readonly changes?: ReadonlyArray<string | Change.Change> | undefined
  /** What the new image runs, before the changes. What it leaves open comes from the container's config (moby's rules, `MergeConfig.ts`). */
  readonly config?: ImageConfig.ContainerConfig | undefined
  /** False: `config` is all, as a builder has it. True by default. */
  readonly mergeConfig?: boolean | undefined
  /** The container's own config, where its owner knows it (`docker inspect`). */
  readonly containerConfig?: ImageConfig.ContainerConfig | undefined
  /**
   * Without `containerConfig`: the container's config is its image's (`image`, the default), or is told by its OCI spec
   * (`container`): environment, arguments, user and directory, whatever secrets they hold.
   */
  readonly configFrom?: "image" | "container" | undefined
  /** `omit` leaves the parent's history out, too. `keep` by default. */
  readonly history?: "keep" | "omit" | undefined
  /** Of the manifest (OCI format only); the parent's are about the parent and do not go over. */
  readonly annotations?: Readonly<Record<string, string>> | undefined
  /** Labels of the image record; those of the image's config are changes. */
  readonly labels?: Readonly<Record<string, string>> | undefined
  /** One layer in place of all, or of the parent's last N and the new one. */
  readonly squash?: boolean | number | undefined
  /**
   * The change replaces the parent's last layer, if that came from an earlier commit of the same container with this
   * option. A container that is saved and made again, again and again, keeps one layer.
   */
  readonly replaceTop?: boolean | undefined
  /** Of the new image, a new layer counted in, 127 by default: overlayfs does not stack many more. */
  readonly maxLayers?: number | undefined
  /** Bytes that the container may have written; checked before it is read. No limit by default. */
  readonly maxSize?: number | undefined
  /** Globs from the root, as in a .dockerignore (`var/cache`): not in the layer, deletions neither. */
  readonly exclude?: ReadonlyArray<string> | undefined
  /** Globs from the root: nothing else, but the directories that lead there, is in the layer. */
  readonly include?: ReadonlyArray<string> | undefined
  /**
   * The empty files and directories that runtimes make to mount something over: left out (`omit`) by default, but kept
   * with `squash`, for then they may be the image's own. gVisor's own store of files goes with them.
   */
  readonly stubs?: "omit" | "keep" | undefined
  /** Go on when the container's runtime (gVisor, Kata) keeps files where a commit cannot read them. */
  readonly allowSandboxed?: boolean | undefined
  /** Go on when blobs of the parent are not in the content store; the image can then run here, but not be pushed. */
  readonly allowMissingParents?: boolean | undefined
  /** The name of an index (a multi-platform image), new or not, that the image is added to. */
  readonly manifest?: string | undefined
  /** Keep an image that loses its name to this one as `moby-dangling@<digest>`, as `docker commit` does. */
  readonly keepReplaced?: boolean | undefined
}

export type DifferChoice = "auto" | "containerd" | "host"

/** What `differ` is where a commit does not say. Set it for a whole program with `Effect.provideService(DefaultDiffer, …)`. */
export const DefaultDiffer = Context.Reference<DifferChoice>("effect-containerd/DefaultDiffer", {
  defaultValue: () => "auto"
})

/** Options that were checked. */
export interface Request extends Omit<CommitOptions, "name" | "changes" | "created" | "platform"> {
  readonly names: ReadonlyArray<string>
  readonly changes: ReadonlyArray<Change.Change>
  readonly created: Option.Option<Timestamp.Timestamp>
  readonly platform: Option.Option<Platform.Platform>
  readonly pause: boolean
  readonly differ: DifferChoice
  readonly format: Format | "auto"
  readonly compression: Compression
  readonly compressor: Compressor.Compressor
  readonly maxLayers: number
  readonly exclude: ReadonlyArray<string>
  readonly include: ReadonlyArray<string>
}

/** What a parser makes of an option's text; its failure is a failure of the option. */
const parsed = <A, T>(
  option: string,
  parse: (value: T) => Result.Result<A, Error>
): ((value: T) => Effect.Effect<A, InvalidOption>) => {
  const fail = (cause: Error) => new InvalidOption({ option, message: cause.message, cause })
  return (value) => Effect.mapError(Effect.fromResult(parse(value)), fail)
}

const optional = <A, B>(value: A | undefined, check: (value: A) => Effect.Effect<B, InvalidOption>) =>
  Effect.transposeOption(Option.map(Option.fromUndefinedOr(value), check))

const imageName = (option: "name" | "manifest") =>
  Effect.fnUntraced(function* (text: string) {
    const reference = yield* parsed(option, Reference.parse)(text)
    if (Option.isSome(reference.digest)) {
      const message = `an image cannot be given the digest in "${text}": leave it out, the digest follows from the content`
      return yield* new InvalidOption({ option, message })
    }
    return Reference.format(Reference.withDefaultTag(reference))
  })

const changes = (all: ReadonlyArray<string | Change.Change>) =>
  Effect.forEach(all, (change) =>
    typeof change === "string"
      ? parsed("changes", Change.parse)(change)
      : Effect.as(parsed("changes", (value: Change.Change) => Change.check([value]))(change), [change])
  ).pipe(Effect.map((lists) => lists.flat()))

const names = (name: string | ReadonlyArray<string>) =>
  Effect.map(Effect.forEach(typeof name === "string" ? [name] : name, imageName("name")), (all) => [...new Set(all)])

const notEmpty = (option: keyof CommitOptions) => (value: string) =>
  value === "" ? new InvalidOption({ option, message: `the option ${option} is empty` }) : Effect.void

const natural = (option: keyof CommitOptions, least: number) => (value: number) => {
  const message = `the option ${option} is ${value}: it must be a whole number from ${least} on`
  return Number.isSafeInteger(value) && value >= least ? Effect.void : new InvalidOption({ option, message })
}

const glob = (option: "exclude" | "include") => (text: string) => {
  const problem = problemOf(text)
  if (problem === undefined) return Effect.void
  const shown = text.length > 100 ? `${text.slice(0, 97)}...` : text
  return new InvalidOption({ option, message: `the option ${option} has "${shown}", which ${problem}` })
}

const checkCompressor = (compressor: Compressor.Compressor, compression: Compression) => {
  const refuse = (message: string) => Effect.fail(new InvalidOption({ option: "compressor", message }))
  if (compressor === "auto") return Effect.void
  if (compression === "uncompressed") return refuse("an uncompressed layer has no compressor: leave it out")
  if (Compressor.levels(compressor, compression) !== undefined) return Effect.void
  return refuse(`${compressor} does not write ${compression}: give another compressor, or leave it out`)
}

const checkAvailable = Effect.fnUntraced(function* (compressor: Compressor.Compressor) {
  if (yield* Compressor.isAvailable(compressor)) return
  const message = `there is no ${compressor} in the PATH: install it, or leave the compressor out`
  return yield* new InvalidOption({ option: "compressor", message })
})

const checkLevel = Effect.fnUntraced(function* (level: number, options: CommitOptions) {
  const { compression = "gzip", compressor = "auto" } = options
  const refuse = (message: string) => Effect.fail(new InvalidOption({ option: "compressionLevel", message }))
  if (compression === "uncompressed") {
    return yield* refuse("an uncompressed layer has no compression level: leave it out")
  }
  const scale = Compressor.levels(compressor, compression)
  if (scale === undefined) return
  const { least, most } = scale
  if (Number.isInteger(level) && level >= least && level <= most) return
  const who = compressor === "auto" || compressor === "node" ? compression : compressor
  return yield* refuse(`the option compressionLevel is ${level}: ${who} has the levels ${least} to ${most}`)
})

/** Options that say nothing together, or against each other. */
const checkTogether = (options: CommitOptions): Effect.Effect<void, InvalidOption> => {
  const refuse = (option: keyof CommitOptions, message: string) => Effect.fail(new InvalidOption({ option, message }))
  if (options.rewriteTimestamp === true && options.created === undefined) {
    return refuse("rewriteTimestamp", "the option rewriteTimestamp needs the time that created names")
  }
  if (options.replaceTop === true && options.squash !== undefined && options.squash !== false) {
    return refuse("replaceTop", "the options replaceTop and squash both say what becomes of the last layer: give one")
  }
  if (options.mergeConfig === false && options.config === undefined) {
    return refuse("mergeConfig", "the option mergeConfig is false, and there is no config: give one")
  }
  if (options.format !== "docker") return Effect.void
  if (options.compression === "zstd") {
    const reason = "Docker's form has no layers of zstd (podman and skopeo refuse them)"
    return refuse("compression", `${reason}: give the compression gzip, or the format oci`)
  }
  return options.annotations !== undefined
    ? refuse("annotations", "Docker's manifests have no annotations: leave them out, or give the format oci")
    : Effect.void
}

/** With a time the same state gives the same digests, on every machine. */
const compressorOf = ({ compressor = "auto", created }: CommitOptions): Compressor.Compressor =>
  compressor === "auto" && created !== undefined ? "node" : compressor

const checkValues = Effect.fnUntraced(function* (options: CommitOptions) {
  yield* notEmpty("container")(options.container)
  yield* optional(options.snapshotter, notEmpty("snapshotter"))
  yield* optional(options.parent, notEmpty("parent"))
  yield* optional(options.idMap, parsed("idMap", IdMap.check))
  yield* checkCompressor(options.compressor ?? "auto", options.compression ?? "gzip")
  yield* optional(options.compressionLevel, (level) => checkLevel(level, options))
  yield* optional(options.compressionConcurrency, natural("compressionConcurrency", 1))
  yield* optional(options.compressor, checkAvailable)
  yield* optional(typeof options.squash === "number" ? options.squash : undefined, natural("squash", 1))
  yield* optional(options.maxLayers, natural("maxLayers", 1))
  yield* optional(options.maxSize, natural("maxSize", 0))
  yield* Effect.forEach(options.exclude ?? [], glob("exclude"))
  yield* Effect.forEach(options.include ?? [], glob("include"))
  yield* checkTogether(options)
})

/** A name stands for one thing: the record of the image would take the index's place. */
const checkNames = ({ manifest, names }: Pick<Request, "manifest" | "names">): Effect.Effect<void, InvalidOption> => {
  if (manifest === undefined || !names.includes(manifest)) return Effect.void
  const message = `${manifest} cannot be the image and the index that it is added to: give one of them another name`
  return Effect.fail(new InvalidOption({ option: "manifest", message }))
}

/** Fails with `InvalidOption` for the first option that is not well formed. */
export const check = Effect.fnUntraced(function* (options: CommitOptions) {
  yield* checkValues(options)
  const request: Request = {
    ...options,
    names: yield* names(options.name ?? []),
    changes: yield* changes(options.changes ?? []),
    manifest: Option.getOrUndefined(yield* optional(options.manifest, imageName("manifest"))),
    created: yield* optional(options.created, parsed("created", Timestamp.parse)),
    platform: yield* optional(options.platform, parsed("platform", Platform.parse)),
    differ: options.differ ?? (yield* DefaultDiffer),
    pause: options.pause ?? true,
    format: options.format ?? "auto",
    compression: options.compression ?? "gzip",
    compressor: compressorOf(options),
    maxLayers: options.maxLayers ?? 127,
    exclude: options.exclude ?? [],
    include: options.include ?? []
  }
  yield* checkNames(request)
  return request
})
