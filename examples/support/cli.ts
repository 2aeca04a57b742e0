/** What the command lines of the examples have in common: how they fail, and what they exit with. */
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { Cause, Console, Data, Effect, Exit, Option, References } from "effect"
import { CliError, CliOutput } from "effect/cli"

/** The command line cannot be meant so. Nothing was touched. */
export class Usage extends Data.TaggedError("Usage")<{ readonly message: string }> {}

/** What was asked for cannot be done here. */
export class Failed extends Data.TaggedError("Failed")<{ readonly message: string }> {}

/** With the error of Node, and what to do about it. */
export const failed =
  (advice: string) =>
  (cause: unknown): Failed =>
    new Failed({ message: `${cause instanceof Error ? cause.message : String(cause)}: ${advice}` })

interface Failure {
  readonly _tag: string
  readonly message: string
}

/** Bad usage is an error like others: on stderr, without the whole help. */
const presenter: CliOutput.Presenter = {
  present: (event) =>
    event._tag === "InvalidInvocation"
      ? Console.error(`error: ${event.errors.map(({ message }) => message).join("; ")} (see --help)`)
      : CliOutput.defaultPresenter.present(event)
}

const report = (cause: Cause.Cause<Failure>) => {
  if (Cause.hasInterruptsOnly(cause)) return Console.error("interrupted")
  const error = Option.getOrUndefined(Cause.findErrorOption(cause))
  if (error === undefined) return Console.error(Cause.pretty(cause))
  // What is wrong with the command line has been said.
  return error._tag === "ShowHelp" ? Effect.void : Console.error(`error: ${error.message}`)
}

const exitCodeOf =
  <E>(codeOf: (error: E) => number) =>
  (cause: Cause.Cause<E | CliError.CliError>): number => {
    if (Cause.hasInterruptsOnly(cause)) return 130
    const error = Option.getOrUndefined(Cause.findErrorOption(cause))
    if (error === undefined) return 1
    if (!CliError.isCliError(error)) return codeOf(error)
    return error._tag === "ShowHelp" && error.errors.length === 0 ? 0 : 2
  }

/**
 * Runs a command of `effect/cli` as the whole program. Results go to stdout, everything else to stderr. Exits with 0,
 * with 2 for bad usage, with 130 after an interrupt, and with what `codeOf` says of the other errors.
 */
export const runMain = <E extends Failure>(
  command: Effect.Effect<void, E | CliError.CliError, NodeServices.NodeServices>,
  codeOf: (error: E) => number
): void => {
  const main = command.pipe(
    // A finalizer, for an interrupted program does nothing else any more.
    Effect.onExit((exit) => (Exit.isFailure(exit) ? report(exit.cause) : Effect.void)),
    Effect.exit,
    Effect.map(Exit.match({ onSuccess: () => 0, onFailure: exitCodeOf(codeOf) })),
    Effect.provide(NodeServices.layer),
    Effect.provideService(CliOutput.Presenter, presenter),
    Effect.provideService(References.LogToStderr, true)
  )
  NodeRuntime.runMain(main, {
    teardown: (exit, onExit) => onExit(Exit.isSuccess(exit) && typeof exit.value === "number" ? exit.value : 130)
  })
}
