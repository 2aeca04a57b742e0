/**
 * The scope of a backend's layer: what one commit makes ready for the next lives there.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"

/** A backend that has none makes nothing ready. */
export const BackendScope = Context.Reference<Scope.Scope | undefined>("effect-containerd/BackendScope", {
  defaultValue: () => undefined
})

export const layer: Layer.Layer<never> = Layer.effect(BackendScope, Effect.scope)
