/**
 * Labels as the state database keeps them: JSON text, by containerd's rules.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { InvalidArgument } from "../core/ContainerdError.ts"
import { refuse } from "./EmbeddedError.ts"

export type Labels = Readonly<Record<string, string>>

/** containerd's limit for key and value together, in bytes. */
const limit = 4096

const json = Schema.fromJsonString(Schema.Record(Schema.String, Schema.String))
const decodeJson = Schema.decodeSync(json)
const encodeJson = Schema.encodeSync(json)

export const decode = (text: string): Labels => (text === "{}" ? {} : decodeJson(text))

/** Throws `InvalidArgument` for a label over 4096 bytes. One without value is not kept. */
export const encode = (method: string, labels: Labels): string => {
  const kept = Object.entries(labels).filter(([, value]) => value !== "")
  for (const [key, value] of kept) {
    if (Buffer.byteLength(key) + Buffer.byteLength(value) > limit) {
      const message = `label ${key.slice(0, 64)} is larger than ${limit} bytes with its value`
      refuse(method, new InvalidArgument({ message }))
    }
  }
  return kept.length === 0 ? "{}" : encodeJson(Object.fromEntries(kept))
}
