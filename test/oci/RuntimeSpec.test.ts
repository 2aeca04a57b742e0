import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import * as RuntimeSpec from "../../src/oci/RuntimeSpec.ts"

const decode = (value: unknown) => RuntimeSpec.decode(new TextEncoder().encode(JSON.stringify(value)))

const spec = {
  ociVersion: "1.2.0",
  process: {
    user: { uid: 1000, gid: 4294967295, additionalGids: [1] },
    args: ["sh", "-c", "true"],
    env: ["A=1"],
    cwd: "/",
    rlimits: [{ type: "RLIMIT_NOFILE", hard: 1, soft: 1 }]
  },
  root: { path: "rootfs", readonly: true },
  mounts: [{ destination: "/proc", type: "proc", source: "proc", options: ["nosuid"] }, { destination: "/d" }],
  annotations: { k: "v" },
  linux: {
    uidMappings: [{ containerID: 0, hostID: 100000, size: 65536 }],
    gidMappings: null,
    namespaces: [{ type: "pid" }]
  }
}

describe("RuntimeSpec", () => {
  it("reads what it names and keeps the rest", () => {
    const value = Result.getOrThrow(decode(spec))
    assert.deepStrictEqual(value, spec)
    assert.strictEqual(value.process?.user?.gid, 4294967295)
    assert.strictEqual(value.linux?.uidMappings?.[0]?.hostID, 100000)
  })

  it("takes absence and null alike", () => {
    assert.isTrue(Result.isSuccess(decode({})))
    const keys = { process: null, root: null, mounts: null, annotations: null, linux: null }
    assert.isTrue(Result.isSuccess(decode(keys)))
    const nested = {
      process: { user: null, args: null, env: null, cwd: null },
      root: { path: "r", readonly: null },
      mounts: [{ destination: "/", type: null, source: null, options: null }],
      linux: { uidMappings: null, gidMappings: null }
    }
    assert.isTrue(Result.isSuccess(decode(nested)))
  })

  it.each<readonly [object, string]>([
    [{ process: { args: [1] } }, "$.process.args[0]: "],
    [{ process: { user: { uid: -1, gid: 0 } } }, "$.process.user.uid: "],
    [{ mounts: [{}] }, "$.mounts[0].destination: "],
    [{ linux: { gidMappings: [{ containerID: 0, hostID: 0 }] } }, "$.linux.gidMappings[0].size: "]
  ])("refuses %j and says where", (value, detail) => {
    const error = Result.getOrThrow(Result.flip(decode(value)))
    assert.isTrue(error.detail.startsWith(detail), error.detail)
    assert.isTrue(error.message.startsWith('invalid document "runtime spec": '), error.message)
  })
})
