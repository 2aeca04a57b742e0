import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import * as Digest from "../../src/oci/Digest.ts"
import * as ImageConfig from "../../src/oci/ImageConfig.ts"
import * as MediaType from "../../src/oci/MediaType.ts"
import { hasEscapedKeys } from "./EscapedKeys.ts"

const bytesOf = (text: string) => new TextEncoder().encode(text)
const textOf = (document: { readonly bytes: Uint8Array }) => new TextDecoder().decode(document.bytes)
const read = (text: string) => Result.getOrThrow(ImageConfig.decode(bytesOf(text)))
const diffId = Digest.fromBytes(bytesOf("layer"))

/** As moby writes it: Go's key order, nulls, nanoseconds, keys of Docker's own. */
const docker =
  '{"created":"2024-01-02T03:04:05.123456789Z","author":"a","architecture":"arm64","os":"linux","os.version":"6.1",' +
  '"os.features":["f"],"variant":"v8","config":{"User":"1:2","ExposedPorts":{"80/tcp":{}},"Env":["A=<&>"],' +
  '"Entrypoint":null,"Cmd":["sh"],"Volumes":null,"WorkingDir":"/w","Labels":{"k":"v"},"StopSignal":"SIGINT",' +
  '"ArgsEscaped":true,"Healthcheck":{"Test":["CMD","true"],"Interval":1000000000,"Timeout":9223372036854775807,' +
  '"StartPeriod":0,"StartInterval":5,"Retries":3,"x":1},"OnBuild":null,"Shell":["/bin/sh","-c"],"Image":"sha256:0",' +
  '"Memory":9007199254740993},"rootfs":{"type":"layers",' +
  `"diff_ids":["${diffId}"],"x":1},` +
  '"history":[{"created":"2024-01-02T03:04:05.5+02:00","created_by":"RUN","author":"b","comment":"c","empty_layer":true,"x":1}],' +
  '"container":"c0ffee","docker_version":"28"}'

describe("ImageConfig", () => {
  it("reads and writes what Docker writes, byte for byte", () => {
    const document = read(docker)
    assert.strictEqual(textOf(ImageConfig.encode(document.value)), docker)
    assert.deepStrictEqual(ImageConfig.encode(document.value), document)
    assert.strictEqual(document.descriptor.mediaType, MediaType.ociConfig)
  })

  it("keeps nanoseconds of time and durations through an edit", () => {
    const { value } = read(docker)
    const edited = read(textOf(ImageConfig.encode({ ...value, author: "other" }))).value
    assert.strictEqual(edited.created, "2024-01-02T03:04:05.123456789Z")
    assert.strictEqual(edited.config?.Healthcheck?.Interval, 1000000000)
    assert.strictEqual(edited.config?.Healthcheck?.Timeout, 9223372036854775807n)
    assert.strictEqual(edited.config?.["Memory"], 9007199254740993n)
    assert.strictEqual(edited.author, "other")
  })

  it("takes null wherever Go writes it", () => {
    const names =
      "User ExposedPorts Env Entrypoint Cmd Volumes WorkingDir Labels StopSignal ArgsEscaped Healthcheck OnBuild Shell"
    const config = Object.fromEntries(names.split(" ").map((name) => [name, null]))
    const nulls = {
      created: null,
      architecture: "amd64",
      os: "linux",
      "os.features": null,
      config,
      rootfs: { type: "layers", diff_ids: null },
      history: null
    }
    const { value } = read(JSON.stringify(nulls))
    assert.strictEqual(textOf(ImageConfig.encode(value)), JSON.stringify(nulls))
    assert.deepStrictEqual(ImageConfig.diffIds(value), [])
    assert.deepStrictEqual(ImageConfig.history(value), [])
    assert.deepStrictEqual(ImageConfig.platform(value), { architecture: "amd64", os: "linux" })
    assert.isNull(read(JSON.stringify({ ...nulls, config: null })).value.config)
  })

  it("gives layers, history and platform", () => {
    const { value } = read(docker)
    assert.deepStrictEqual(ImageConfig.diffIds(value), [diffId])
    assert.strictEqual(ImageConfig.history(value)[0]?.created_by, "RUN")
    assert.deepStrictEqual(ImageConfig.platform(value), {
      architecture: "arm64",
      os: "linux",
      "os.version": "6.1",
      "os.features": ["f"],
      variant: "v8"
    })
  })

  const minimal = { architecture: "a", os: "o", rootfs: { type: "layers", diff_ids: [] } }
  it.each<readonly [object, string]>([
    [{ created: "yesterday" }, "$.created: "],
    [{ rootfs: { type: "layers+base", diff_ids: [] } }, "$.rootfs.type: "],
    [{ rootfs: { type: "layers", diff_ids: ["sha256:1"] } }, "$.rootfs.diff_ids[0]: "],
    [{ os: 1 }, "$.os: "],
    [{ config: { Env: ["A=1", 2] } }, "$.config.Env[1]: "],
    [{ config: { Healthcheck: { Interval: 0.5 } } }, "$.config.Healthcheck.Interval: "],
    [{ history: [{}, { created: "2024-02-30T00:00:00Z" }] }, "$.history[1].created: "]
  ])("refuses %j and says where", (change, detail) => {
    const error = Result.getOrThrow(Result.flip(ImageConfig.decode(bytesOf(JSON.stringify({ ...minimal, ...change })))))
    assert.isTrue(error.detail.startsWith(detail), error.detail)
    assert.isTrue(error.message.startsWith(`invalid document "${MediaType.ociConfig}": ${detail}`), error.message)
  })

  it.prop("reads what it wrote", [ImageConfig.schema, Schema.Json], ([value, extra]) => {
    if (hasEscapedKeys([value, extra])) return
    const document = ImageConfig.encode({ ...value, extra })
    const again = Result.getOrThrow(ImageConfig.decode(document.bytes))
    assert.deepStrictEqual(ImageConfig.encode(again.value).bytes, document.bytes)
    assert.deepStrictEqual(again.descriptor, document.descriptor)
  })
})
