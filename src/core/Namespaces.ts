/**
 * Namespaces keep the objects of one containerd apart (`default`, `moby`, `k8s.io`).
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { ContainerdError } from "./ContainerdError.ts"

/**
 * The namespace of the calls made in a region of the program; `undefined` means the one that the backend's layer was
 * given. Set it with `Effect.provideService(CurrentNamespace, "k8s.io")`.
 */
export const CurrentNamespace = Context.Reference<string | undefined>("effect-containerd/CurrentNamespace", {
  defaultValue: () => undefined
})

export interface Namespace {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
}

export class Namespaces extends Context.Service<
  Namespaces,
  {
    /** The namespace that calls made here go to. */
    readonly current: Effect.Effect<string>
    /** Every namespace of the backend; an unused one does not exist. */
    readonly list: Effect.Effect<ReadonlyArray<Namespace>, ContainerdError>
  }
>()("effect-containerd/Namespaces") {}
