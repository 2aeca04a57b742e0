/** What the benchmark and the process with our library tell each other. */
import { Schema } from "effect"

export const variants = {
  "host, gzip": { differ: "host", compression: "gzip", compressor: "node" },
  "host, gzip by igzip": { differ: "host", compression: "gzip", compressor: "igzip" },
  "host, zstd": { differ: "host", compression: "zstd", compressor: "node" },
  "host, zstd by zstd": { differ: "host", compression: "zstd", compressor: "zstd" },
  "host, uncompressed": { differ: "host", compression: "uncompressed" },
  "containerd, gzip": { differ: "containerd", compression: "gzip" },
  "containerd, zstd": { differ: "containerd", compression: "zstd" },
  "containerd, uncompressed": { differ: "containerd", compression: "uncompressed" }
} as const

export type Variant = keyof typeof variants

export const isVariant = (text: string): text is Variant => text in variants

export const Ask = Schema.Struct({
  variant: Schema.String,
  jobs: Schema.Array(Schema.Struct({ container: Schema.String, image: Schema.String }))
})
export type Ask = typeof Ask.Type

/** What a commit says of itself. */
export const Said = Schema.Struct({
  pausedMs: Schema.Number,
  calls: Schema.Number,
  differ: Schema.String,
  steps: Schema.Record(Schema.String, Schema.Number)
})
export type Said = typeof Said.Type

export const Answer = Schema.Union([
  Schema.Struct({ _tag: Schema.tag("Done"), ms: Schema.Number, said: Schema.Array(Said) }),
  Schema.Struct({ _tag: Schema.tag("Failed"), message: Schema.String })
])
export type Answer = typeof Answer.Type
