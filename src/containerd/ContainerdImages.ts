/** @since 0.1.0 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { type Image, Images } from "../core/Images.ts"
import { Connection } from "./Connection.ts"
import { fromDescriptor, orGone, present, toDescriptor } from "./Convert.ts"
import type { Image__Output as WireImage } from "./generated/containerd/services/images/v1/Image.ts"
import { services } from "./Wire.ts"

const fromImage = (method: string, wire: WireImage | null) =>
  Effect.gen(function* () {
    const { labels, name, target } = yield* present(method, wire)
    return { name, labels, target: yield* fromDescriptor(method, target) } satisfies Image
  })

const toImage = ({ labels, name, target }: Image) => ({ name, labels, target: toDescriptor(target) })

const make = Effect.gen(function* () {
  const { unary } = yield* Connection
  const { images } = services()
  return Images.of({
    get: (name) => Effect.flatMap(unary(images.Get, { name }), ({ image }) => fromImage("Images.Get", image)),
    list: (filters = []) =>
      Effect.flatMap(unary(images.List, { filters: [...filters] }), (response) =>
        Effect.forEach(response.images, (image) => fromImage("Images.List", image))
      ),
    create: (image) => Effect.asVoid(unary(images.Create, { image: toImage(image) })),
    update: (image) =>
      Effect.asVoid(unary(images.Update, { image: toImage(image), updateMask: { paths: ["target", "labels"] } })),
    delete: (name) => orGone(unary(images.Delete, { name }))
  })
})

export const layer: Layer.Layer<Images, never, Connection> = Layer.effect(Images, make)
