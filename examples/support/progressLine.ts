import { Effect } from "effect"
import { Commit, type CommitError } from "effect-containerd"

const doing: Readonly<Record<CommitError.Step, string>> = {
  options: "checking the options",
  resolve: "looking at the container",
  lease: "taking a lease",
  readParent: "reading the parent image",
  pause: "pausing",
  diff: "reading the changes",
  unremap: "mapping user and group ids",
  apply: "unpacking the new layer",
  writeContent: "writing config and manifest",
  unpack: "checking the snapshots",
  createImage: "creating the image"
}

const write = (text: string) => Effect.sync(() => void process.stderr.write(`\r\u001b[K${text}`))

/** Shows it in the line, until something else is shown; nothing where stderr is no terminal. */
export const say = (text: string): Effect.Effect<void> => (process.stderr.isTTY ? write(`${text} …`) : Effect.void)

/** Shows in one line of the terminal what a commit is doing; nothing where stderr is no terminal. */
export const progressLine = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  process.stderr.isTTY
    ? self.pipe(
        Effect.provideService(Commit.Progress, (event) =>
          event._tag === "StepStarted" ? say(`${event.container}: ${doing[event.step]}`) : Effect.void
        ),
        Effect.ensuring(write(""))
      )
    : self
