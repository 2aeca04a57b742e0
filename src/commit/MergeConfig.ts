/**
 * What containers of the new image run: the caller's choice, then the container's, then the image's.
 *
 * The rules are those of moby (`merge` in daemon/commit.go), but that a change is never undone by the merge: with
 * `docker commit`, `CMD []` brings the container's command back. Nothing that is given is changed.
 *
 * @since 0.1.0
 */
import * as Result from "effect/Result"
import * as Change from "../change/Change.ts"
import type { ChangeError } from "../change/ChangeError.ts"
import * as ImageConfig from "../oci/ImageConfig.ts"
import type * as RuntimeSpec from "../oci/RuntimeSpec.ts"
import type { Request } from "./Options.ts"
import type { Source } from "./Resolve.ts"

type Config = ImageConfig.ContainerConfig

const nameOf = (variable: string): string => variable.split("=", 1)[0] ?? ""

/** The own variables in their order, then those that are missing. */
const mergeEnv = (own: ReadonlyArray<string>, other: ReadonlyArray<string>): ReadonlyArray<string> => {
  const names = new Set(own.map(nameOf))
  return [...own, ...other.filter((variable) => !names.has(nameOf(variable)))]
}

const isEmpty = (value: { readonly length: number } | null | undefined) => value == null || value.length === 0

/** An absent list and an empty one are not the same: `[]` takes an inherited entrypoint away. */
const mergeCommand = (own: Config, other: Config): Pick<Config, "Cmd" | "Entrypoint"> => {
  if (!isEmpty(own.Entrypoint)) return {}
  return {
    ...(isEmpty(own.Cmd) && other.Cmd != null ? { Cmd: other.Cmd } : {}),
    ...(own.Entrypoint == null && other.Entrypoint != null ? { Entrypoint: other.Entrypoint } : {})
  }
}

const healthKeys = ["Interval", "Timeout", "StartPeriod", "StartInterval", "Retries"] as const

const mergeHealthcheck = (own: Config, other: Config): Pick<Config, "Healthcheck"> => {
  const [mine, theirs] = [own.Healthcheck, other.Healthcheck]
  if (theirs == null) return {}
  if (mine == null) return { Healthcheck: theirs }
  const missing = healthKeys.filter((key) => !mine[key] && theirs[key])
  return {
    Healthcheck: {
      ...mine,
      ...(isEmpty(mine.Test) && theirs.Test != null ? { Test: theirs.Test } : {}),
      ...Object.fromEntries(missing.map((key) => [key, theirs[key]]))
    }
  }
}

const mergeTexts = (own: Config, other: Config) =>
  Object.fromEntries(
    (["User", "WorkingDir", "StopSignal"] as const)
      .filter((key) => isEmpty(own[key]) && !isEmpty(other[key]))
      .map((key) => [key, other[key]])
  )

const mergeMaps = (own: Config, other: Config) =>
  Object.fromEntries(
    (["ExposedPorts", "Labels", "Volumes"] as const)
      .filter((key) => other[key] != null)
      .map((key) => [key, { ...other[key], ...own[key] }])
  )

/** Fills what the first leaves open from the second. */
export const merge = (own: Config, other: Config): Config => ({
  ...own,
  ...mergeTexts(own, other),
  ...mergeMaps(own, other),
  ...(other.Env == null ? {} : { Env: mergeEnv(own.Env ?? [], other.Env) }),
  ...mergeCommand(own, other),
  ...mergeHealthcheck(own, other)
})

/** The container's name for itself is no part of an image. */
const isOwn = (variable: string) => nameOf(variable) === "HOSTNAME"

const userOf = (user: { readonly uid: number; readonly gid: number } | null | undefined) =>
  user == null || (user.uid === 0 && user.gid === 0) ? {} : { User: `${user.uid}:${user.gid}` }

/**
 * What the container runs, from its OCI spec: everything that it was given, secrets in its environment included. Its
 * arguments are the command; nothing tells which of them were an entrypoint.
 */
export const fromSpec = (image: Config, { process }: RuntimeSpec.RuntimeSpec): Config => {
  if (process == null) return image
  const { Entrypoint: _, ...rest } = image
  return {
    ...rest,
    ...userOf(process.user),
    ...(process.env == null ? {} : { Env: process.env.filter((variable) => !isOwn(variable)) }),
    ...(process.args == null ? {} : { Cmd: process.args }),
    ...(process.cwd == null ? {} : { WorkingDir: process.cwd })
  }
}

/**
 * Of the new image; `null` and `undefined` stay what they are in the parent. Fails for a change that turns out to be
 * wrong when its variables are known.
 */
export const newContainerConfig = (
  image: Config | null | undefined,
  source: Pick<Source, "config" | "spec">,
  { changes, config, configFrom, containerConfig, mergeConfig }: Request
): Result.Result<Config | null | undefined, ChangeError> => {
  const told = configFrom === "container" ? fromSpec(image ?? {}, source.spec) : image
  const own = containerConfig === undefined ? source.config : ImageConfig.ofContainer(containerConfig)
  const container = own ?? told
  const whole = config === undefined ? container : mergeConfig === false ? config : merge(config, container ?? {})
  return changes.length === 0 ? Result.succeed(whole) : Change.apply(whole ?? {}, changes)
}
