import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { ContainerdError } from "../../src/core/ContainerdError.ts"
import * as Filter from "../../src/embedded/Filter.ts"

const fields = Filter.record({ name: "app", kind: "active" }, { a: "1", "x.y/z": "two words", empty: "" })
const matches = (...filters: ReadonlyArray<string>) => Filter.any("test", filters)(fields)

const cases: ReadonlyArray<readonly [boolean, ReadonlyArray<string>]> = [
  [true, []],
  [true, [""]],
  [true, ["name==app"]],
  [true, ["name == app , kind==active"]],
  [false, ["name==app,kind==view"]],
  [true, ["name==other", "kind==active"]],
  [true, ["name!=other"]],
  [false, ["name!=app"]],
  [true, ["missing!=app"]],
  [false, ["missing==app"]],
  [false, ['missing==""']],
  [true, ["name~=^a.p$"]],
  [true, ["name~=|^a.p$|"]],
  [true, ["name~=/pp/"]],
  [false, ["name~=^p"]],
  [false, ["name~=("]],
  [true, ["name"]],
  [false, ["missing"]],
  [true, ["labels.a"]],
  [false, ["labels.b"]],
  [true, ["labels.a==1"]],
  [true, ['labels."x.y/z"=="two words"']],
  [true, ['labels."x.y/z"']],
  [false, ["labels.constructor"]],
  [false, ["constructor"]],
  [true, ['name=="ap\\u0070"']]
]

describe("a filter", () => {
  it.each(cases)("is %s: %s", (expected, filters) => {
    assert.strictEqual(matches(...filters), expected)
  })

  it.each(["=", "name=", "name==", "name==a b", "name==app,", ",name", "labels.", 'name=="open', "name=app"])(
    "%s is refused",
    (filter) => {
      const refused = Result.try({ try: () => matches(filter), catch: (cause) => cause })
      assert.isTrue(Result.isFailure(refused) && refused.failure instanceof ContainerdError)
    }
  )
})
