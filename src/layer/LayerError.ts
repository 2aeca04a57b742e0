/**
 * What can be wrong with the bytes of a layer.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

export class LayerError extends Schema.TaggedError<LayerError>("effect-containerd/LayerError")("LayerError", {
  /**
   * `tar`: the archive is damaged or of an unknown form; `compression`: likewise; `id-map`: an id has no counterpart;
   * `unsafe`: an entry asks for what no layer may do, such as leaving its directory; `files`: the file system or a
   * helper program failed; `overlay`: only the kernel can read what an overlay's directory says.
   */
  kind: Schema.Literals(["tar", "compression", "id-map", "unsafe", "files", "overlay"]),
  message: Schema.String,
  cause: Schema.optionalKey(Schema.Defect())
}) {}
