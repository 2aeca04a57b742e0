/** What the benchmark and its watching process tell each other. */
import { Schema } from "effect"

const Pids = Schema.Array(Schema.Number)

/** Processes: of the containers that may be frozen, of the tool, of the daemons that it shares with others. */
export const Watched = Schema.Struct({ containers: Pids, own: Pids, daemons: Pids })
export type Watched = typeof Watched.Type

export const ToWatcher = Schema.Struct({
  watch: Schema.optional(Watched),
  follow: Schema.optional(Schema.Number),
  stop: Schema.optional(Schema.Boolean)
})

export const Seen = Schema.Struct({ frozenMs: Schema.Number, ownPeak: Schema.Number, daemonsPeak: Schema.Number })
export type Seen = typeof Seen.Type
