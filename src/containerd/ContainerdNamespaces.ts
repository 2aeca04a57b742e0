/** @since 0.1.0 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Namespaces } from "../core/Namespaces.ts"
import { Connection } from "./Connection.ts"
import { services } from "./Wire.ts"

const make = Effect.gen(function* () {
  const { namespace, unary } = yield* Connection
  const { namespaces } = services()
  return Namespaces.of({
    current: namespace,
    list: Effect.map(unary(namespaces.List, {}), (response) =>
      response.namespaces.map(({ labels, name }) => ({ labels, name }))
    )
  })
})

export const layer: Layer.Layer<Namespaces, never, Connection> = Layer.effect(Namespaces, make)
