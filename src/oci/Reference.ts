/**
 * Image references such as `alpine`, `ghcr.io/owner/app:1.2` or `localhost:5000/app@sha256:...`: the grammar of
 * github.com/distribution/reference with Docker's short names written out, so `alpine` is `docker.io/library/alpine`.
 */
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Digest from "./Digest.ts"
import { OciError } from "./OciError.ts"

/** `name` is `domain/path`, never a short name. */
export interface Reference {
  readonly domain: string
  readonly path: string
  readonly name: string
  readonly tag: Option.Option<string>
  readonly digest: Option.Option<Digest.Digest>
}

const defaultDomain = "docker.io"
const officialPrefix = "library/"
const maxPathLength = 255

const label = "[a-zA-Z0-9]+(?:-+[a-zA-Z0-9]+)*"
const domainPattern = new RegExp(`^(?:${label}(?:\\.${label})*|\\[[a-fA-F0-9:]+\\])(?::[0-9]+)?$`)
const component = "[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
const pathPattern = new RegExp(`^${component}(?:/${component})*$`)
const tagPattern = /^\w[\w.-]{0,127}$/
const identifierPattern = /^[a-f0-9]{64}$/

/** Fails with an `OciError` of kind `reference`. */
export const parse = (text: string): Result.Result<Reference, OciError> => {
  const failure = (detail: string) => new OciError({ kind: "reference", input: text, detail })
  if (text === "") return Result.fail(failure("expected a repository name"))
  if (identifierPattern.test(text)) return Result.fail(failure("cannot specify 64-byte hexadecimal strings"))
  const [domain, remainder] = splitDomain(text)
  const [tagged, digestText] = cut(remainder, "@")
  const [path, tag] = cut(tagged, ":")
  const problem = domainProblem(domain) ?? pathProblem(path) ?? tagProblem(tag)
  if (problem !== undefined) return Result.fail(failure(problem))
  const reference = { domain, path, name: `${domain}/${path}`, tag: Option.fromUndefinedOr(tag), digest: Option.none() }
  return digestText === undefined
    ? Result.succeed(reference)
    : Result.mapBoth(Digest.parse(digestText), {
        onSuccess: (digest) => ({ ...reference, digest: Option.some(digest) }),
        onFailure: (error) => failure(`bad digest: ${error.detail}`)
      })
}

const cut = (text: string, separator: string): readonly [string, string | undefined] => {
  const at = text.indexOf(separator)
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)]
}

const splitDomain = (text: string): readonly [domain: string, remainder: string] => {
  const [first, rest] = cut(text, "/")
  if (rest === undefined) return [defaultDomain, officialPrefix + text]
  // a capital cannot be in a path, so it must be a domain
  const isDomain = first === "localhost" || /[.:]/.test(first) || first !== first.toLowerCase()
  const domain = !isDomain || first === "index.docker.io" ? defaultDomain : first
  const remainder = isDomain ? rest : text
  return [domain, domain === defaultDomain && !remainder.includes("/") ? officialPrefix + remainder : remainder]
}

const domainProblem = (domain: string) =>
  domainPattern.test(domain) ? undefined : "expected a host, with or without a port, before the first slash"

const pathProblem = (path: string) => {
  if (path !== path.toLowerCase()) return "repository name must be lowercase"
  if (path.length > maxPathLength) return `repository name must not be more than ${maxPathLength} characters`
  if (!pathPattern.test(path)) {
    return "repository name must be lowercase letters and digits, with single dots, one or two underscores, dashes or slashes between"
  }
  return undefined
}

const tagProblem = (tag: string | undefined) =>
  tag === undefined || tagPattern.test(tag)
    ? undefined
    : "a tag must be 1 to 128 letters, digits, underscores, dots and dashes, and not start with a dot or dash"

/** In full: `docker.io/library/alpine:3@sha256:...`. `parse` gives the same reference again. */
export const format = (reference: Reference): string => reference.name + suffix(reference)

const suffix = ({ tag, digest }: Reference) =>
  Option.match(tag, { onNone: () => "", onSome: (tag) => `:${tag}` }) +
  Option.match(digest, { onNone: () => "", onSome: (digest) => `@${digest}` })

/**
 * As Docker prints it, without `docker.io/` and `library/`: `alpine:3@sha256:...`. `parse` gives the same reference again, so what
 * would then be read otherwise, such as `docker.io/localhost/app`, keeps its full name.
 */
export const familiar = (reference: Reference): string => {
  if (reference.domain !== defaultDomain) return format(reference)
  const short = reference.path.replace(/^library\/([^/]+)$/, "$1") + suffix(reference)
  return Option.exists(Result.getSuccess(parse(short)), ({ name }) => name === reference.name)
    ? short
    : format(reference)
}

/** Adds the tag `latest` where there is neither tag nor digest. */
export const withDefaultTag = (reference: Reference): Reference =>
  Option.isNone(reference.tag) && Option.isNone(reference.digest)
    ? { ...reference, tag: Option.some("latest") }
    : reference

/** The reference without tag and digest. */
export const repository = (reference: Reference): Reference => ({
  ...reference,
  tag: Option.none(),
  digest: Option.none()
})
