/** Commits a container as another process, which may see other directories: ADDRESS DIFFER CONTAINER NAME. */
import { Console, Effect } from "effect"
import { Commit, Containerd } from "effect-containerd"

const [address = "", differ = "", container = "", name = ""] = process.argv.slice(2)
const choice = differ === "host" ? differ : "auto"

await Commit.commit({ container, name, differ: choice }).pipe(
  Effect.match({
    onSuccess: (committed) => `read by ${committed.differ}`,
    onFailure: ({ message, reason }) => `${reason._tag}: ${message}`
  }),
  Effect.flatMap(Console.log),
  Effect.provide(Containerd.layer({ address })),
  Effect.runPromise
)
