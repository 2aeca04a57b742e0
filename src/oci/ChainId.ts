/**
 * Chain IDs: the name of a stack of layers, by which containerd names the snapshots of images (OCI image-spec, config.md "Layer ChainID").
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Digest from "./Digest.ts"

/** The diff ID itself for the lowest layer; else the sha256 of the ID below, a space and the diff ID. */
export const ChainId = Digest.Digest.pipe(Schema.brand("effect-containerd/ChainId"))
export type ChainId = typeof ChainId.Type

const encoder = new TextEncoder()

/** The chain of `parent` with one more layer on top; None as parent is the empty stack. */
export const append = (parent: Option.Option<ChainId>, diffId: Digest.Digest): ChainId =>
  ChainId.make(
    Option.match(parent, {
      onNone: () => diffId,
      onSome: (below) => Digest.fromBytes(encoder.encode(`${below} ${diffId}`))
    })
  )

/** The chain of `diffIds`, lowest layer first; None when there is no layer. */
export const fromDiffIds = (diffIds: ReadonlyArray<Digest.Digest>): Option.Option<ChainId> =>
  diffIds.reduce<Option.Option<ChainId>>((parent, diffId) => Option.some(append(parent, diffId)), Option.none())
