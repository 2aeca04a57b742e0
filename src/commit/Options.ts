/**
 * The options of a commit, and their check: bad input is refused before anything is touched.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Result from "effect/Result"
import * as IdMap from "../layer/IdMap.ts"
import type * as ImageConfig from "../oci/ImageConfig.ts"
import type { Compression } from "../oci/MediaType.ts"
import * as Platform from "../oci/Platform.ts"
import * as Reference from "../oci/Reference.ts"
import * as Timestamp from "../oci/Timestamp.ts"
import { InvalidOption } from "./CommitError.ts"

export interface CommitOptions {
  /** The container's id in the namespace. */
  readonly container: string
  /**
   * The new image's name, normalised as Docker does (`app` is `docker.io/library/app:latest`). An image of that name
   * is replaced. Without a name the image is recorded as `moby-dangling@<digest>`, Docker's form of an untagged image.
   */
  readonly name?: string | undefined
  /** `docker commit --author`; the parent's author where there is none. */
  readonly author?: string | undefined
  /** `docker commit --message`: the comment in the image's history. */
  readonly message?: string | undefined
  /** Freeze a running container while its files are read. True by default. */
  readonly pause?: boolean | undefined
  /** Of the new layer. `gzip` by default. */
  readonly compression?: Compression | undefined
  /** RFC 3339, for the image's `created`. Now by default; with it, the same container state gives the same digests. */
  readonly created?: string | undefined
  /** Of a multi-platform parent (`linux/arm64`). By default the platform whose layers the container stands on. */
  readonly platform?: string | undefined
  /** Where the container's snapshot is. By default where the container's record says. */
  readonly snapshotter?: string | undefined
  /** The image that the container was made from. By default the one that the container's record names. */
  readonly parent?: string | undefined
  /** The container's user namespace: layers carry the ids of the container, not of the host. None by default. */
  readonly idMap?: IdMap.IdMap | undefined
  /** What made the layer, for the history. By default the container's command. */
  readonly createdBy?: string | undefined
  /** Replaces the `config` of the parent's image config as a whole. */
  readonly config?: ImageConfig.ContainerConfig | undefined
  /** Labels of the image record. */
  readonly labels?: Readonly<Record<string, string>> | undefined
  /** Go on when blobs of the parent are not in the content store; the image can then run here, but not be pushed. */
  readonly allowMissingParents?: boolean | undefined
  /** Keep an image that loses its name to this one as `moby-dangling@<digest>`, as `docker commit` does. */
  readonly keepReplaced?: boolean | undefined
}

/** Options that were checked. */
export interface Request extends Omit<CommitOptions, "name" | "created" | "platform"> {
  readonly name: Option.Option<string>
  readonly created: Option.Option<Timestamp.Timestamp>
  readonly platform: Option.Option<Platform.Platform>
  readonly pause: boolean
  readonly compression: Compression
}

/** What a parser makes of an option's text; its failure is a failure of the option. */
const parsed = <A>(
  option: string,
  parse: (text: string) => Result.Result<A, { readonly message: string }>
): ((text: string) => Effect.Effect<A, InvalidOption>) => {
  const fail = ({ message }: { readonly message: string }) => new InvalidOption({ option, message })
  return (text) => Effect.mapError(Effect.fromResult(parse(text)), fail)
}

const optional = <A, B>(value: A | undefined, check: (value: A) => Effect.Effect<B, InvalidOption>) =>
  Effect.transposeOption(Option.map(Option.fromUndefinedOr(value), check))

const imageName = Effect.fnUntraced(function* (text: string) {
  const reference = yield* parsed("name", Reference.parse)(text)
  if (Option.isSome(reference.digest)) {
    const message = `an image cannot be given the digest in "${text}": leave it out, the digest follows from the content`
    return yield* new InvalidOption({ option: "name", message })
  }
  return Reference.format(Reference.withDefaultTag(reference))
})

const notEmpty = (option: "container" | "snapshotter" | "parent") => (value: string) =>
  value === "" ? new InvalidOption({ option, message: `the option ${option} is empty` }) : Effect.void

const checkIds = (ids: IdMap.IdMap) =>
  Effect.mapError(Effect.fromResult(IdMap.check(ids)), ({ message }) => new InvalidOption({ option: "idMap", message }))

/** Fails with `InvalidOption` for the first option that is not well formed. */
export const check = Effect.fnUntraced(function* (options: CommitOptions) {
  yield* notEmpty("container")(options.container)
  yield* optional(options.snapshotter, notEmpty("snapshotter"))
  yield* optional(options.parent, notEmpty("parent"))
  yield* optional(options.idMap, checkIds)
  const request: Request = {
    ...options,
    name: yield* optional(options.name, imageName),
    created: yield* optional(options.created, parsed("created", Timestamp.parse)),
    platform: yield* optional(options.platform, parsed("platform", Platform.parse)),
    pause: options.pause ?? true,
    compression: options.compression ?? "gzip"
  }
  return request
})
