/**
 * Images as the entries of the layout's `index.json`.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { AlreadyExists, InvalidArgument, NotFound } from "../core/ContainerdError.ts"
import { type Image, Images } from "../core/Images.ts"
import type * as Descriptor from "../oci/Descriptor.ts"
import { Database } from "./Database.ts"
import { refuse } from "./EmbeddedError.ts"
import * as Filter from "./Filter.ts"
import * as ImageEntry from "./ImageEntry.ts"
import * as IndexFile from "./IndexFile.ts"

const validate = (method: string, { name, target }: Image): void => {
  const bad = (message: string) => refuse(method, new InvalidArgument({ message }))
  if (name === "") bad("an image needs a name")
  if (target.mediaType === "") bad(`the target of ${name} needs a media type`)
  if (target.size <= 0) bad(`the target of ${name} needs a size above 0`)
}

const fieldsOf = ({ labels, name, target }: Image): Filter.Fields => {
  const record = Filter.record({ name }, labels)
  const descriptor = Filter.record({ digest: target.digest, mediatype: target.mediaType }, {})
  const annotations = Filter.record({}, target.annotations ?? {})
  return ([field = "", ...rest]) => {
    if (field === "target") return descriptor(rest)
    return field === "annotations" ? annotations(["labels", ...rest]) : record([field, ...rest])
  }
}

const isNamed = (name: string) => (entry: Descriptor.Descriptor) => ImageEntry.nameOf(entry) === name

/** Several entries of one name are the platforms of one image as some tools write them; the first stands for it. */
const imagesOf = (entries: ReadonlyArray<Descriptor.Descriptor>): ReadonlyArray<Image> => {
  const byName = new Map<string, Image>()
  for (const entry of entries) {
    const image = ImageEntry.toImage(entry)
    if (!byName.has(image.name)) byName.set(image.name, image)
  }
  return [...byName.values()]
}

const make = Effect.gen(function* () {
  const { paths, query, transaction } = yield* Database

  /** Puts the image in the place of the entries of its name. */
  const put = (method: string, image: Image) => {
    const index = IndexFile.read(paths, method)
    const all = IndexFile.entries(index)
    const entry = ImageEntry.fromImage(image, all, method)
    const at = all.findIndex(isNamed(image.name))
    const others = all.filter((other) => !isNamed(image.name)(other))
    const position = at < 0 ? others.length : at
    IndexFile.write(paths, index, [...others.slice(0, position), entry, ...others.slice(position)])
  }

  const exists = (method: string, name: string) => IndexFile.entries(IndexFile.read(paths, method)).some(isNamed(name))

  return Images.of({
    get: (name) =>
      query("Images.Get", () => {
        const entry = IndexFile.entries(IndexFile.read(paths, "Images.Get")).find(isNamed(name))
        if (entry !== undefined) return ImageEntry.toImage(entry)
        return refuse("Images.Get", new NotFound({ message: `image ${JSON.stringify(name)}: not found` }))
      }),
    list: (filters = []) =>
      query("Images.List", () => {
        const matches = Filter.any("Images.List", filters)
        const images = imagesOf(IndexFile.entries(IndexFile.read(paths, "Images.List")))
        return images.filter((image) => matches(fieldsOf(image)))
      }),
    create: (image) =>
      transaction("Images.Create", () => {
        validate("Images.Create", image)
        if (exists("Images.Create", image.name)) {
          refuse("Images.Create", new AlreadyExists({ message: `image ${JSON.stringify(image.name)}: already exists` }))
        }
        put("Images.Create", image)
      }),
    update: (image) =>
      transaction("Images.Update", () => {
        validate("Images.Update", image)
        if (!exists("Images.Update", image.name)) {
          refuse("Images.Update", new NotFound({ message: `image ${JSON.stringify(image.name)}: not found` }))
        }
        put("Images.Update", image)
      }),
    delete: (name) =>
      transaction("Images.Delete", () => {
        const index = IndexFile.read(paths, "Images.Delete")
        const all = IndexFile.entries(index)
        const others = all.filter((entry) => !isNamed(name)(entry))
        if (others.length < all.length) IndexFile.write(paths, index, others)
      })
  })
})

export const layer: Layer.Layer<Images, never, Database> = Layer.effect(Images, make)
