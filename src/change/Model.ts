/**
 * What a change can be. The strings are values: nothing in them is expanded, but in a `Template`.
 */
import type * as Duration from "effect/Duration"

/** Words run as they are, the exec form; a text is given to the shell. */
export type Command = string | ReadonlyArray<string>

/** Times are 0, Docker's default, or at least a millisecond. */
export interface HealthcheckOptions {
  readonly interval?: Duration.Input | undefined
  readonly timeout?: Duration.Input | undefined
  readonly startPeriod?: Duration.Input | undefined
  readonly startInterval?: Duration.Input | undefined
  readonly retries?: number | undefined
}

type Pairs = ReadonlyArray<readonly [name: string, value: string]>

/** A change whose effect does not depend on the environment. */
export type Value =
  | { readonly _tag: "Cmd"; readonly command: Command }
  | { readonly _tag: "Entrypoint"; readonly command: Command }
  | { readonly _tag: "Env"; readonly pairs: Pairs }
  | { readonly _tag: "Expose"; readonly ports: ReadonlyArray<string> }
  | { readonly _tag: "Healthcheck"; readonly command: Command; readonly options: HealthcheckOptions }
  | { readonly _tag: "NoHealthcheck" }
  | { readonly _tag: "Label"; readonly pairs: Pairs }
  | { readonly _tag: "OnBuild"; readonly instruction: string }
  | { readonly _tag: "Shell"; readonly command: ReadonlyArray<string> }
  | { readonly _tag: "StopSignal"; readonly signal: string }
  | { readonly _tag: "User"; readonly user: string }
  | { readonly _tag: "Volume"; readonly paths: ReadonlyArray<string> }
  | { readonly _tag: "WorkDir"; readonly path: string }
  | { readonly _tag: "UnsetEnv"; readonly names: ReadonlyArray<string> }
  | { readonly _tag: "UnsetLabel"; readonly names: ReadonlyArray<string> }
  | { readonly _tag: "UnsetPort"; readonly ports: ReadonlyArray<string> }
  | { readonly _tag: "UnsetVolume"; readonly paths: ReadonlyArray<string> }

/** What `parse` makes of an instruction with variables: the words of `value` are still to be expanded. */
export interface Template {
  readonly _tag: "Template"
  readonly value: Value
  /** The text that it comes from, and where in it the instruction begins. */
  readonly text: string
  readonly line: number
  readonly column: number
}

export type Change = Value | Template

/** `CMD`: what the container runs, or the arguments of its entrypoint. An empty list removes it. */
export const cmd = (command: Command): Value => ({ _tag: "Cmd", command })

/** `ENTRYPOINT`. It removes an inherited `CMD`, not one that an earlier change has set. An empty list removes it. */
export const entrypoint = (command: Command): Value => ({ _tag: "Entrypoint", command })

/** `ENV`, in the order of the keys. A variable that is there is replaced in its place. */
export const env = (variables: Readonly<Record<string, string>>): Value => ({
  _tag: "Env",
  pairs: Object.entries(variables)
})

/** `EXPOSE`: `"80"`, `"53/udp"`, `"3000-3005"`. */
export const expose = (...ports: ReadonlyArray<string>): Value => ({ _tag: "Expose", ports })

/** `HEALTHCHECK CMD`: replaces the whole check that is there. */
export const healthcheck = (command: Command, options: HealthcheckOptions = {}): Value => ({
  _tag: "Healthcheck",
  command,
  options
})

/** `HEALTHCHECK NONE`: no check, not even one of the parent's. */
export const noHealthcheck: Value = { _tag: "NoHealthcheck" }

/** `LABEL`. */
export const label = (labels: Readonly<Record<string, string>>): Value => ({
  _tag: "Label",
  pairs: Object.entries(labels)
})

/** `ONBUILD`: an instruction for the builds on top of the image, added to those that are there. */
export const onBuild = (instruction: string): Value => ({ _tag: "OnBuild", instruction })

/** `SHELL`: for the later changes with a text as command. `docker commit` itself does not take this one. */
export const shell = (...command: ReadonlyArray<string>): Value => ({ _tag: "Shell", command })

/** `STOPSIGNAL`: a name, as `SIGTERM` or `TERM`, or a number. */
export const stopSignal = (signal: string): Value => ({ _tag: "StopSignal", signal })

/** `USER`: a name or a number, with or without `:group`. Empty removes it. */
export const user = (user: string): Value => ({ _tag: "User", user })

/** `VOLUME`: paths in the container. */
export const volume = (...paths: ReadonlyArray<string>): Value => ({ _tag: "Volume", paths })

/** `WORKDIR`: a relative path starts at the old one. */
export const workDir = (path: string): Value => ({ _tag: "WorkDir", path })

/** What is not there is no error, here and below. */
export const unsetEnv = (...names: ReadonlyArray<string>): Value => ({ _tag: "UnsetEnv", names })
export const unsetLabel = (...names: ReadonlyArray<string>): Value => ({ _tag: "UnsetLabel", names })

/** Takes ports as `expose` does: `"80"` is `80/tcp`. */
export const unsetPort = (...ports: ReadonlyArray<string>): Value => ({ _tag: "UnsetPort", ports })

/** Takes the path as the config has it. */
export const unsetVolume = (...paths: ReadonlyArray<string>): Value => ({ _tag: "UnsetVolume", paths })
