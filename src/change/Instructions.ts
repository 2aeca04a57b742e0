/**
 * The instructions that change a config, and what each takes (github.com/moby/buildkit,
 * frontend/dockerfile/instructions/parse.go).
 */
import * as EffectDuration from "effect/Duration"
import * as Result from "effect/Result"
import * as Duration from "./Duration.ts"
import type { HealthcheckOptions, Value } from "./Model.ts"
import * as Model from "./Model.ts"
import * as Rules from "./Rules.ts"
import { spaces, trim } from "./Space.ts"
import * as Syntax from "./Syntax.ts"
import { fail, type Parsed, type Span } from "./Syntax.ts"

/** A word that is to be expanded, and what it must be then. */
export interface Expandable {
  readonly span: Span
  readonly rule: Rules.Rule
}

/** `words` are those of `value` that may name variables. */
export interface Draft {
  readonly value: Value
  readonly words: ReadonlyArray<Expandable>
}

type Reader = (instruction: Syntax.Instruction) => Parsed<Draft>

const literal = (value: Value): Draft => ({ value, words: [] })
const textOf = ({ text }: Span) => text

const noFlags =
  (read: Reader): Reader =>
  (instruction) => {
    const [flag] = instruction.flags
    return flag === undefined
      ? read(instruction)
      : fail(flag.at, `has the flag ${flag.name}: expected none, or -- before words that begin with --`)
  }

const ofCommand = (make: (command: string | ReadonlyArray<string>) => Value): Reader =>
  noFlags(({ args }) => Result.map(Syntax.command(args), (command) => literal(make(command))))

const ofPairs = (tag: "Env" | "Label", rule: Rules.Rule): Reader =>
  noFlags(({ args }) =>
    Result.flatMap(Syntax.pairs(args), (pairs) => {
      if (pairs.length === 0) return fail(args.at, "is empty: expected NAME=value")
      const blank = pairs.find(([name]) => name.text === "")
      if (blank !== undefined) return fail(blank[0].at, "has a blank name: expected NAME=value")
      return Result.succeed({
        value: { _tag: tag, pairs: pairs.map(([name, value]) => [name.text, value.text] as const) },
        words: pairs.flatMap(([name, value]) => [
          { span: name, rule },
          { span: value, rule: Rules.anything }
        ])
      })
    })
  )

const ofWord = (rule: Rules.Rule, expected: string, make: (text: string) => Value): Reader =>
  noFlags(({ args }) =>
    args.text === ""
      ? fail(args.at, `is empty: expected ${expected}`)
      : Result.succeed({ value: make(args.text), words: [{ span: args, rule }] })
  )

const readExpose: Reader = noFlags(({ args }) => {
  const words = Syntax.words(args)
  return words.length === 0
    ? fail(args.at, "is empty: expected ports as 80, 53/udp or 3000-3005")
    : Result.succeed({
        value: { _tag: "Expose", ports: words.map(textOf) },
        words: words.map((span) => ({ span, rule: Rules.ports }))
      })
})

const readVolume: Reader = noFlags(({ args }) =>
  Result.flatMap(Syntax.jsonWords(args), (list) => {
    const words = list?.map((text) => ({ text: trim(text), at: args.at })) ?? Syntax.words(args)
    if (words.length === 0) return fail(args.at, "is empty: expected paths in the container")
    return Result.succeed({
      value: { _tag: "Volume", paths: words.map(textOf) },
      words: words.map((span) => ({ span, rule: Rules.volume }))
    })
  })
)

const readShell: Reader = noFlags(({ args }) =>
  Result.flatMap(Syntax.jsonWords(args), (command) =>
    command === undefined || command.length === 0
      ? fail(args.at, 'takes a JSON list only, as ["/bin/sh", "-c"]')
      : Result.succeed(literal({ _tag: "Shell", command }))
  )
)

const firstSpace = new RegExp(`[${spaces}]`)

const splitKind = (args: Span): readonly [kind: string, command: Span] => {
  const [kind = ""] = args.text.split(firstSpace, 1)
  return [kind, Syntax.trimSpan({ text: args.text.slice(kind.length), at: args.at + kind.length })]
}

const readHealthcheck: Reader = ({ args, flags, keyword }) => {
  const [kind, rest] = splitKind(args)
  return Result.flatMap(Syntax.command(rest), (command) => {
    switch (kind.toUpperCase()) {
      case "NONE":
        return command.length === 0
          ? Result.succeed(literal({ _tag: "NoHealthcheck" }))
          : fail(rest.at, "NONE has arguments: expected nothing after NONE")
      case "CMD":
        return command.length === 0
          ? fail(rest.at, "has no command: expected CMD and a command, or NONE")
          : Result.map(readCheckFlags(flags), (options) => literal({ _tag: "Healthcheck", command, options }))
      default:
        return fail(kind === "" ? keyword.at : args.at, `has ${JSON.stringify(kind)}: expected CMD or NONE`)
    }
  })
}

const timeFlags: Readonly<Partial<Record<string, Exclude<keyof HealthcheckOptions, "retries">>>> = {
  "--interval": "interval",
  "--timeout": "timeout",
  "--start-period": "startPeriod",
  "--start-interval": "startInterval"
}

const readCheckFlags = (flags: ReadonlyArray<Syntax.Flag>): Parsed<HealthcheckOptions> =>
  Result.gen(function* () {
    let options: HealthcheckOptions = {}
    const seen = new Set<string>()
    for (const flag of flags) {
      if (seen.has(flag.name)) return yield* fail(flag.at, `has ${flag.name} twice: expected it once`)
      seen.add(flag.name)
      options = { ...options, ...(yield* readCheckFlag(flag)) }
    }
    return options
  })

/** A flag with an empty value is as if it were not there. */
const readCheckFlag = ({ name, value, at }: Syntax.Flag): Parsed<HealthcheckOptions> => {
  const option = timeFlags[name]
  if (option === undefined && name !== "--retries") {
    return fail(at, `has the flag ${name}: expected ${[...Object.keys(timeFlags), "--retries"].join(", ")}`)
  }
  if (value === undefined) return fail(at, `has ${name} without a value: expected ${name}=value`)
  if (value === "") return Result.succeed({})
  return option === undefined ? readRetries(value, at) : readTime(option, name, value, at)
}

const readRetries = (value: string, at: number): Parsed<HealthcheckOptions> => {
  const retries = /^[-+]?\d+$/.test(value) ? Number(value) : Number.NaN
  const problem = Rules.retries(retries)
  return problem === undefined ? Result.succeed({ retries }) : fail(at, problem)
}

const readTime = (
  option: Exclude<keyof HealthcheckOptions, "retries">,
  name: string,
  value: string,
  at: number
): Parsed<HealthcheckOptions> =>
  Result.flatMap(
    Result.mapError(Duration.parse(value), (detail) => ({ at, detail: `has ${name}=${value}, which ${detail}` })),
    (nanoseconds) => {
      const problem = Rules.time(name, nanoseconds)
      return problem === undefined ? Result.succeed({ [option]: EffectDuration.nanos(nanoseconds) }) : fail(at, problem)
    }
  )

const isHeredoc = (command: string): boolean =>
  /(?:^|\s)\d*<<-?[\t\r ]*[^\s<]+(?:\s|$)/.test(command.replace(/\\.|'[^']*'|"(?:\\.|[^"\\])*"/gs, "_"))

const mayBeLists = ["run", "cmd", "entrypoint", "shell", "volume", "add", "copy", "healthcheck"]
const mayHaveHeredocs = ["run", "add", "copy"]

/** Of the later build only what Docker looks at now: not whether the instruction is one. */
export const checkTrigger = (span: Span): Parsed<void> => {
  const { keyword, args } = Syntax.splitLine(span)
  const name = keyword.text.toLowerCase()
  if (["", "onbuild", "maintainer", "from"].includes(name)) {
    return fail(keyword.at, "takes an instruction for a build other than ONBUILD, MAINTAINER and FROM")
  }
  if (name === "env" || name === "label") return Result.map(Syntax.pairs(args), () => undefined)
  if (!mayBeLists.includes(name)) return Result.succeed(undefined)
  const command = name === "healthcheck" ? splitKind(args)[1] : args
  return Result.flatMap(Syntax.jsonWords(command), (list) =>
    mayHaveHeredocs.includes(name) && list === undefined && isHeredoc(args.text)
      ? fail(args.at, "has a here-document (<<), which is not supported: expected one line")
      : Result.succeed(undefined)
  )
}

const readOnBuild: Reader = noFlags(({ line, args }) =>
  Result.map(checkTrigger(args), () =>
    literal(Model.onBuild(line.text.replace(/^[\t\n\f\r ]*ONBUILD[\t\n\f\r ]*/i, "")))
  )
)

const readStopSignal: Reader = (instruction) =>
  // Docker looks at no flag here
  ofWord(Rules.signal, "a signal as SIGTERM, TERM or 15", Model.stopSignal)({ ...instruction, flags: [] })

/** By keyword in lower case. */
export const readers: ReadonlyMap<string, Reader> = new Map<string, Reader>([
  ["cmd", ofCommand(Model.cmd)],
  ["entrypoint", ofCommand(Model.entrypoint)],
  ["env", ofPairs("Env", Rules.variable)],
  ["expose", readExpose],
  ["healthcheck", readHealthcheck],
  ["label", ofPairs("Label", Rules.label)],
  ["onbuild", readOnBuild],
  ["shell", readShell],
  ["stopsignal", readStopSignal],
  ["user", ofWord(Rules.anything, "a user, with or without :group", Model.user)],
  ["volume", readVolume],
  ["workdir", ofWord(Rules.workDir, "a path in the container", Model.workDir)]
])
