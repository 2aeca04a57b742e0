/**
 * What `docker events` says of our commits. dockerd has no call that sends an event, so these join its answer to
 * `GET /events` on the way: daemon/commit.go and daemon/events of moby.
 */
import { Clock, Effect, Option, PubSub, Schema } from "effect"
import { type Commit, Reference } from "effect-containerd"
import type { Head } from "./httpMessage.ts"

export interface Event {
  readonly type: "container" | "image"
  readonly action: string
  readonly id: string
  readonly attributes: Readonly<Record<string, string>>
}

type Labels = Readonly<Record<string, string>> | null | undefined

/** As dockerd inspects it. */
export interface Container {
  readonly Id: string
  readonly Name: string
  readonly Config: { readonly Image: string; readonly Labels?: Labels }
}

/** As dockerd inspects it. */
export interface Image {
  readonly Config: { readonly Labels?: Labels }
}

/** `app:1`, where the whole name is `docker.io/library/app:1`. */
const familiarName = (name: string) =>
  Option.match(Option.getSuccess(Reference.parse(name)), { onNone: () => name, onSome: Reference.familiar })

/** In dockerd's order. */
export const ofCommit = (
  container: Container,
  image: Image,
  { message: comment = "", name: named }: Pick<Commit.CommitOptions, "message" | "name">,
  { image: { name, target } }: Commit.Committed
): ReadonlyArray<Event> => {
  const id = target.digest
  const imageRef = named === undefined ? "" : familiarName(name)
  const ofImage = (action: string, name: string): Event => ({
    type: "image",
    action,
    id,
    attributes: { ...image.Config.Labels, name }
  })
  const { Image, Labels } = container.Config
  const ofContainer = { ...Labels, image: Image, name: container.Name.replace(/^\//, "") }
  return [
    ofImage("create", id),
    ...(imageRef === "" ? [] : [ofImage("tag", imageRef)]),
    {
      type: "container",
      action: "commit",
      id: container.Id,
      attributes: { ...ofContainer, comment, imageID: id, imageRef }
    }
  ]
}

/** dockerd's JSON, with a time that has more digits than a number. */
const format = ({ action, attributes, id, type }: Event, now: number): string => {
  const from = type === "container" ? { from: attributes["image"] } : {}
  const actor = { ID: id, Attributes: Object.fromEntries(Object.entries(attributes).toSorted()) }
  const text = JSON.stringify({ status: action, id, ...from, Type: type, Action: action, Actor: actor, scope: "local" })
  return `${text.slice(0, -1)},"time":${Math.floor(now / 1000)},"timeNano":${now}000000}\n`
}

/** A list, or the keys of what is true, as old clients say it. */
const Filters = Schema.fromJsonString(
  Schema.Record(
    Schema.String,
    Schema.Union([Schema.Array(Schema.String), Schema.Record(Schema.String, Schema.Boolean)])
  )
)

type Filters = ReadonlyMap<string, ReadonlyArray<string>>

const filtersOf = (query: URLSearchParams): Filters => {
  const all = Option.getOrElse(Schema.decodeUnknownOption(Filters)(query.get("filters") || "{}"), () => ({}))
  const valuesOf = (values: object) =>
    Object.entries(values).flatMap(([key, value]) =>
      value === true ? [key] : typeof value === "string" ? [value] : []
    )
  return new Map(Object.entries(all).map(([key, values]) => [key, valuesOf(values)]))
}

const withoutTag = (name: string) => name.replace(/:[^:/]*$/, "")

/** A name, or how it begins. */
const isLike = (names: ReadonlyArray<string>) => (wanted: string) => names.some((name) => name.startsWith(wanted))

const hasLabel = ({ attributes }: Event, wanted: string) => {
  const [key = "", ...value] = wanted.split("=")
  return value.length === 0 ? key in attributes : attributes[key] === value.join("=")
}

/** One value of a filter; what ours are never, such as networks, they do not match. */
const matches = (event: Event, key: string, wanted: string): boolean => {
  const { action, attributes, id, type } = event
  const { image = "", name = "" } = attributes
  const imageName = type === "image" ? name : image
  switch (key) {
    case "event":
      return action === wanted
    case "type":
      return type === wanted
    case "scope":
      return wanted === "local"
    case "label":
      return hasLabel(event, wanted)
    case "container":
      return type === "container" && isLike([id, name])(wanted)
    case "image":
      return [id, imageName, withoutTag(imageName)].includes(wanted)
    default:
      return false
  }
}

/** All labels must be there; of every other filter one value is enough. */
const isWanted = (filters: Filters) => (event: Event) =>
  [...filters].every(([key, values]) => {
    const is = (wanted: string) => matches(event, key, wanted)
    return values.length === 0 || (key === "label" ? values.every(is) : values.some(is))
  })

const target = /^(?:\/v[0-9.]+)?\/events(?:\?(.*))?$/

/** Those who ask for the events of now, and what they want of them. */
const filterOf = ({ start: [method, path] }: Head) => {
  const match = method === "GET" ? target.exec(path) : null
  return match === null ? undefined : isWanted(filtersOf(new URLSearchParams(match[1])))
}

export interface Events {
  readonly publish: (events: ReadonlyArray<Event>) => Effect.Effect<void>
  /** What joins the answer to that request, as it comes; `undefined` for requests of other kinds. */
  readonly joining: (head: Head) => ((say: (text: string) => void) => Effect.Effect<never>) | undefined
}

export const make: Effect.Effect<Events> = Effect.map(
  PubSub.unbounded<{ readonly event: Event; readonly text: string }>(),
  (all) => ({
    publish: (events) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) =>
        PubSub.publishAll(
          all,
          events.map((event) => ({ event, text: format(event, now) }))
        )
      ),
    joining: (head) => {
      const isWanted = filterOf(head)
      if (isWanted === undefined) return undefined
      return (say) =>
        PubSub.subscribe(all).pipe(
          Effect.flatMap((subscription) =>
            Effect.forever(
              Effect.map(PubSub.take(subscription), ({ event, text }) => {
                if (isWanted(event)) say(text)
              })
            )
          ),
          Effect.scoped
        )
    }
  })
)
