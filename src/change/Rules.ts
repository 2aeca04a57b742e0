/**
 * What a change's values must be, whether they come from a text or from a program.
 */
import * as EffectDuration from "effect/Duration"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Duration from "./Duration.ts"
import type { Value } from "./Model.ts"
import * as Port from "./Port.ts"
import { isSignal } from "./Signal.ts"

/** What is wrong with a value: goes on after the name of the instruction. */
export type Rule = (text: string) => string | undefined

export const anything: Rule = () => undefined

const quote = (text: string) => JSON.stringify(text)

/** runc starts no container with a variable without a name. */
export const variable: Rule = (name) =>
  name !== "" && !name.includes("=") ? undefined : `has the name ${quote(name)}: expected NAME=value`

export const label: Rule = (name) => (name === "" ? "has a blank name: expected NAME=value" : undefined)

export const port: Rule = (text) => Option.getOrUndefined(Result.getFailure(Port.parse(text)))

/** As the words of `EXPOSE`, which may hold several ports, or none. */
export const ports: Rule = (text) =>
  text
    .split(/\s+/)
    .filter((word) => word !== "")
    .map(port)
    .find((problem) => problem !== undefined)

export const volume: Rule = (path) => (path === "" ? "has an empty path: expected a path in the container" : undefined)

export const workDir: Rule = (path) => (path === "" ? "has no path: expected a path in the container" : undefined)

export const signal: Rule = (text) =>
  isSignal(text) ? undefined : `has ${quote(text)}: expected a signal as SIGTERM, TERM or 15`

const millisecond = 1_000_000n

/** Of `HEALTHCHECK`, in nanoseconds. */
export const time = (name: string, nanoseconds: bigint): string | undefined => {
  if (nanoseconds !== 0n && nanoseconds < millisecond) return `has ${name} below 1ms: expected 0 or at least 1ms`
  return nanoseconds > Duration.max ? `has ${name} of more than 292 years: expected less` : undefined
}

/** Of `HEALTHCHECK`: an int32. */
export const retries = (value: number): string | undefined =>
  Number.isInteger(value) && value >= 0 && value < 2 ** 31
    ? undefined
    : "has retries that are no whole number from 0 to 2147483647: expected one"

export const command = (command: string | ReadonlyArray<string>): string | undefined =>
  command.length === 0 ? "has no command: expected CMD and a command, or NONE" : undefined

/** The text that is wrong, and why. */
export interface Wrong {
  readonly text: string
  readonly detail: string
}

const first = (texts: ReadonlyArray<string>, rule: Rule): Wrong | undefined => {
  for (const text of texts) {
    const detail = rule(text)
    if (detail !== undefined) return { text, detail }
  }
  return undefined
}

const wrongOptions = ({ command: words, options }: Extract<Value, { readonly _tag: "Healthcheck" }>) => {
  const { retries: count = 0, ...times } = options
  const problems = Object.entries(times).map(([name, input]) =>
    Option.match(Option.flatMap(EffectDuration.fromInput(input ?? 0), EffectDuration.toNanos), {
      onNone: () => `has ${name} that is no duration with an end: expected one as 30 seconds`,
      onSome: (nanoseconds) => time(name, nanoseconds)
    })
  )
  const detail = [command(words), ...problems, retries(count)].find((problem) => problem !== undefined)
  return detail === undefined ? undefined : { text: String(words), detail }
}

/** The first thing in a value that is wrong. The instruction of `ONBUILD` is not looked at. */
export const wrong = (value: Value): Wrong | undefined => {
  switch (value._tag) {
    case "Env":
      return first(
        value.pairs.map(([name]) => name),
        variable
      )
    case "Label":
      return first(
        value.pairs.map(([name]) => name),
        label
      )
    case "Expose":
    case "UnsetPort":
      return first(value.ports, port)
    case "Volume":
      return first(value.paths, volume)
    case "WorkDir":
      return first([value.path], workDir)
    case "StopSignal":
      return first([value.signal], signal)
    case "Shell":
      return value.command.length > 0 ? undefined : { text: "", detail: 'is empty: expected as ["/bin/sh", "-c"]' }
    case "Healthcheck":
      return wrongOptions(value)
    default:
      return undefined
  }
}
