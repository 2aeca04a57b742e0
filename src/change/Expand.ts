/**
 * Which words of a change name variables: those of ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME and WORKDIR
 * (github.com/moby/buildkit, frontend/dockerfile/instructions/commands.go `Expand`; EXPOSE: moby's `dispatchExpose`).
 */
import * as Result from "effect/Result"
import type { Value } from "./Model.ts"
import * as Word from "./Word.ts"

type Expanded<A> = Result.Result<A, string>

/** Of a config's `Env`. */
export const environment = (entries: ReadonlyArray<string>): Word.Environment =>
  new Map(
    entries.map((entry) => {
      const [name = ""] = entry.split("=", 1)
      return [name, entry.slice(name.length + 1)]
    })
  )

/** All variables have the values from before the change. */
export const expand = (value: Value, environment: Word.Environment): Expanded<Value> => {
  const word = (source: string): Expanded<string> =>
    Result.flatMap(Word.parse(source), (word) => Word.expand(word, environment))
  const words = (source: string): Expanded<ReadonlyArray<string>> =>
    Result.flatMap(Word.parse(source), (word) => Word.expandToWords(word, environment))
  switch (value._tag) {
    case "Env":
    case "Label":
      return Result.map(
        Result.all(value.pairs.map(([name, text]) => Result.all([word(name), word(text)] as const))),
        (pairs) => ({ ...value, pairs })
      )
    case "Expose":
      return Result.map(Result.all(value.ports.map(words)), (ports) => ({ ...value, ports: ports.flat() }))
    case "StopSignal":
      return Result.map(word(value.signal), (signal) => ({ ...value, signal }))
    case "User":
      return Result.map(word(value.user), (user) => ({ ...value, user }))
    case "Volume":
      return Result.map(Result.all(value.paths.map(word)), (paths) => ({ ...value, paths }))
    case "WorkDir":
      return Result.map(word(value.path), (path) => ({ ...value, path }))
    default:
      return Result.succeed(value)
  }
}
