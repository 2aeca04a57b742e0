/**
 * Platforms: what an image is built for, written as `os/architecture/variant` and compared as containerd compares them
 * (github.com/containerd/platforms, `Parse`, `FormatAll`, `Normalize` and `Only`).
 */
import * as os from "node:os"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { open } from "./Json.ts"
import { OciError } from "./OciError.ts"
import * as WindowsVersion from "./WindowsVersion.ts"

/** OCI image-spec, image-index.md "platform": names as in Go's `GOOS` and `GOARCH`. Keys that it does not name are kept. */
export const Platform = open({
  architecture: Schema.String,
  os: Schema.String,
  "os.version": Schema.optionalKey(Schema.String),
  "os.features": Schema.optionalKey(Schema.Array(Schema.String)),
  variant: Schema.optionalKey(Schema.String)
})
export type Platform = typeof Platform.Type

/** An architecture and its variant, `""` for the usual one. */
interface Cpu {
  readonly architecture: string
  readonly variant: string
}

const knownOs = new Set(
  "aix android darwin dragonfly freebsd hurd illumos ios js linux nacl netbsd openbsd plan9 solaris windows zos".split(
    " "
  )
)

const knownArchitectures = new Set(
  (
    "386 amd64 amd64p32 arm armbe arm64 arm64be ppc64 ppc64le loong64 mips mipsle mips64 mips64le mips64p32 mips64p32le " +
    "ppc riscv riscv64 s390 s390x sparc sparc64 wasm"
  ).split(" ")
)

/**
 * The platform of this process. Node does not tell the variant of a 32-bit ARM: it is taken to be v7.
 * It is the client's, which is containerd's only where both run on one machine.
 */
export const host = (): Platform => {
  const renamedOs: Partial<Record<string, string>> = { win32: "windows", sunos: "solaris" }
  const renamedArchitecture: Partial<Record<string, string>> = { x64: "amd64", ia32: "386", mipsel: "mipsle" }
  const architecture = renamedArchitecture[process.arch] ?? process.arch
  return {
    architecture: architecture === "ppc64" && os.endianness() === "LE" ? "ppc64le" : architecture,
    os: renamedOs[process.platform] ?? process.platform,
    ...(architecture === "arm" ? { variant: "v7" } : {})
  }
}

const normalizeOs = (name: string): string => {
  if (name === "") return host().os
  const lower = name.toLowerCase()
  return lower === "macos" ? "darwin" : lower
}

const normalizeCpu = (cpu: Cpu): Cpu => {
  const architecture = cpu.architecture.toLowerCase()
  const variant = cpu.variant.toLowerCase()
  switch (architecture) {
    case "i386":
      return { architecture: "386", variant: "" }
    case "x86_64":
    case "x86-64":
    case "amd64":
      return { architecture: "amd64", variant: variant === "v1" ? "" : variant }
    case "aarch64":
    case "arm64":
      if (["8", "v8", "v8.0"].includes(variant)) return { architecture: "arm64", variant: "" }
      return { architecture: "arm64", variant: ["9", "9.0", "v9.0"].includes(variant) ? "v9" : variant }
    case "armhf":
      return { architecture: "arm", variant: "v7" }
    case "armel":
      return { architecture: "arm", variant: "v6" }
    case "arm":
      if (variant === "") return { architecture, variant: "v7" }
      return { architecture, variant: /^[5-8]$/.test(variant) ? `v${variant}` : variant }
    default:
      return { architecture, variant }
  }
}

const cpuOf = ({ architecture, variant = "" }: Platform): Cpu => ({ architecture, variant })

const withCpu = ({ variant: _, ...rest }: Platform, { architecture, variant }: Cpu): Platform => ({
  ...rest,
  architecture,
  ...(variant === "" ? {} : { variant })
})

/**
 * The canonical names: `aarch64` is `arm64`, `x86_64` is `amd64`, `macos` is `darwin`, an absent `os` is this process's; `arm` always
 * has a variant, `arm64` v8 and `amd64` v1 never; features are sorted, each once.
 */
export const normalize = (platform: Platform): Platform => {
  const features = platform["os.features"]
  return {
    ...withCpu(platform, normalizeCpu(cpuOf(platform))),
    os: normalizeOs(platform.os),
    ...(features === undefined ? {} : { "os.features": [...new Set(features)].sort() })
  }
}

const osPattern = /^([A-Za-z0-9_-]+)(?:\(([A-Za-z0-9_.%-]*)((?:\+[A-Za-z0-9_.%-]+)*)\))?$/
const partPattern = /^[A-Za-z0-9_.-]+$/

/**
 * Reads `os`, `architecture`, `os/architecture` or `os/architecture/variant`; the OS may carry a version and features in parentheses,
 * percent-encoded: `windows(10.0.17763+win32k)/amd64`. A missing half is this process's. Fails with an `OciError` of kind `platform`.
 */
export const parse = (specifier: string): Result.Result<Platform, OciError> => {
  const invalid = (detail: string) => Result.fail(new OciError({ kind: "platform", input: specifier, detail }))
  const [first = "", ...rest] = specifier.split("/")
  const [, name, version = "", features = ""] = osPattern.exec(first) ?? []
  if (name === undefined) return invalid("expected an os or architecture first, like linux or windows(10.0.17763)")
  if (rest.length > 2) return invalid("expected os/architecture/variant")
  if (!rest.every((part) => partPattern.test(part))) {
    return invalid("architecture and variant are made of letters, digits, dots, dashes and underscores")
  }
  const target = rest.length === 0 ? complete(first, name) : Option.some({ os: normalizeOs(name), ...parseCpu(rest) })
  if (Option.isNone(target)) return invalid("unknown operating system or architecture")
  const options = decodeOptions(version, features)
  if (Option.isNone(options)) return invalid("bad percent-encoding in the os version or features")
  return Result.succeed(withCpu({ ...target.value, ...options.value }, target.value))
}

const complete = (text: string, name: string): Option.Option<Cpu & { readonly os: string }> => {
  const os = normalizeOs(name)
  if (knownOs.has(os)) return Option.some({ os, architecture: host().architecture, variant: "" })
  const cpu = parseCpu([text])
  return knownArchitectures.has(cpu.architecture) ? Option.some({ os: host().os, ...cpu }) : Option.none()
}

// containerd leaves arm's default out when no variant is asked for, and writes arm64's when one is
const parseCpu = ([architecture = "", variant]: ReadonlyArray<string>): Cpu => {
  const cpu = normalizeCpu({ architecture, variant: variant ?? "" })
  if (variant === undefined && cpu.architecture === "arm" && cpu.variant === "v7") return { ...cpu, variant: "" }
  if (variant !== undefined && cpu.architecture === "arm64" && cpu.variant === "") return { ...cpu, variant: "v8" }
  return cpu
}

const decodePercent = Option.liftThrowable(decodeURIComponent)

const decodeOptions = (version: string, features: string) =>
  Option.gen(function* () {
    const osVersion = yield* decodePercent(version)
    const osFeatures = yield* Option.all(features.split("+").slice(1).map(decodePercent))
    return {
      ...(osVersion === "" ? {} : { "os.version": osVersion }),
      ...(osFeatures.length === 0 ? {} : { "os.features": osFeatures })
    }
  })

// encodeURIComponent leaves parentheses as they are
const encodePercent = (text: string) =>
  text.replace(/[%+()/]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)

/** The specifier that `parse` reads, with OS version and sorted features; `unknown` without an OS. */
export const format = (platform: Platform): string => {
  if (platform.os === "") return "unknown"
  const features = [...new Set(platform["os.features"] ?? [])].filter((feature) => feature !== "").sort()
  const options = [encodePercent(platform["os.version"] ?? ""), ...features.map(encodePercent)].join("+")
  const os = options === "" ? platform.os : `${platform.os}(${options})`
  return [os, platform.architecture, platform.variant ?? ""].filter((part) => part !== "").join("/")
}

// what a CPU runs, the best first; older variants down to v1 of amd64, v5 of arm, v8 of arm64, then the 32-bit sibling
const runnable = (cpu: Cpu): ReadonlyArray<Cpu> => {
  const { architecture, variant } = cpu
  const version = Number(/^v(\d)$/.exec(variant)?.[1] ?? 0)
  switch (architecture) {
    case "amd64":
      return [cpu, ...down("amd64", "v", version - 1, 1), { architecture: "386", variant: "" }]
    case "arm":
      return [cpu, ...down("arm", "v", version - 1, 5)]
    case "arm64": {
      const [, major, minor = "0"] = /^v([89])(?:\.(\d))?$/.exec(variant || "v8") ?? []
      if (major === undefined) return [cpu]
      // Armv9.n has what Armv8.(n+5) has
      const v8 = major === "8" ? Number(minor) : Math.min(Number(minor) + 5, 9)
      const v9 = major === "9" ? down("arm64", "v9.", Number(minor), 0) : []
      return [...v9, ...down("arm64", "v8.", v8, 0), ...runnable({ architecture: "arm", variant: "v8" })]
    }
    default:
      return [cpu]
  }
}

const down = (architecture: string, prefix: string, from: number, to: number): ReadonlyArray<Cpu> =>
  Array.from({ length: Math.max(from - to + 1, 0) }, (_, step) =>
    normalizeCpu({ architecture, variant: `${prefix}${from - step}` })
  )

/** The place of `candidate` among what `wanted` runs, 0 the best; None when it does not run. */
const rank = (wanted: Platform) => {
  const normalWanted = normalize(wanted)
  const cpus = runnable(cpuOf(normalWanted))
  const features = new Set(normalWanted["os.features"])
  return (candidate: Platform): Option.Option<number> => {
    const normal = normalize(candidate)
    const { os, "os.version": version = "", "os.features": needed = [] } = normal
    const cpu = cpuOf(normal)
    const place = cpus.findIndex((each) => each.architecture === cpu.architecture && each.variant === cpu.variant)
    const runs =
      os === normalWanted.os &&
      (os !== "windows" || WindowsVersion.runs(normalWanted["os.version"] ?? "", version)) &&
      // containerd lets any Windows run images that ask for the graphical subsystem
      needed.every((feature) => features.has(feature) || (os === "windows" && feature === "win32k"))
    return runs && place >= 0 ? Option.some(place) : Option.none()
  }
}

/**
 * Whether an image for `candidate` runs on `wanted`: the same OS, an architecture and variant that it runs (`arm/v6` on `arm/v7`, `386` on
 * `amd64`, `arm` on `arm64`), no feature that it lacks, and on Windows a build that it runs.
 */
export const matches = (wanted: Platform): ((candidate: Platform) => boolean) => {
  const rankOf = rank(wanted)
  return (candidate) => Option.isSome(rankOf(candidate))
}

/**
 * The candidate that runs best on `wanted`: nearest variant first, then most features, then the earlier one. As in containerd a candidate
 * that names no platform is taken when no other matches; what its image config says is then to be checked with `matches`.
 */
export const select = <A>(
  wanted: Platform,
  candidates: ReadonlyArray<A>,
  get: (candidate: A) => Platform | undefined
): Option.Option<A> => {
  const rankOf = rank(wanted)
  const ranked = candidates.flatMap((candidate) => {
    const platform = get(candidate)
    if (platform === undefined) return [{ candidate, place: Number.POSITIVE_INFINITY, features: 0 }]
    const features = platform["os.features"]?.length ?? 0
    return Option.toArray(Option.map(rankOf(platform), (place) => ({ candidate, place, features })))
  })
  const [best] = ranked.sort((a, b) => (a.place === b.place ? b.features - a.features : a.place - b.place))
  return best === undefined ? Option.none() : Option.some(best.candidate)
}
