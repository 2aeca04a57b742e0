/**
 * Commits a container into an image from the command line: `npm run commit -- [options] CONTAINER [REF...]`.
 *
 * The flags are those of `docker commit` and `ctr`. Results go to stdout, everything else to stderr. Exit codes:
 * 0 done, 1 failed, 2 bad usage, 130 interrupted.
 */
import { Config, Console, Effect, Layer, Option, Schema } from "effect"
import { type CliError, Command } from "effect/cli"
import { Change, Commit, Containerd, Docker, Embedded, ImageConfig, Kubernetes, Timestamp } from "effect-containerd"
import { runMain, Usage } from "./support/cli.ts"
import { flags } from "./support/commitFlags.ts"
import { json, summary, writeFiles } from "./support/commitOutput.ts"
import { progressLine } from "./support/progressLine.ts"

/** https://reproducible-builds.org/specs/source-date-epoch/ */
const sourceDateEpoch = Effect.gen(function* () {
  const text = yield* Config.option(Config.String("SOURCE_DATE_EPOCH"))
  if (Option.isNone(text)) return undefined
  const seconds = /^\d+$/.test(text.value) ? Number(text.value) : Number.NaN
  return yield* Effect.mapError(
    Effect.fromResult(Timestamp.fromUnixSeconds(seconds)),
    () => new Usage({ message: `SOURCE_DATE_EPOCH is "${text.value}", which is no number of seconds since 1970` })
  )
})

type Args = Command.Command.Config.Infer<typeof flags>

/** Removals come last, whatever the order on the command line: nothing can be set that is removed. */
const changesOf = ({ changes, labels, unsetEnv, unsetLabel, unsetPort, unsetVolume }: Args) => [
  ...changes,
  ...(Object.keys(labels).length === 0 ? [] : [Change.label(labels)]),
  Change.unsetEnv(...unsetEnv),
  Change.unsetLabel(...unsetLabel),
  Change.unsetVolume(...unsetVolume),
  Change.unsetPort(...unsetPort)
]

const decodeConfig = Schema.decodeUnknownResult(Schema.fromJsonString(ImageConfig.ContainerConfig))

const configOf = ({ config }: Args) =>
  config === undefined
    ? Effect.undefined
    : Effect.mapError(
        Effect.fromResult(decodeConfig(config)),
        ({ message }) => new Usage({ message: `the file of --config is no config of an image: ${message}` })
      )

const optionsOf = (
  args: Args,
  config: ImageConfig.ContainerConfig | undefined,
  epoch: string | undefined
): Omit<Commit.CommitOptions, "container"> => ({
  name: args.names,
  snapshotter: args.snapshotter,
  platform: args.platform,
  parent: args.parent,
  allowMissingParents: args.allowMissing,
  allowSandboxed: args.allowSandboxed,
  pause: args.pause,
  author: args.author,
  message: args.message,
  createdBy: args.createdBy,
  history: args.history,
  changes: changesOf(args),
  config,
  configFrom: args.configFrom,
  format: args.format,
  differ: args.differ,
  compression: args.compression,
  compressionLevel: args.compressionLevel,
  compressor: args.compressor,
  compressionConcurrency: args.compressionConcurrency,
  annotations: args.annotations,
  created: args.created ?? epoch,
  rewriteTimestamp: args.rewriteTimestamp,
  squash: args.squash ? true : args.squashLast,
  replaceTop: args.replaceTop,
  maxLayers: args.maxLayers,
  maxSize: args.maxSize,
  exclude: args.exclude,
  include: args.include,
  stubs: args.keepStubs ? "keep" : undefined,
  manifest: args.manifest,
  // `docker images` lists an image that has lost its name.
  keepReplaced: args.docker !== undefined
})

/** The id of a pod's container, for the others what was given. */
const containerOf = ({ container, pod, podNamespace }: Args) =>
  pod === undefined
    ? Effect.succeed(container)
    : Effect.map(Kubernetes.find({ container, pod, podNamespace }), ({ id }) => id)

const commit = Command.make(
  "commit",
  flags,
  Effect.fnUntraced(function* (args) {
    const options = optionsOf(args, yield* configOf(args), yield* sourceDateEpoch)
    const committed = yield* containerOf(args).pipe(
      Effect.flatMap((container) => Commit.commit({ ...options, container })),
      progressLine,
      Effect.provide(backend(args))
    )
    yield* writeFiles(committed, args)
    yield* Console.log(args.json ? json(committed) : args.quiet ? committed.image.target.digest : summary(committed))
  })
).pipe(Command.withDescription("Commit a container into a new image"))

const backend = ({ address, docker, namespace, pod, root }: Args) => {
  if (root !== undefined) return Embedded.layer({ root })
  const layer =
    docker === undefined
      ? Effect.map(Containerd.config, (options) => {
          const given = { ...options, address: address ?? options.address }
          return pod === undefined ? Containerd.layer({ ...given, namespace }) : Kubernetes.layer(given)
        })
      : Effect.map(Docker.config, (options) => Docker.layer({ socket: docker || options.socket, address }))
  return Layer.unwrap(layer)
}

// What is no failure of the commit or of a daemon is bad usage or a bad environment.
const isFailure = (error: Failure) =>
  error._tag === "Failed" ||
  error._tag === "ContainerdError" ||
  (error._tag === "CommitError" && error.reason._tag !== "InvalidOption")

const run = Command.runWith(commit, { version: "0.1.0" })
type Failure = Exclude<Effect.Error<ReturnType<typeof run>>, CliError.CliError>

runMain(run(process.argv.slice(2)), (error: Failure) => (isFailure(error) ? 1 : 2))
