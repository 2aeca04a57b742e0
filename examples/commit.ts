/**
 * Commits a container into an image from the command line: `npm run commit -- [options] CONTAINER [REF]`.
 *
 * The flags are those of `docker commit` and `ctr`. Results go to stdout, everything else to stderr. Exit codes:
 * 0 done, 1 failed, 2 bad usage, 130 interrupted.
 */
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { Cause, Config, Console, Data, Effect, Exit, Layer, Option, References } from "effect"
import { Argument, CliOutput, Command, Flag } from "effect/cli"
import { Commit, Containerd, Timestamp } from "effect-containerd"
import { progressLine } from "./support/progressLine.ts"

const flags = {
  container: Argument.String("CONTAINER").pipe(Argument.withDescription("The container's id")),
  name: Argument.String("REF").pipe(
    Argument.withDescription("The new image's name, as in app:1; without one the image is untagged"),
    Argument.optional
  ),
  address: Flag.String("address").pipe(
    Flag.withDescription("containerd's socket (CONTAINERD_ADDRESS)"),
    Flag.withFallbackConfig(Config.String("CONTAINERD_ADDRESS")),
    Flag.withDefault("/run/containerd/containerd.sock")
  ),
  namespace: Flag.String("namespace").pipe(
    Flag.withAlias("n"),
    Flag.withDescription("containerd's namespace (CONTAINERD_NAMESPACE)"),
    Flag.withFallbackConfig(Config.String("CONTAINERD_NAMESPACE")),
    Flag.withDefault("default")
  ),
  snapshotter: Flag.String("snapshotter").pipe(
    Flag.withDescription("Where the container's snapshot is, if not where its record says"),
    Flag.optional
  ),
  author: Flag.String("author").pipe(Flag.withAlias("a"), Flag.withDescription("The image's author"), Flag.optional),
  message: Flag.String("message").pipe(
    Flag.withAlias("m"),
    Flag.withDescription("A comment for the image's history"),
    Flag.optional
  ),
  pause: Flag.Boolean("pause").pipe(
    Flag.withAlias("p"),
    Flag.withDescription("Pause a running container while its files are read"),
    Flag.withDefault(true)
  ),
  compression: Flag.Literals("compression", ["gzip", "zstd", "uncompressed"]).pipe(
    Flag.withDescription("Of the new layer"),
    Flag.withDefault("gzip")
  ),
  created: Flag.String("created").pipe(
    Flag.withDescription("The image's time of creation, RFC 3339 (or SOURCE_DATE_EPOCH, in seconds)"),
    Flag.optional
  ),
  platform: Flag.String("platform").pipe(
    Flag.withDescription("Of a multi-platform parent, as in linux/arm64"),
    Flag.optional
  ),
  parent: Flag.String("parent").pipe(
    Flag.withDescription("The image that the container was made from, if its name stands for another one now"),
    Flag.optional
  ),
  allowMissing: Flag.Boolean("allow-missing").pipe(
    Flag.withDescription("Go on when layers of the parent are not in the content store"),
    Flag.withDefault(false)
  ),
  json: Flag.Boolean("json").pipe(Flag.withDescription("Print the result as one JSON object"), Flag.withDefault(false)),
  quiet: Flag.Boolean("quiet").pipe(
    Flag.withAlias("q"),
    Flag.withDescription("Print the image's digest only"),
    Flag.withDefault(false)
  )
}

class Usage extends Data.TaggedError("Usage")<{ readonly message: string }> {}

const json = ({ chainId, config, differ, durationMs, image, layer, parent, pausedMs, snapshotter }: Commit.Committed) =>
  JSON.stringify({
    image: { name: image.name, digest: image.target.digest },
    config: { digest: config.digest },
    layer: Option.match(layer, {
      onNone: () => null,
      onSome: ({ descriptor: { digest, mediaType, size }, diffId }) => ({ digest, diffId, size, mediaType })
    }),
    chainId: Option.getOrNull(chainId),
    parent: Option.match(parent, {
      onNone: () => null,
      onSome: ({ name, target }) => ({ name, digest: target.digest })
    }),
    snapshotter,
    differ,
    pausedMs,
    durationMs
  })

const summary = ({ durationMs, image, layer, pausedMs }: Commit.Committed) => {
  const change = Option.match(layer, {
    onNone: () => "nothing had changed, no layer was added",
    onSome: ({ descriptor }) => `a layer of ${descriptor.size} bytes`
  })
  return `${image.name}\n  ${image.target.digest}\n  ${change}; ${durationMs} ms, paused for ${pausedMs} ms`
}

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

const commit = Command.make(
  "commit",
  flags,
  Effect.fnUntraced(function* (args) {
    const epoch = yield* sourceDateEpoch
    const committed = yield* Commit.commit({
      container: args.container,
      name: Option.getOrUndefined(args.name),
      snapshotter: Option.getOrUndefined(args.snapshotter),
      author: Option.getOrUndefined(args.author),
      message: Option.getOrUndefined(args.message),
      pause: args.pause,
      compression: args.compression,
      created: Option.getOrElse(args.created, () => epoch),
      platform: Option.getOrUndefined(args.platform),
      parent: Option.getOrUndefined(args.parent),
      allowMissingParents: args.allowMissing
    }).pipe(progressLine, Effect.provide(containerd(args)))
    yield* Console.log(args.json ? json(committed) : args.quiet ? committed.image.target.digest : summary(committed))
  })
).pipe(Command.withDescription("Commit a container into a new image"))

const containerd = ({ address, namespace }: { readonly address: string; readonly namespace: string }) =>
  Layer.unwrap(Effect.map(Containerd.config, (options) => Containerd.layer({ ...options, address, namespace })))

/** Bad usage is an error like others: on stderr, without the whole help. */
const presenter: CliOutput.Presenter = {
  present: (event) =>
    event._tag === "InvalidInvocation"
      ? Console.error(`error: ${event.errors.map(({ message }) => message).join("; ")} (see --help)`)
      : CliOutput.defaultPresenter.present(event)
}

const run = Command.runWith(commit, { version: "0.1.0" })
type Failure = Effect.Error<ReturnType<typeof run>>

const exitCode = (error: Failure): number => {
  switch (error._tag) {
    case "ShowHelp":
      return error.errors.length === 0 ? 0 : 2
    case "CommitError":
      return error.reason._tag === "InvalidOption" ? 2 : 1
    default:
      return 2
  }
}

const report = (cause: Cause.Cause<Failure>) => {
  if (Cause.hasInterruptsOnly(cause)) return Console.error("interrupted")
  const error = Option.getOrUndefined(Cause.findErrorOption(cause))
  if (error === undefined) return Console.error(Cause.pretty(cause))
  // What is wrong with the command line has been said.
  return error._tag === "ShowHelp" ? Effect.void : Console.error(`error: ${error.message}`)
}

const exitCodeOf = (cause: Cause.Cause<Failure>): number => {
  if (Cause.hasInterruptsOnly(cause)) return 130
  const error = Option.getOrUndefined(Cause.findErrorOption(cause))
  return error === undefined ? 1 : exitCode(error)
}

const main = run(process.argv.slice(2)).pipe(
  // A finalizer, for an interrupted program does nothing else any more.
  Effect.onExit((exit) => (Exit.isFailure(exit) ? report(exit.cause) : Effect.void)),
  Effect.exit,
  Effect.map(Exit.match({ onSuccess: () => 0, onFailure: exitCodeOf })),
  Effect.provide(NodeServices.layer),
  Effect.provideService(CliOutput.Presenter, presenter),
  Effect.provideService(References.LogToStderr, true)
)

NodeRuntime.runMain(main, {
  teardown: (exit, onExit) => onExit(Exit.isSuccess(exit) && typeof exit.value === "number" ? exit.value : 130)
})
