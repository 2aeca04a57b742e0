/** @since 0.1.0 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { CurrentNamespace, Namespaces } from "../core/Namespaces.ts"
import { namespace } from "./Database.ts"

/** There is one. Calls in a region with another `CurrentNamespace` fail with `Unimplemented`. */
export const layer: Layer.Layer<Namespaces> = Layer.succeed(
  Namespaces,
  Namespaces.of({
    current: Effect.map(CurrentNamespace, (current) => current ?? namespace),
    list: Effect.succeed([{ name: namespace, labels: {} }])
  })
)
