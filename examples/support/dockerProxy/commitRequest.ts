/** `POST /commit` as moby reads it: daemon/server/router/container/container_routes.go, `postCommit`. */
import { Data, Effect, Option, Result, Schema } from "effect"
import { Change, type Commit, ImageConfig, type OciError, Reference } from "effect-containerd"
import { type Head, header } from "./httpMessage.ts"
import type { Request } from "./relay.ts"

/** The request is wrong (400), in Docker's words. */
export class BadRequest extends Data.TaggedError("BadRequest")<{ readonly message: string }> {}

const bad = (message: string) => Effect.fail(new BadRequest({ message }))

const routePattern = /^(?:http:\/\/[^/]*)?((?:\/v[0-9.]+)?)\/commit(?:\?(.*))?$/

export interface Route {
  /** `/v1.51`, or nothing. */
  readonly version: string
  readonly query: string
}

/** `undefined` for every other request. */
export const routeOf = ({ start }: Head): Route | undefined => {
  const [method, target] = start
  const match = method === "POST" ? routePattern.exec(target) : null
  return match === null ? undefined : { version: match[1] ?? "", query: match[2] ?? "" }
}

const parseQuery = Effect.fnUntraced(function* (query: string) {
  const [wrong] = /%(?![0-9a-f]{2}).{0,2}/i.exec(query) ?? []
  if (wrong !== undefined) return yield* bad(`invalid URL escape ${JSON.stringify(wrong)}`)
  if (query.includes(";")) return yield* bad("invalid semicolon separator in query")
  return new URLSearchParams(query)
})

const no = ["", "0", "no", "false", "none"]

const pauseOf = (query: URLSearchParams) => {
  const text = query.get("pause")
  return text === null || !no.includes(text.trim().toLowerCase())
}

const remoteName = (repo: string) => {
  const [first = "", ...rest] = (repo.split("@")[0] ?? "").replace(/:[^/]*$/, "").split("/")
  if (rest.length === 0) return `library/${first}`
  return /[.:A-Z]/.test(first) || first === "localhost" ? rest.join("/") : [first, ...rest].join("/")
}

/** As github.com/distribution/reference says it. */
const referenceText = ({ detail, input }: OciError.OciError) => {
  if (detail === "repository name must be lowercase") {
    return `invalid reference format: repository name (${remoteName(input)}) must be lowercase`
  }
  if (detail.includes("64-byte")) {
    return `invalid repository name (${input}), cannot specify 64-byte hexadecimal strings`
  }
  return detail.includes("must not be more") ? detail : "invalid reference format"
}

const nameOf = Effect.fnUntraced(function* (query: URLSearchParams) {
  const repo = query.get("repo") ?? ""
  const tag = query.get("tag") ?? ""
  if (repo === "") return undefined
  const parsed = Result.mapError(Reference.parse(repo), referenceText)
  if (Result.isFailure(parsed)) return yield* bad(parsed.failure)
  if (Option.isSome(parsed.success.digest)) return yield* bad("cannot import digest reference")
  if (tag === "") return Reference.format(Reference.withDefaultTag(parsed.success))
  const name = `${parsed.success.name}:${tag}`
  return Result.isSuccess(Reference.parse(name)) ? name : yield* bad("invalid tag format")
})

/** Of all that a container's config holds, this goes into an image (src/docker/DockerContainers.ts). */
const imageKeys = [
  ...["User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal"],
  ...["ArgsEscaped", "Healthcheck", "OnBuild", "Shell"]
]

const isNothing = (value: unknown) => value === null || value === "" || value === false

/** Go takes the names of fields in any case. */
const imageKeyOf = (key: string) => imageKeys.find((known) => known.toLowerCase() === key.toLowerCase())

const decodeBody = Schema.decodeUnknownResult(
  Schema.fromJsonString(Schema.NullOr(Schema.Record(Schema.String, Schema.Unknown)))
)
const decodeConfig = Schema.decodeUnknownResult(ImageConfig.ContainerConfig)

const configOf = Effect.fnUntraced(function* (body: Buffer) {
  const text = body.toString().trim()
  if (text === "") return undefined
  const json = Result.mapError(decodeBody(text), ({ message }) => `invalid JSON: ${message}`)
  if (Result.isFailure(json)) return yield* bad(json.failure)
  const entries = Object.entries(json.success ?? {}).flatMap(([name, value]) => {
    const key = imageKeyOf(name)
    return key === undefined || isNothing(value) ? [] : [[key, value] as const]
  })
  if (entries.length === 0) return undefined
  const config = Result.mapError(decodeConfig(Object.fromEntries(entries)), ({ message }) => `invalid JSON: ${message}`)
  return Result.isFailure(config) ? yield* bad(config.failure) : config.success
})

const checkType = ({ body, head }: Request) => {
  const text = header(head, "content-type")
  if (text === "") return body.length === 0 ? Effect.void : bad("malformed Content-Type header (): mime: no media type")
  if (text.split(";")[0]?.trim().toLowerCase() === "application/json") return Effect.void
  return bad(`unsupported Content-Type header (${text}): must be 'application/json'`)
}

/** What is wrong with the changes, in Docker's words where it has its own. dockerd looks for the container before. */
export const changesProblem = ({ changes = [] }: Pick<Commit.CommitOptions, "changes">): string | undefined => {
  const text = changes.filter((change) => typeof change === "string").join("\n")
  const parsed = changes.length === 0 ? undefined : Change.parse(text)
  if (parsed === undefined || Result.isSuccess(parsed)) return undefined
  const { detail, instruction, message } = parsed.failure
  if (detail.startsWith("is not a change")) return `${instruction} is not a valid change command`
  return detail.startsWith("has no instruction") ? "file with no instructions" : message
}

/** Fails with `BadRequest` as dockerd does before it looks for the container. */
export const optionsOf = Effect.fnUntraced(function* (request: Request, route: Route) {
  const query = yield* parseQuery(route.query)
  yield* checkType(request)
  const config = yield* configOf(request.body)
  const name = yield* nameOf(query)
  const changes = query.getAll("changes")
  return {
    container: query.get("container") ?? "",
    name,
    author: query.get("author") || undefined,
    message: query.get("comment") || undefined,
    pause: pauseOf(query),
    changes: changes.length === 0 ? [] : [changes.join("\n")],
    config,
    // `docker images` lists an image that has lost its name.
    keepReplaced: true
  } satisfies Commit.CommitOptions
})
