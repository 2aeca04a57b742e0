import { assert, describe, it } from "@effect/vitest"
import { Option, Result, Schema } from "effect"
import * as IdMap from "../../src/layer/IdMap.ts"

const id = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 0xffff_ffff }))

describe("parse", () => {
  it("reads CONTAINER:HOST:SIZE", () => {
    assert.deepStrictEqual(Result.getOrThrow(IdMap.parse("0:100000:65536")), {
      containerId: 0,
      hostId: 100_000,
      size: 65_536
    })
    assert.deepStrictEqual(Result.getOrThrow(IdMap.parse("4294967295:0:1")), {
      containerId: 4294967295,
      hostId: 0,
      size: 1
    })
  })

  it.prop("reads what it is told, up to 32 bits", [id, id, id], ([containerId, hostId, size]) => {
    const result = IdMap.parse(`${containerId}:${hostId}:${size}`)
    const fits = size > 0 && containerId + size <= 2 ** 32 && hostId + size <= 2 ** 32
    assert.deepStrictEqual(
      Option.getOrUndefined(Result.getSuccess(result)),
      fits ? { containerId, hostId, size } : undefined
    )
  })

  const form = "it must be CONTAINER:HOST:SIZE, as in 0:100000:65536"
  it.each([
    ["", form],
    ["0:100000", form],
    ["0:100000:65536:1", form],
    ["0:100000:0", form],
    ["0:-1:1", form],
    ["0: 1:1", form],
    ["0:1.5:1", form],
    ["0x0:1:1", form],
    ["0:1:1\n", form],
    ["0:1:99999999999", form],
    ["0:1:4294967296", "ids have 32 bits"],
    ["4294967295:0:2", "ids have 32 bits"],
    ["0:4294967295:2", "ids have 32 bits"]
  ])("refuses %j", (text, why) => {
    const { kind, message } = Result.getOrThrow(Result.flip(IdMap.parse(text)))
    assert.deepStrictEqual({ kind, message }, { kind: "id-map", message: `invalid id map "${text}": ${why}` })
  })
})

describe("toContainer", () => {
  const mappings = [
    { containerId: 0, hostId: 1000, size: 1 },
    { containerId: 1, hostId: 100_000, size: 10 }
  ]

  it.each([
    [1000, 0],
    [100_000, 1],
    [100_009, 10],
    [999, undefined],
    [1001, undefined],
    [99_999, undefined],
    [100_010, undefined]
  ])("maps %d to %s", (hostId, expected) => {
    assert.strictEqual(Option.getOrUndefined(IdMap.toContainer(mappings, hostId)), expected)
  })

  it("knows nothing without mappings", () => {
    assert.isTrue(Option.isNone(IdMap.toContainer([], 0)))
  })
})

describe("check", () => {
  const map = (...uids: ReadonlyArray<IdMap.IdMapping>): IdMap.IdMap => ({
    uids,
    gids: [{ containerId: 0, hostId: 0, size: 1 }]
  })
  const problem = (ids: IdMap.IdMap) => Result.getOrThrow(Result.flip(IdMap.check(ids))).message

  it("takes maps whose ranges do not touch each other", () => {
    const good = map({ containerId: 0, hostId: 100_000, size: 1000 }, { containerId: 1000, hostId: 0, size: 5 })
    assert.deepStrictEqual(IdMap.check(good), Result.succeed(good))
  })

  it("refuses what cannot be turned round, or is no range of 32 bits", () => {
    const first = { containerId: 0, hostId: 100_000, size: 1000 }
    assert.match(problem(map()), /maps nothing/)
    assert.match(problem(map(first, { containerId: 999, hostId: 0, size: 1 })), /overlap/)
    assert.match(problem(map(first, { containerId: 5000, hostId: 100_999, size: 1 })), /overlap/)
    for (const bad of [
      { size: 0 },
      { size: -1 },
      { size: 1.5 },
      { hostId: -1 },
      { containerId: 0xffff_ffff, size: 2 }
    ]) {
      assert.match(problem(map({ ...first, ...bad })), /32 bits/)
    }
  })
})
