/** @since 0.1.0 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Introspection } from "../core/Introspection.ts"
import { Connection } from "./Connection.ts"
import { services } from "./Wire.ts"

const make = Effect.gen(function* () {
  const { unary } = yield* Connection
  const { version } = services()
  return Introspection.of({
    version: Effect.map(unary(version.Version, {}), (response) => `containerd ${response.version}`)
  })
})

export const layer: Layer.Layer<Introspection, never, Connection> = Layer.effect(Introspection, make)
