/**
 * The one error of this folder: a change that Docker would refuse too.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

const shorten = (text: string, limit = 100) => (text.length > limit ? `${text.slice(0, limit - 3)}...` : text)

/**
 * `text` is what was given to `parse`, with the place in it, 1-based and in UTF-16 units as editors count. For a change
 * that was given as a value it is the value that is wrong, and there is no place. `detail` says what would be right.
 */
export class ChangeError extends Schema.TaggedError<ChangeError>("effect-containerd/ChangeError")("ChangeError", {
  instruction: Schema.String,
  text: Schema.String,
  line: Schema.optionalKey(Schema.Int),
  column: Schema.optionalKey(Schema.Int),
  detail: Schema.String
}) {
  override get message(): string {
    const { line, column, instruction, detail } = this
    const shown = line === undefined ? this.text : (this.text.split("\n")[line - 1] ?? "")
    const place = line === undefined ? "" : ` (line ${line}, column ${column})`
    return `invalid change ${JSON.stringify(shorten(shown))}${place}: ${shorten(instruction)} ${shorten(detail, 300)}`
  }
}
