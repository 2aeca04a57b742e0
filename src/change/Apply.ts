/**
 * What changes make of a config: moby's dispatchers (github.com/moby/moby, daemon/builder/dockerfile/dispatchers.go),
 * for Linux.
 */
import * as posix from "node:path/posix"
import * as EffectDuration from "effect/Duration"
import * as Result from "effect/Result"
import type { ContainerConfig, Healthcheck } from "../oci/ImageConfig.ts"
import { ChangeError } from "./ChangeError.ts"
import { environment, expand } from "./Expand.ts"
import { checkTrigger } from "./Instructions.ts"
import type { Change, Command, HealthcheckOptions, Value } from "./Model.ts"
import * as Port from "./Port.ts"
import * as Rules from "./Rules.ts"

/** `cmdSet`: an earlier change has set the command, so that an entrypoint keeps it. */
interface State {
  readonly config: ContainerConfig
  readonly cmdSet: boolean
}

/**
 * Fails for the first value that Docker would not take. What `parse` gives is right already, so far as it can be known
 * without the environment.
 */
export const check = (changes: ReadonlyArray<Change>): Result.Result<void, ChangeError> =>
  Result.map(Result.all(changes.filter((change) => change._tag !== "Template").map(checked)), () => undefined)

/**
 * The config after the changes, in turn: each sees the environment that the earlier ones have made. The given config
 * stays as it is, and so do keys that no change names. What becomes empty is left out, as Docker writes it.
 *
 * Docker then fills what is empty from the container: there `ENTRYPOINT []` and `USER ""` are without effect, a health
 * check takes over the times that it does not set, and Docker sees no `SHELL` of the parent. Here a change means what
 * it says, as in a Dockerfile.
 */
export const apply = (
  config: ContainerConfig,
  changes: ReadonlyArray<Change>
): Result.Result<ContainerConfig, ChangeError> =>
  Result.gen(function* () {
    let state: State = { config, cmdSet: false }
    for (const change of changes) state = step(state, yield* resolve(change, state.config))
    return state.config
  })

const resolve = (change: Change, config: ContainerConfig): Result.Result<Value, ChangeError> => {
  if (change._tag !== "Template") return checked(change)
  const { text, line, column, value } = change
  const failure = (detail: string) => new ChangeError({ instruction: keywordOf(value), text, line, column, detail })
  return Result.gen(function* () {
    const expanded = yield* Result.mapError(expand(value, environment(config.Env ?? [])), failure)
    const wrong = Rules.wrong(expanded)
    return wrong === undefined ? expanded : yield* Result.fail(failure(wrong.detail))
  })
}

const checked = (value: Value): Result.Result<Value, ChangeError> => {
  const wrong = Rules.wrong(value) ?? (value._tag === "OnBuild" ? wrongTrigger(value.instruction) : undefined)
  return wrong === undefined
    ? Result.succeed(value)
    : Result.fail(new ChangeError({ instruction: keywordOf(value), ...wrong }))
}

const wrongTrigger = (text: string): Rules.Wrong | undefined => {
  if (text.includes("\n")) return { text, detail: "has several lines: expected one" }
  return Result.match(checkTrigger({ text, at: 0 }), {
    onFailure: ({ detail }) => ({ text, detail }),
    onSuccess: () => undefined
  })
}

const keywordOf = ({ _tag }: Value): string =>
  _tag === "NoHealthcheck" ? "HEALTHCHECK" : _tag.replace(/^Unset/, "unset ").toUpperCase()

const step = ({ config, cmdSet }: State, value: Value): State => {
  switch (value._tag) {
    case "Cmd":
      return { config: setCmd(config, commandLine(config, value.command)), cmdSet: cmdSet || value.command.length > 0 }
    case "Entrypoint": {
      const command = value.command.length === 0 ? [] : commandLine(config, value.command)
      return { config: setEntrypoint(cmdSet ? config : setCmd(config, []), command), cmdSet }
    }
    default:
      return { config: change(config, value), cmdSet }
  }
}

const change = (
  config: ContainerConfig,
  value: Exclude<Value, { readonly _tag: "Cmd" | "Entrypoint" }>
): ContainerConfig => {
  switch (value._tag) {
    case "Env":
      return setEnv(config, value.pairs.reduce(withVariable, config.Env ?? []))
    case "UnsetEnv": {
      const names = new Set(value.names)
      return setEnv(
        config,
        (config.Env ?? []).filter((entry) => !names.has(nameOf(entry)))
      )
    }
    case "Label":
      return setLabels(config, { ...config.Labels, ...Object.fromEntries(value.pairs) })
    case "UnsetLabel":
      return setLabels(config, without(config.Labels ?? {}, value.names))
    case "Expose":
      return setPorts(config, { ...config.ExposedPorts, ...keySet(portsOf(value.ports)) })
    case "UnsetPort":
      return setPorts(config, without(config.ExposedPorts ?? {}, portsOf(value.ports)))
    case "Volume":
      return setVolumes(config, { ...config.Volumes, ...keySet(value.paths) })
    case "UnsetVolume":
      return setVolumes(config, without(config.Volumes ?? {}, value.paths))
    case "Healthcheck":
      return { ...config, Healthcheck: healthcheck(value.command, value.options) }
    case "NoHealthcheck":
      return { ...config, Healthcheck: { Test: ["NONE"] } }
    case "OnBuild":
      return { ...config, OnBuild: [...(config.OnBuild ?? []), value.instruction] }
    case "Shell":
      return { ...config, Shell: value.command }
    case "StopSignal":
      return { ...config, StopSignal: value.signal }
    case "User":
      return setUser(config, value.user)
    case "WorkDir":
      return { ...config, WorkingDir: workingDir(config.WorkingDir ?? "", value.path) }
  }
}

const defaultShell = ["/bin/sh", "-c"]

/** A text without words is the shell alone. */
const commandLine = ({ Shell }: ContainerConfig, command: Command): ReadonlyArray<string> => {
  if (typeof command !== "string") return command
  const shell = Shell === undefined || Shell === null || Shell.length === 0 ? defaultShell : Shell
  return command === "" ? shell : [...shell, command]
}

const nameOf = (entry: string): string => entry.split("=", 1)[0] ?? ""

/** In the place of the first of that name. */
const withVariable = (
  entries: ReadonlyArray<string>,
  [name, value]: readonly [name: string, value: string]
): ReadonlyArray<string> => {
  const at = entries.findIndex((entry) => nameOf(entry) === name)
  return at < 0 ? [...entries, `${name}=${value}`] : entries.with(at, `${name}=${value}`)
}

const portsOf = (texts: ReadonlyArray<string>): ReadonlyArray<string> =>
  texts.flatMap((text) => Result.getOrElse(Port.parse(text), () => []))

const keySet = (keys: ReadonlyArray<string>) => Object.fromEntries(keys.map((key) => [key, {}]))

const without = <A>(entries: Readonly<Record<string, A>>, keys: ReadonlyArray<string>): Readonly<Record<string, A>> => {
  const removed = new Set(keys)
  return Object.fromEntries(Object.entries(entries).filter(([key]) => !removed.has(key)))
}

/** As `filepath.Clean` of Go: no slash at the end. */
const workingDir = (current: string, path: string): string => posix.resolve("/", current, path)

/** Nanoseconds; 0 is left out. */
const healthcheck = (command: Command, options: HealthcheckOptions): Healthcheck => {
  const time = (input: EffectDuration.Input | undefined) => {
    const nanoseconds = EffectDuration.toNanosUnsafe(input ?? 0)
    return nanoseconds > Number.MAX_SAFE_INTEGER ? nanoseconds : Number(nanoseconds)
  }
  const numbers = {
    Interval: time(options.interval),
    Timeout: time(options.timeout),
    StartPeriod: time(options.startPeriod),
    StartInterval: time(options.startInterval),
    Retries: options.retries ?? 0
  }
  const { Interval, Timeout, StartPeriod, StartInterval, Retries } = numbers
  return {
    Test: typeof command === "string" ? ["CMD-SHELL", command] : ["CMD", ...command],
    ...(Interval === 0 ? {} : { Interval }),
    ...(Timeout === 0 ? {} : { Timeout }),
    ...(StartPeriod === 0 ? {} : { StartPeriod }),
    ...(StartInterval === 0 ? {} : { StartInterval }),
    ...(Retries === 0 ? {} : { Retries })
  }
}

const isEmpty = (value: object): boolean => Object.keys(value).length === 0

type Strings = ReadonlyArray<string>
type Keys = Readonly<Record<string, unknown>>

// ArgsEscaped is of Windows: Docker sets it to false
const setCmd = ({ Cmd: _, ArgsEscaped: _a, ...rest }: ContainerConfig, Cmd: Strings): ContainerConfig =>
  isEmpty(Cmd) ? rest : { ...rest, Cmd }

const setEntrypoint = (
  { Entrypoint: _, ArgsEscaped: _a, ...rest }: ContainerConfig,
  Entrypoint: Strings
): ContainerConfig => (isEmpty(Entrypoint) ? rest : { ...rest, Entrypoint })

const setEnv = ({ Env: _, ...rest }: ContainerConfig, Env: Strings): ContainerConfig =>
  isEmpty(Env) ? rest : { ...rest, Env }

const setPorts = ({ ExposedPorts: _, ...rest }: ContainerConfig, ExposedPorts: Keys): ContainerConfig =>
  isEmpty(ExposedPorts) ? rest : { ...rest, ExposedPorts }

const setVolumes = ({ Volumes: _, ...rest }: ContainerConfig, Volumes: Keys): ContainerConfig =>
  isEmpty(Volumes) ? rest : { ...rest, Volumes }

const setLabels = (
  { Labels: _, ...rest }: ContainerConfig,
  Labels: Readonly<Record<string, string>>
): ContainerConfig => (isEmpty(Labels) ? rest : { ...rest, Labels })

const setUser = ({ User: _, ...rest }: ContainerConfig, User: string): ContainerConfig =>
  User === "" ? rest : { ...rest, User }
