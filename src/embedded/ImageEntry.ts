/**
 * Between image records and the entries of `index.json`.
 *
 * The full name is in the annotation `io.containerd.image.name`, as containerd's own export writes it. Tools for OCI
 * layouts (`skopeo inspect oci:DIR:REF`, `umoci unpack --image DIR:REF`) find an entry by the annotation
 * `org.opencontainers.image.ref.name`. That is the tag of the name, as long as no other entry has it; else the full
 * name; else, where the annotation's grammar does not allow that, a readable name with a part of the name's digest.
 * What an entry was given it keeps.
 *
 * The labels of the record are an annotation of the entry, too: so they change together with the target, whatever is
 * killed when, and go with an entry that another tool overwrites.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Image } from "../core/Images.ts"
import type * as Descriptor from "../oci/Descriptor.ts"
import * as Digest from "../oci/Digest.ts"
import * as Reference from "../oci/Reference.ts"
import * as Labels from "./Labels.ts"

const imageName = "io.containerd.image.name"
const refName = "org.opencontainers.image.ref.name"
const labelsKey = "effect-containerd/labels"
const reserved: ReadonlySet<string> = new Set([imageName, refName, labelsKey])

/** An entry of another tool is known by its reference, and one without any by its digest. */
export const nameOf = ({ annotations = {}, digest }: Descriptor.Descriptor): string =>
  annotations[imageName] ?? annotations[refName] ?? digest

const decodeLabels = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Record(Schema.String, Schema.String)))

export const toImage = (entry: Descriptor.Descriptor): Image => {
  const { annotations = {}, ...rest } = entry
  const others = Object.entries(annotations).filter(([key]) => !reserved.has(key))
  const target = others.length === 0 ? rest : { ...rest, annotations: Object.fromEntries(others) }
  const labels = Option.getOrElse(decodeLabels(annotations[labelsKey]), () => ({}))
  return { name: nameOf(entry), target, labels }
}

/** OCI image-spec, annotations.md. */
const component = "[A-Za-z0-9]+(?:(?:[-._:@+]|--)[A-Za-z0-9]+)*"
const refNamePattern = new RegExp(`^${component}(?:/${component})*$`)

const escaped = (name: string): string => {
  const readable = name.replace(/[^A-Za-z0-9]+/g, "-").replace(/^-|-$/g, "")
  return `${readable || "image"}-${Digest.hex(Digest.fromBytes(Buffer.from(name))).slice(0, 12)}`
}

const candidates = (name: string): ReadonlyArray<string> => [
  ...Option.toArray(Option.flatMap(Result.getSuccess(Reference.parse(name)), ({ tag }) => tag)),
  name
]

const chooseRefName = (name: string, all: ReadonlyArray<Descriptor.Descriptor>): string => {
  const before = all.find((entry) => nameOf(entry) === name)?.annotations?.[refName]
  if (before !== undefined) return before
  const taken = new Set(all.map(({ annotations }) => annotations?.[refName]))
  return candidates(name).find((ref) => refNamePattern.test(ref) && !taken.has(ref)) ?? escaped(name)
}

/** `all` are the entries of the index now. */
export const fromImage = (
  { labels, name, target }: Image,
  all: ReadonlyArray<Descriptor.Descriptor>,
  method: string
): Descriptor.Descriptor => {
  const others = Object.entries(target.annotations ?? {}).filter(([key]) => !reserved.has(key))
  const encoded = Labels.encode(method, labels)
  const annotations = {
    ...Object.fromEntries(others),
    [imageName]: name,
    [refName]: chooseRefName(name, all),
    ...(encoded === "{}" ? {} : { [labelsKey]: encoded })
  }
  return { ...target, annotations }
}
