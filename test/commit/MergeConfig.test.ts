import { assert, describe, it } from "@effect/vitest"
import { fromSpec, merge } from "../../src/commit/MergeConfig.ts"
import type * as ImageConfig from "../../src/oci/ImageConfig.ts"

type Config = ImageConfig.ContainerConfig

/** The last key of `merge(own, other)`, as the cases name it. */
const cases: ReadonlyArray<readonly [what: string, own: Config, other: Config, expected: Config]> = [
  ["nothing", {}, {}, {}],
  [
    "texts that are empty",
    { User: "", WorkingDir: "/a" },
    { User: "u", WorkingDir: "/b", StopSignal: "TERM" },
    { User: "u", WorkingDir: "/a", StopSignal: "TERM" }
  ],
  [
    "maps, one by one",
    { Labels: { a: "1" } },
    { Labels: { a: "2", b: "3" }, ExposedPorts: { "80/tcp": {} }, Volumes: { "/v": {} } },
    { Labels: { a: "1", b: "3" }, ExposedPorts: { "80/tcp": {} }, Volumes: { "/v": {} } }
  ],
  [
    "variables that are missing, after the own",
    { Env: ["B=1", "A=x=y"] },
    { Env: ["A=2", "C=3", "B"] },
    { Env: ["B=1", "A=x=y", "C=3"] }
  ],
  ["the command, when there is none", {}, { Cmd: ["c"], Entrypoint: ["e"] }, { Cmd: ["c"], Entrypoint: ["e"] }],
  ["the command, when it is empty", { Cmd: [] }, { Cmd: ["c"] }, { Cmd: ["c"] }],
  [
    "the entrypoint beside an own command",
    { Cmd: ["own"] },
    { Cmd: ["c"], Entrypoint: ["e"] },
    { Cmd: ["own"], Entrypoint: ["e"] }
  ],
  [
    "no command for an own entrypoint",
    { Entrypoint: ["own"] },
    { Cmd: ["c"], Entrypoint: ["e"] },
    { Entrypoint: ["own"] }
  ],
  [
    "no entrypoint where it was taken away",
    { Entrypoint: [] },
    { Cmd: ["c"], Entrypoint: ["e"] },
    { Cmd: ["c"], Entrypoint: [] }
  ],
  ["an entrypoint that is null, as Go writes it", { Entrypoint: null }, { Entrypoint: ["e"] }, { Entrypoint: ["e"] }],
  ["a health check as a whole", {}, { Healthcheck: { Test: ["NONE"] } }, { Healthcheck: { Test: ["NONE"] } }],
  [
    "a health check field by field, 0 and nothing alike",
    { Healthcheck: { Test: [], Interval: 5, Retries: 0 } },
    { Healthcheck: { Test: ["CMD", "t"], Interval: 1, Timeout: 2, StartInterval: 3, Retries: 4 } },
    { Healthcheck: { Test: ["CMD", "t"], Interval: 5, Timeout: 2, StartInterval: 3, Retries: 4 } }
  ],
  ["nothing of what moby does not merge", {}, { OnBuild: ["RUN x"], Shell: ["/s"], ArgsEscaped: true }, {}],
  ["keys of its own that nobody knows", { extra: 1 }, { other: 2 }, { extra: 1 }]
]

const frozen = <A>(value: A): A => {
  if (typeof value === "object" && value !== null) Object.values(Object.freeze(value)).forEach(frozen)
  return value
}

describe("merge", () => {
  it.each(cases)("takes %s from the container; moby docker_api_containers_test.go", (_, own, other, expected) => {
    assert.deepStrictEqual(merge(frozen(own), frozen(other)), expected)
  })

  it.each(cases)("of a config with itself is that config (%s)", (_, __, config) => {
    assert.deepStrictEqual(merge(config, config), config)
  })
})

describe("fromSpec", () => {
  const image: Config = { Cmd: ["c"], Entrypoint: ["e"], Env: ["A=1"], WorkingDir: "/", Labels: { l: "1" } }

  it("tells what the container ran, without its own name", () => {
    const process = {
      args: ["sh", "-c", "x"],
      env: ["PATH=/bin", "HOSTNAME=abc", "S=1"],
      cwd: "/w",
      user: { uid: 7, gid: 8 }
    }
    assert.deepStrictEqual(fromSpec(image, { process }), {
      Cmd: ["sh", "-c", "x"],
      Env: ["PATH=/bin", "S=1"],
      WorkingDir: "/w",
      User: "7:8",
      Labels: { l: "1" }
    })
  })

  it("says nothing of root, and nothing where there is no process", () => {
    assert.notProperty(fromSpec({}, { process: { args: ["sh"], user: { uid: 0, gid: 0 } } }), "User")
    assert.deepStrictEqual(fromSpec(image, {}), image)
  })
})
