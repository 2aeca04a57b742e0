// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are Docker's
import { assert, describe, it } from "@effect/vitest"
import { Duration, Result, Schema } from "effect"
import type { ImageConfig } from "effect-containerd"
import * as Change from "../../src/change/Change.ts"
import type { ChangeError } from "../../src/change/ChangeError.ts"
import { accepted, different, parent, refused, stricter, wider } from "./Texts.ts"

const parse = (text: string) => Result.getOrThrow(Change.parse(text))
const applied = (config: ImageConfig.ContainerConfig, ...changes: ReadonlyArray<Change.Change>) =>
  Result.getOrThrow(Change.apply(config, changes))
const change = (text: string, config: ImageConfig.ContainerConfig = parent) => applied(config, ...parse(text))
const errorOf = <A>(result: Result.Result<A, ChangeError>) => Result.getOrThrow(Result.flip(result))

/** Without what is no longer there. */
const present = (config: object) =>
  Object.fromEntries(Object.entries(config).filter(([, value]) => value !== undefined))

const dependsOnEnvironment = new Set([
  ...["ENV A=${NOPE?}", "ENV A=${EMPTY:?}", "ENV A=${NOPE:?missing}", "ENV A=${A:-${NOPE?}}"],
  ...["EXPOSE $A", "STOPSIGNAL $NOPE", "VOLUME $NOPE", "WORKDIR $NOPE", "ENV $NOPE=x", "LABEL $NOPE=x"]
])

describe("a text", () => {
  it.each(accepted)("makes of the parent what Docker makes: %j", (text, changed) => {
    assert.deepStrictEqual(present(change(text)), present({ ...parent, ...changed }))
  })

  it.each(different)("means what it says: %j", (text, ours) => {
    assert.deepStrictEqual(present(change(text)), present({ ...parent, ...ours }))
  })

  it.each([...refused, ...stricter.map(([text]) => text)])("is refused, and as early as can be: %j", (text) => {
    const changes = Change.parse(text)
    assert.strictEqual(Result.isSuccess(changes), dependsOnEnvironment.has(text))
    const error = errorOf(Result.flatMap(changes, (changes) => Change.apply(parent, changes)))
    assert.strictEqual(error.text, text)
    assert.isAbove(error.detail.length, 0)
  })

  it.each(wider)("is taken: %j", (text) => {
    assert.isAbove(parse(text).length, 0)
  })
})

describe("Change.parse", () => {
  it("gives values where there are no variables, else templates with their place", () => {
    const text = '# a\nUSER "a b"\n  ENV A=1 \\\n  B=$A'
    assert.deepStrictEqual(parse(text), [
      Change.user("a b"),
      {
        _tag: "Template",
        value: {
          _tag: "Env",
          pairs: [
            ["A", "1"],
            ["B", "$A"]
          ]
        },
        text,
        line: 3,
        column: 3
      }
    ])
  })

  it.each([
    ["FOO x", 1, 1, "FOO is not a change: expected CMD, ENTRYPOINT, ENV"],
    ["", 1, 1, "the text has no instruction: expected CMD"],
    ["USER a\n\n  EXPOSE 80 90/x", 3, 13, 'EXPOSE has "90/x": expected the protocol tcp, udp or sctp'],
    ["ENV A=1 \\\n# c\n\n   B", 4, 4, 'ENV has "B" without =: expected NAME=value, with quotes around white space'],
    ["env A='x", 1, 7, "ENV misses the closing ' of a quotation"],
    ["ENV A=${B=c}", 1, 7, 'ENV has "=" after "${B": expected } :- :+ :? - + ? # ## % %% / or //'],
    ["HEALTHCHECK --retries=1 --interval=5 CMD x", 1, 25, "HEALTHCHECK has --interval=5, which is no duration"],
    ["HEALTHCHECK CMD \\\n []", 2, 2, "HEALTHCHECK has no command: expected CMD and a command, or NONE"],
    ["ONBUILD  FROM x", 1, 10, "ONBUILD takes an instruction for a build other than ONBUILD, MAINTAINER and FROM"],
    ["# syntax=x\n# escape=`", 2, 1, "# escape is not supported"],
    ["SHELL bash -c", 1, 7, 'SHELL takes a JSON list only, as ["/bin/sh", "-c"]'],
    ["USER", 1, 5, "USER is empty: expected a user, with or without :group"]
  ])("says where and what is wrong: %j", (text, line, column, message) => {
    const error = errorOf(Change.parse(text))
    assert.deepStrictEqual([error.line, error.column], [line, column])
    const start = `invalid change ${JSON.stringify(text.split("\n")[line - 1])} (line ${line}, column ${column}): `
    assert.strictEqual(error.message.slice(0, start.length + message.length), start + message)
  })

  it("refuses long instructions, and says so shortly", () => {
    const [long, words] = ["x".repeat(65_530), "1".repeat(65_000)]
    assert.strictEqual(parse(`USER ${long}`).length, 1)
    for (const text of [`USER x${long}`, long, `CMD [${words}, 1]`, `EXPOSE ${words}`, "USER x\\\n".repeat(1e5)]) {
      assert.isBelow(errorOf(Change.parse(text)).message.length, 600)
    }
  })

  it("reads a text with a byte order mark", () => {
    assert.deepStrictEqual(parse("\ufeffUSER x"), [Change.user("x")])
  })

  const noise = Schema.String.check(Schema.isPattern(/^[A-Z]{0,3}[-a-zA ="'\\$#%{}:?+/[\]\n\t,0-9]{0,60}$/))
  const keyword = Schema.Literals(
    "ENV LABEL EXPOSE HEALTHCHECK ONBUILD CMD SHELL VOLUME WORKDIR USER STOPSIGNAL".split(" ")
  )
  it.prop("never throws", [keyword, Schema.Union([Schema.String, noise])], ([keyword, text]) => {
    const changes = Change.parse(`${keyword} ${text}`)
    if (Result.isFailure(changes)) assert.isAbove(changes.failure.line ?? 0, 0)
    else Change.apply(parent, changes.success)
  })
})

/** For a value without line breaks in its words. */
const print = (value: Change.Value): string => {
  const word = (text: string) => `"${text.replace(/["$\\]/g, "\\$&")}"`
  const pairs = (pairs: ReadonlyArray<readonly [string, string]>) =>
    pairs.map(([name, text]) => `${word(name)}=${word(text)}`).join(" ")
  switch (value._tag) {
    case "Cmd":
    case "Entrypoint":
      return `${value._tag} ${typeof value.command === "string" ? value.command : JSON.stringify(value.command)}`
    case "Shell":
      return `SHELL ${JSON.stringify(value.command)}`
    case "Env":
    case "Label":
      return `${value._tag} ${pairs(value.pairs)}`
    case "Volume":
      return `VOLUME ${JSON.stringify(value.paths.map(word))}`
    case "User":
      return `USER ${word(value.user)}`
    case "WorkDir":
      return `WORKDIR ${word(value.path)}`
    default:
      return ""
  }
}

describe("a printed value", () => {
  const word = Schema.String.check(Schema.isPattern(/^[a-zA-Z"'\\$#{}é😀 .:;<>|&*\t]{1,12}$/u))
  const name = Schema.String.check(Schema.isPattern(/^[a-zA-Z"'\\$# .]{1,8}$/))
  const words = Schema.NonEmptyArray(Schema.String.check(Schema.isPattern(/^[^\ud800-\udfff]{0,12}$/u)))
  const values = Schema.Union([
    Schema.Struct({ _tag: Schema.Literals(["Cmd", "Entrypoint"]), command: words }),
    Schema.Struct({ _tag: Schema.Literal("Shell"), command: words }),
    Schema.Struct({ _tag: Schema.Literals(["Env", "Label"]), pairs: Schema.NonEmptyArray(Schema.Tuple([name, word])) }),
    Schema.Struct({ _tag: Schema.Literal("Volume"), paths: Schema.NonEmptyArray(word) }),
    Schema.Struct({ _tag: Schema.Literal("User"), user: word }),
    Schema.Struct({ _tag: Schema.Literal("WorkDir"), path: word })
  ])
  it.prop("is read as the same value", [values], ([value]) => {
    assert.deepStrictEqual(parse(print(value)), [value])
  })
})

describe("Change.apply", () => {
  it("leaves the given config as it is, and keeps what it does not know", () => {
    const config = Object.freeze({ ...parent, Memory: 5n, Env: Object.freeze(["EMPTY=", "A=1"]) })
    const all = [
      ...accepted.flatMap(([text]) => parse(text)),
      ...[Change.unsetEnv("A"), Change.unsetLabel("a"), Change.unsetPort("80"), Change.unsetVolume("/a")]
    ]
    assert.strictEqual(applied(config, ...all)["Memory"], 5n)
    assert.deepStrictEqual(config, { ...parent, Memory: 5n, Env: ["EMPTY=", "A=1"] })
    assert.strictEqual(applied(config), config)
  })

  it("begins with nothing where Docker has null", () => {
    const nothing = { Env: null, Labels: null, ExposedPorts: null, Volumes: null, WorkingDir: null, OnBuild: null }
    const text = "ENV A=1\nLABEL b=2\nEXPOSE 3\nVOLUME /d\nWORKDIR e\nONBUILD RUN f\nCMD g"
    assert.deepStrictEqual(change(text, { ...nothing, Shell: null, Cmd: null, ArgsEscaped: true }), {
      Env: ["A=1"],
      Labels: { b: "2" },
      ExposedPorts: { "3/tcp": {} },
      Volumes: { "/d": {} },
      WorkingDir: "/e",
      OnBuild: ["RUN f"],
      Shell: null,
      Cmd: ["/bin/sh", "-c", "g"]
    })
    const unset = [Change.unsetEnv("A"), Change.unsetLabel("a"), Change.unsetPort("1"), Change.unsetVolume("/a")]
    assert.deepStrictEqual(applied({ Env: null, Labels: null, ExposedPorts: null, Volumes: null }, ...unset), {})
  })

  it("runs a shell form with the shell of the parent or of an earlier change, and adds to ONBUILD", () => {
    const config = { Shell: ["/bin/ash", "-c"], OnBuild: ["RUN a"] }
    const text = 'CMD x\nSHELL ["/bin/bash","-ec"]\nENTRYPOINT y\nONBUILD RUN b'
    assert.deepStrictEqual(change(text, config), {
      Cmd: ["/bin/ash", "-c", "x"],
      Shell: ["/bin/bash", "-ec"],
      Entrypoint: ["/bin/bash", "-ec", "y"],
      OnBuild: ["RUN a", "RUN b"]
    })
  })

  it("replaces the first of equal variables, and expands to the last", () => {
    assert.deepStrictEqual(change("ENV A=$A$A", { Env: ["A=1", "B", "A=2"] }), { Env: ["A=22", "B", "A=2"] })
  })

  it("removes", () => {
    const config = {
      Env: ["A=1", "AB=2", "A=3", "C"],
      Labels: { a: "1", b: "2" },
      ExposedPorts: { "80/tcp": {}, "80/udp": {}, "81/tcp": {}, "82/tcp": {} },
      Volumes: { "/a": {}, "/b": {} }
    }
    const some = [
      Change.unsetEnv("A", "NOPE"),
      Change.unsetLabel("a"),
      Change.unsetPort("80", "81-82/TCP"),
      Change.unsetVolume("/a", "/nope")
    ]
    assert.deepStrictEqual(applied(config, ...some), {
      Env: ["AB=2", "C"],
      Labels: { b: "2" },
      ExposedPorts: { "80/udp": {} },
      Volumes: { "/b": {} }
    })
    const rest = [
      Change.unsetEnv("AB", "C"),
      Change.unsetLabel("b"),
      Change.unsetPort("80/udp"),
      Change.unsetVolume("/b")
    ]
    assert.deepStrictEqual(applied(config, ...some, ...rest), {})
    assert.deepStrictEqual(applied(config, Change.unsetEnv("A"), ...parse("ENV D=x$A"))["Env"], ["AB=2", "C", "D=x"])
  })

  it("takes values as they are", () => {
    const changes = [
      Change.cmd(["$A"]),
      Change.env({ A: "$A\n'\"", B: "" }),
      Change.label({ $A: "$A" }),
      Change.user("$A"),
      Change.workDir("$A"),
      Change.volume("/$A"),
      Change.expose("80", "90/udp"),
      Change.stopSignal("9"),
      Change.shell("/bin/bash", "-c"),
      Change.onBuild("RUN x"),
      Change.healthcheck("exit 0", { interval: "2 seconds", timeout: Duration.minutes(1), retries: 3 })
    ]
    assert.isTrue(Result.isSuccess(Change.check(changes)))
    assert.deepStrictEqual(applied({}, ...changes), {
      Cmd: ["$A"],
      Env: ["A=$A\n'\"", "B="],
      Labels: { $A: "$A" },
      User: "$A",
      WorkingDir: "/$A",
      Volumes: { "/$A": {} },
      ExposedPorts: { "80/tcp": {}, "90/udp": {} },
      StopSignal: "9",
      Shell: ["/bin/bash", "-c"],
      OnBuild: ["RUN x"],
      Healthcheck: { Test: ["CMD-SHELL", "exit 0"], Interval: 2e9, Timeout: 60e9, Retries: 3 }
    })
    assert.deepStrictEqual(applied(parent, Change.entrypoint("x"))["Entrypoint"], ["/bin/sh", "-c", "x"])
    assert.deepStrictEqual(applied(parent, Change.noHealthcheck)["Healthcheck"], { Test: ["NONE"] })
  })

  it.each([
    [Change.env({ "A=B": "x" }), "A=B", 'ENV has the name "A=B": expected NAME=value'],
    [Change.env({ "": "x" }), "", 'ENV has the name "": expected NAME=value'],
    [Change.label({ "": "x" }), "", "LABEL has a blank name: expected NAME=value"],
    [Change.expose("80", "x"), "x", 'EXPOSE has "x": expected a port or a range of ports up to 65535'],
    [Change.unsetPort("80/x"), "80/x", 'UNSET PORT has "80/x": expected the protocol tcp, udp or sctp'],
    [Change.stopSignal("NOPE"), "NOPE", 'STOPSIGNAL has "NOPE": expected a signal as SIGTERM, TERM or 15'],
    [Change.workDir(""), "", "WORKDIR has no path: expected a path in the container"],
    [Change.volume("/a", ""), "", "VOLUME has an empty path: expected a path in the container"],
    [Change.shell(), "", "SHELL is empty: expected"],
    [Change.onBuild("FROM x"), "FROM x", "ONBUILD takes an instruction for a build other than"],
    [Change.onBuild("RUN a\nRUN b"), "RUN a\nRUN b", "ONBUILD has several lines: expected one"],
    [Change.healthcheck([]), "", "HEALTHCHECK has no command"],
    [Change.healthcheck("x", { interval: Duration.nanos(999_999n) }), "x", "HEALTHCHECK has interval below 1ms"],
    [Change.healthcheck("x", { timeout: "-1 seconds" }), "x", "HEALTHCHECK has timeout below 1ms"],
    [Change.healthcheck("x", { timeout: Duration.infinity }), "x", "HEALTHCHECK has timeout that is no duration"],
    [Change.healthcheck("x", { startPeriod: "200000 weeks" }), "x", "HEALTHCHECK has startPeriod of more than"],
    [Change.healthcheck("x", { retries: 1.5 }), "x", "HEALTHCHECK has retries that are no whole number"]
  ])("refuses a wrong value: %j", (value, text, message) => {
    const error = errorOf(Change.apply(parent, [Change.user("x"), value]))
    assert.deepStrictEqual(errorOf(Change.check([Change.user("x"), value])), error)
    assert.strictEqual(error.text, text)
    assert.isUndefined(error.line)
    assert.include(error.message, `invalid change ${JSON.stringify(text)}: ${message}`)
  })

  it("says where the text is wrong for this environment", () => {
    const error = errorOf(Change.apply(parent, parse("USER x\n  ENV B=${NOPE:?because}")))
    assert.strictEqual(
      error.message,
      'invalid change "  ENV B=${NOPE:?because}" (line 2, column 3): ' +
        "ENV needs the variable NOPE, which is unset or empty: because"
    )
  })
})
