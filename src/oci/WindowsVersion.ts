/**
 * Which Windows runs the containers of which other, as containerd decides it
 * (Microsoft, "Windows container version compatibility").
 */

interface Version {
  readonly major: number
  readonly minor: number
  readonly build: number
}

/** The builds with a stable interface for containers: Windows Server 2022 and 2025. */
const stable = [20348, 26100] as const

const parse = (text: string): Version | undefined => {
  const [, major, minor, build] = /^(\d+)\.(\d+)\.(\d+)(?:\.|$)/.exec(text) ?? []
  return major === undefined ? undefined : { major: Number(major), minor: Number(minor), build: Number(build) }
}

/**
 * Whether a host of version `host` runs an image of version `image`, both like `10.0.20348.1`. An absent version on either side, or
 * one of the host that cannot be read, refuses nothing. Before Server 2022 the builds must be equal; a later host also runs what is as
 * new as the stable release before it.
 */
export const runs = (host: string, image: string): boolean => {
  const on = parse(host)
  const of = parse(image)
  if (on === undefined || image === "") return true
  if (of === undefined || on.major !== of.major || on.minor !== of.minor) return false
  if (on.build < stable[0]) return on.build === of.build
  const oldest = on.build > stable[1] ? stable[1] : stable[0]
  return oldest <= of.build && of.build <= on.build
}
