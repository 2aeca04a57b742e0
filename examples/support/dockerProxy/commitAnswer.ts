/** Answers `POST /commit` with our pipeline, in dockerd's form. */
import { STATUS_CODES } from "node:http"
import { Console, Effect, Option, Schedule, Schema } from "effect"
import { HttpClient } from "effect/http"
import { Commit, type CommitError, type ContainerdError } from "effect-containerd"
import { changesProblem, optionsOf, type Route } from "./commitRequest.ts"
import { type Events, ofCommit } from "./events.ts"
import type { Answer } from "./httpMessage.ts"
import type { Request } from "./relay.ts"

interface Refusal {
  readonly status: number
  readonly message: string
}

const ask = Effect.fnUntraced(function* (path: string) {
  const client = yield* HttpClient.HttpClient
  const response = yield* client.get(`http://docker${path}`)
  return { status: response.status, headers: response.headers, text: yield* response.text }
})

const Message = Schema.fromJsonString(Schema.Struct({ message: Schema.String }))
const Labels = Schema.optional(Schema.NullOr(Schema.Record(Schema.String, Schema.String)))
const Inspected = Schema.fromJsonString(
  Schema.Struct({
    Id: Schema.String,
    Name: Schema.String,
    State: Schema.Struct({ Dead: Schema.Boolean, Status: Schema.String }),
    Config: Schema.Struct({ Image: Schema.String, Labels })
  })
)
const InspectedImage = Schema.fromJsonString(Schema.Struct({ Config: Schema.Struct({ Labels }) }))

const inspect = (container: string) => ask(`/containers/${encodeURIComponent(container)}/json`)

/** What dockerd has against the container itself, in its words. */
const containerProblem = Effect.fnUntraced(function* (container: string) {
  if (container === "") return { status: 400, message: 'invalid name or ID supplied: ""' } satisfies Refusal
  const { status, text } = yield* inspect(container)
  if (status !== 200) {
    const said = Option.getOrUndefined(Schema.decodeUnknownOption(Message)(text))
    return { status, message: said?.message ?? text.trim() } satisfies Refusal
  }
  const { Id, State } = yield* Schema.decodeUnknownEffect(Inspected)(text)
  const is = State.Dead ? "Dead" : State.Status === "removing" ? "being removed" : undefined
  return is === undefined
    ? undefined
    : ({ status: 409, message: `You cannot commit container ${Id} which is ${is}` } satisfies Refusal)
})

/** As moby's daemon/server/httpstatus maps containerd's errors. */
const daemonStatus: Readonly<Partial<Record<ContainerdError.Reason["_tag"], number>>> = {
  NotFound: 404,
  InvalidArgument: 400,
  AlreadyExists: 409,
  FailedPrecondition: 409,
  PermissionDenied: 403,
  Unavailable: 503,
  Unimplemented: 501
}

const commitStatus: Readonly<Partial<Record<CommitError.Reason["_tag"], number>>> = {
  InvalidOption: 400,
  ContainerNotFound: 404,
  ContainerBusy: 409,
  Uncommittable: 409,
  ParentNotFound: 404
}

const refusalOf = ({ reason }: CommitError.CommitError): Refusal =>
  reason._tag === "ContainerdError"
    ? { status: daemonStatus[reason.reason._tag] ?? 500, message: reason.message }
    : { status: commitStatus[reason._tag] ?? 500, message: reason.message }

const isBusy = ({ reason }: CommitError.CommitError) => reason._tag === "ContainerBusy"

/** For dockerd two commits of a container at once are nothing special: so one comes after the other. */
const untilFree = Schedule.spaced("200 millis").pipe(Schedule.upTo({ duration: "10 minutes" }))

const refuse = (refusal: Refusal) => Effect.fail({ _tag: "Refused", ...refusal } as const)

/** dockerd looks at the container before the changes, and says of it what it always says. */
const orContainer = Effect.fnUntraced(function* (container: string, refusal: Refusal) {
  return yield* refuse((yield* containerProblem(container)) ?? refusal)
})

/** For those who listen. What is gone again already has been committed all the same, and nobody asks for it. */
const tell = Effect.fnUntraced(
  function* (publish: Events["publish"], options: Commit.CommitOptions, committed: Commit.Committed) {
    const [container, image] = yield* Effect.all(
      [inspect(options.container), ask(`/images/${committed.image.target.digest}/json`)],
      { concurrency: "unbounded" }
    )
    const events = ofCommit(
      yield* Schema.decodeUnknownEffect(Inspected)(container.text),
      yield* Schema.decodeUnknownEffect(InspectedImage)(image.text),
      options,
      committed
    )
    yield* publish(events)
  },
  (telling) => Effect.ignore(telling)
)

const commit = Effect.fnUntraced(function* (request: Request, route: Route, publish: Events["publish"]) {
  const options = yield* optionsOf(request, route).pipe(
    Effect.catchTag("BadRequest", ({ message }) => refuse({ status: 400, message }))
  )
  const problem = options.container === "" ? "" : changesProblem(options)
  if (problem !== undefined) return yield* orContainer(options.container, { status: 400, message: problem })
  return yield* Commit.commit(options).pipe(
    // `docker ps` and `docker events` show it, as of dockerd's own commits.
    Effect.provideService(Commit.VisiblePause, true),
    Effect.retry({ while: isBusy, schedule: untilFree }),
    Effect.tap((committed) => tell(publish, options, committed)),
    Effect.catchTag("CommitError", (error) => orContainer(options.container, refusalOf(error)))
  )
})

const answerOf = (status: number, headers: Answer["headers"], body: unknown): Answer => ({
  status,
  reason: STATUS_CODES[status] ?? "",
  headers: { ...headers, "Content-Type": "application/json" },
  body: `${JSON.stringify(body)}\n`
})

/** What dockerd says of itself with every answer. */
const ownHeaders = (headers: Readonly<Record<string, string | undefined>>) =>
  Object.fromEntries(
    ["Api-Version", "Docker-Experimental", "Ostype", "Server"].flatMap((name) => {
      const value = headers[name.toLowerCase()]
      return value === undefined ? [] : [[name, value] as const]
    })
  )

/** One line for the people who run this. */
const log = (route: Route, text: string) =>
  Console.error(
    `commit ${JSON.stringify(new URLSearchParams(route.query).get("container"))}: ${text.replace(/\s+/g, " ")}`
  )

const made = ({ durationMs, image, pausedMs }: Commit.Committed) =>
  `${image.name} ${image.target.digest} in ${durationMs} ms, paused for ${pausedMs} ms`

const answered = Effect.fnUntraced(function* (request: Request, route: Route, publish: Events["publish"]) {
  // Refuses the API versions that dockerd does not know.
  const ping = yield* ask(`${route.version}/_ping`)
  const headers = ownHeaders(ping.headers)
  if (ping.status !== 200) {
    const type = ping.headers["content-type"] ?? "text/plain"
    const refused = answerOf(ping.status, headers, {})
    return { ...refused, headers: { ...refused.headers, "Content-Type": type }, body: ping.text }
  }
  return yield* commit(request, route, publish).pipe(
    Effect.tap((committed) => log(route, made(committed))),
    Effect.map((committed) => answerOf(201, headers, { Id: committed.image.target.digest })),
    Effect.catchTag("Refused", ({ message, status }) =>
      Effect.as(log(route, `${status} ${message}`), answerOf(status, headers, { message }))
    )
  )
})

const failure = (route: Route, status: number, message: string) =>
  Effect.as(log(route, `${status} ${message}`), answerOf(status, {}, { message }))

export const answer = (request: Request, route: Route, publish: Events["publish"]) =>
  answered(request, route, publish).pipe(
    Effect.catchTag("HttpClientError", ({ message }) =>
      failure(route, 502, `the Docker Engine does not answer: ${message}`)
    ),
    Effect.catchTag("SchemaError", ({ message }) => failure(route, 500, message)),
    Effect.catchDefect((defect) => failure(route, 500, String(defect))),
    Effect.onInterrupt(() => log(route, "interrupted, nothing was changed"))
  )
