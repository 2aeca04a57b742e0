/**
 * The one error of this folder: a text or a document that is not what OCI, Docker or containerd accept.
 */
import * as Schema from "effect/Schema"

const limit = 100

const shorten = (text: string) => (text.length > limit ? `${text.slice(0, limit - 3)}...` : text)

/** `input` is the refused text, or the media type of the refused document. `detail` says what is wrong with it. */
export class OciError extends Schema.TaggedError<OciError>("effect-containerd/OciError")("OciError", {
  kind: Schema.Literals(["digest", "reference", "platform", "document", "chain-id", "timestamp"]),
  input: Schema.String,
  detail: Schema.String
}) {
  override get message(): string {
    return `invalid ${this.kind} ${JSON.stringify(shorten(this.input))}: ${this.detail}`
  }
}
