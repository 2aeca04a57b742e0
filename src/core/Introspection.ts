/**
 * What the backend is, for messages and for choosing between ways of doing a thing.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { ContainerdError } from "./ContainerdError.ts"

export class Introspection extends Context.Service<
  Introspection,
  {
    /** `containerd 2.1.9`: for people, not for comparing. */
    readonly version: Effect.Effect<string, ContainerdError>
  }
>()("effect-containerd/Introspection") {}
