import { Context, Effect, Layer } from "effect"
import { Containerd as Client } from "effect-containerd"
import * as BaseImage from "./BaseImage.ts"
import * as Containerd from "./Containerd.ts"
import type { DaemonError } from "./Process.ts"

export const snapshotters = ["overlayfs", "native"] as const

/** A private containerd with a base image, unpacked for both snapshotters. */
export class Host extends Context.Service<
  Host,
  { readonly containerd: Containerd.RunningContainerd; readonly base: BaseImage.BaseImage }
>()("test/Host") {}

const make = Effect.fnUntraced(function* (version: Containerd.Version, options?: Containerd.Options) {
  const containerd = yield* Containerd.start(version, options)
  const base = yield* BaseImage.busybox()
  for (const snapshotter of snapshotters) yield* BaseImage.importImage(containerd, base, { snapshotter })
  return { containerd, base }
})

/** The host, and our services on it. */
export const layer = (
  version: Containerd.Version,
  options?: Containerd.Options
): Layer.Layer<Host | Client.Services, DaemonError> => {
  const host = Layer.effect(Host, make(version, options))
  const client = Layer.unwrap(Effect.map(Host, ({ containerd }) => Client.layer({ address: containerd.address })))
  return Layer.provideMerge(client, host)
}
