import { Effect } from "effect"
import type { RunningContainerd } from "./Containerd.ts"

/** A document of the content store as `ctr` reads it. */
const get = ({ ctr }: RunningContainerd, digest: string) =>
  Effect.map(ctr(["content", "get", digest]), (text): unknown => JSON.parse(text))

export interface ManifestJson {
  readonly mediaType?: string
  readonly config: { readonly mediaType: string; readonly digest: string }
  readonly layers: ReadonlyArray<{ readonly mediaType: string; readonly digest: string; readonly size: number }>
}

export interface ConfigJson {
  readonly created?: string
  readonly author?: string
  readonly architecture: string
  readonly os: string
  readonly variant?: string
  readonly config?: Readonly<Record<string, unknown>>
  readonly rootfs: { readonly diff_ids: ReadonlyArray<string> }
  readonly history: ReadonlyArray<{
    readonly created?: string
    readonly created_by?: string
    readonly author?: string
    readonly comment?: string
    readonly empty_layer?: boolean
  }>
}

// Documents of images that the test itself has made: their shape is what is asserted on.
export const manifest = (containerd: RunningContainerd, digest: string) =>
  Effect.map(get(containerd, digest), (json) => json as ManifestJson)
export const config = (containerd: RunningContainerd, digest: string) =>
  Effect.map(get(containerd, digest), (json) => json as ConfigJson)
