/**
 * Law 10: no request goes out with an absent sub-message, for it ends a whole daemon. The types of `Wire.ts` see to it;
 * here it is seen on the wire, with the definitions as the judge.
 */
import { readdirSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import * as ProtoLoader from "@grpc/proto-loader"
import { Effect, Layer, Stream } from "effect"
import * as Containerd from "../../src/containerd/Containerd.ts"
import { services } from "../../src/containerd/Wire.ts"
import type { ContainerdError } from "../../src/core/ContainerdError.ts"
import { Containers } from "../../src/core/Containers.ts"
import { ContentStore } from "../../src/core/ContentStore.ts"
import { Differ } from "../../src/core/Differ.ts"
import { Images } from "../../src/core/Images.ts"
import { Introspection } from "../../src/core/Introspection.ts"
import * as Leases from "../../src/core/Leases.ts"
import { Namespaces } from "../../src/core/Namespaces.ts"
import { Snapshotters } from "../../src/core/Snapshotter.ts"
import { Tasks } from "../../src/core/Tasks.ts"
import * as Digest from "../../src/oci/Digest.ts"
import * as FakeContainerd from "../support/FakeContainerd.ts"

// What is read below of google.protobuf.DescriptorProto, as the loader has it.
interface Message {
  readonly name: string
  readonly field: ReadonlyArray<Field>
  readonly nestedType: ReadonlyArray<Message>
  readonly oneofDecl: ReadonlyArray<{ readonly name: string }>
  readonly options: { readonly mapEntry: boolean } | null
}
interface Field {
  readonly name: string
  readonly label: string
  readonly type: string
  readonly typeName: string
}

const isMessage = (
  definition: ProtoLoader.AnyDefinition | undefined
): definition is ProtoLoader.MessageTypeDefinition<object, object> =>
  definition !== undefined && "fileDescriptorProtos" in definition && "serialize" in definition
const isService = (definition: ProtoLoader.AnyDefinition | undefined): definition is ProtoLoader.ServiceDefinition =>
  definition !== undefined && !("format" in definition)

/** Messages by their full names, and methods by their paths. */
const definitions = ProtoLoader.loadSync("containerd.proto", {
  keepCase: false,
  longs: Number,
  enums: String,
  defaults: true,
  includeDirs: [fileURLToPath(new URL("../../proto/", import.meta.url))]
})

/** A name in a field is short: the innermost scope that knows it is meant. */
const resolve = (scope: string, name: string): readonly [name: string, message: Message] => {
  const full = scope === "" ? name : `${scope}.${name}`
  const definition = definitions[full]
  if (isMessage(definition)) return [full, definition.type as Message]
  assert.notStrictEqual(scope, "", `${name} is not defined`)
  return resolve(scope.slice(0, Math.max(scope.lastIndexOf("."), 0)), name)
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null

/** The single messages that a decoded message lacks, however deep, but for those that every server looks for. */
const absentIn = (scope: string, message: Message, value: unknown, path: string): ReadonlyArray<string> => {
  assert(isRecord(value), `${path} is not a message`)
  const { field, nestedType, oneofDecl } = message
  return field
    .filter(({ type }) => type === "TYPE_MESSAGE")
    .flatMap(({ label, name, typeName }) => {
      const nested = nestedType.find((one) => one.name === typeName)
      // No map that we send has messages in it.
      if (nested?.options?.mapEntry === true) return []
      const [innerScope, inner] = nested === undefined ? resolve(scope, typeName) : [`${scope}.${typeName}`, nested]
      const [item, innerPath] = [value[name], `${path}.${name}`]
      if (label === "LABEL_REPEATED") {
        assert(Array.isArray(item), `${innerPath} is not a list`)
        return item.flatMap((element) => absentIn(innerScope, inner, element, innerPath))
      }
      if (item !== null && item !== undefined) return absentIn(innerScope, inner, item, innerPath)
      // "optional" shows as a group of alternatives with one member.
      const optional = oneofDecl.some((one) => one.name === `_${name}`)
      return optional || mayBeAbsent.has(name) ? [] : [innerPath]
    })
}
const mayBeAbsent = new Set(["createdAt", "updatedAt", "updateMask", "sourceDateEpoch"])

const methodOf = (path: string) => {
  const [service, name] = [path.slice(1, path.lastIndexOf("/")), path.slice(path.lastIndexOf("/") + 1)]
  const methods = definitions[service]
  assert(isService(methods), `${service} is not a service`)
  const method = methods[name]
  assert(method !== undefined, `${path} is not a method`)
  return method
}

/** The messages that a request lacks. */
const absent = (path: string, bytes: Buffer): ReadonlyArray<string> => {
  const { requestDeserialize, requestType } = methodOf(path)
  const scope = path.slice(1, path.lastIndexOf("/"))
  return absentIn(scope, requestType.type as Message, requestDeserialize(bytes), path)
}

/** What `src/containerd` calls, as `services()` names it: `images.Get`. */
const calledBySource = () => {
  const folder = fileURLToPath(new URL("../../src/containerd/", import.meta.url))
  const names = Object.keys(services()).join("|")
  const text = readdirSync(folder)
    .filter((name) => name.endsWith(".ts"))
    .map((name) => readFileSync(`${folder}/${name}`, "utf8"))
    .join("\n")
  return new Set(text.match(new RegExp(`\\b(${names})\\.[A-Z]\\w+`, "g")))
}

const mediaType = "application/vnd.oci.image.layer.v1.tar"
const digest = Digest.fromBytes(Buffer.from("layer"))
const descriptor = { mediaType, digest, size: 5 }
const mount = { type: "overlay", source: "overlay", target: "", options: ["ro"] }

/** Every method of every service. What they answer does not matter here. */
const everyCall = Effect.gen(function* () {
  const containers = yield* Containers
  const content = yield* ContentStore
  const differ = yield* Differ
  const images = yield* Images
  const introspection = yield* Introspection
  const leases = yield* Leases.Leases
  const namespaces = yield* Namespaces
  const snapshotters = yield* Snapshotters
  const tasks = yield* Tasks
  const snapshotter = snapshotters.get("overlayfs")
  const image = { name: "app", target: descriptor, labels: { k: "v" } }
  const bare = { ...image, labels: {} }
  const calls: ReadonlyArray<Effect.Effect<unknown, ContainerdError, Leases.Lease>> = [
    containers.get("c"),
    Stream.runDrain(containers.list()),
    Stream.runDrain(containers.list(["id==c"])),
    content.info(digest),
    content.setLabels(digest, { k: "v" }),
    Stream.runDrain(content.read(digest)),
    Stream.runDrain(content.list()),
    content.write(Stream.make(Buffer.from("a")), { mediaType, labels: { k: "v" } }),
    content.write(Stream.make(Buffer.from("layer")), { mediaType, expected: descriptor, ref: "mine" }),
    content.writeBytes(Buffer.from("b"), { mediaType }),
    content.delete(digest),
    content.ingests,
    content.abort("mine"),
    differ.supports("application/vnd.oci.image.layer.v1.tar+zstd"),
    differ.diff({ lower: [], upper: [mount], mediaType }),
    differ.apply(descriptor, [mount]),
    images.get("app"),
    images.list(),
    images.create(image),
    images.create(bare),
    images.update(image),
    images.update(bare),
    images.delete("app"),
    introspection.version,
    leases.create({ id: "l", labels: {} }),
    leases.list(),
    leases.resources("l"),
    leases.addResource({ type: "content", id: digest }),
    leases.delete("l", { sync: true }),
    namespaces.list,
    snapshotters.available,
    snapshotters.defaultName,
    snapshotter.stat("k"),
    snapshotter.mounts("k"),
    snapshotter.usage("k"),
    Stream.runDrain(snapshotter.list()),
    snapshotter.remove("k"),
    Effect.scoped(snapshotter.view({ key: "v", parent: "" })),
    Effect.scoped(Effect.flatMap(snapshotter.prepare({ key: "k", parent: "" }), ({ commit }) => commit("name"))),
    tasks.get("c"),
    tasks.resume("c"),
    Effect.scoped(tasks.paused("c"))
  ]
  yield* Effect.forEach(calls, (call) => Effect.ignore(call), { discard: true })
})

describe("law 10", () => {
  it.live("no request lacks a message, and every call of the source was looked at", () =>
    Effect.gen(function* () {
      const fake = yield* FakeContainerd.make
      const connection = yield* Layer.build(Containerd.layer({ address: fake.address }))
      yield* Leases.withLease({ id: "l" })(everyCall).pipe(Effect.provide(connection))
      assert.deepStrictEqual(
        fake.received.flatMap(({ bytes, path }) => absent(path, bytes)),
        []
      )
      const seen = fake.received.map(({ rpc }) => rpc.replace(/^\w/, (first) => first.toLowerCase()))
      assert.deepStrictEqual([...new Set(seen)].sort(), [...calledBySource()].sort())
    })
  )

  const { content, diff, images, leases } = services()
  const lacking = [
    [images.Create.path, images.Create.requestSerialize({}), ["image"]],
    [images.Create.path, images.Create.requestSerialize({ image: {} }), ["image.target"]],
    [images.Update.path, images.Update.requestSerialize({ updateMask: { paths: ["labels"] } }), ["image"]],
    [images.Delete.path, images.Delete.requestSerialize({ name: "app" }), []],
    [content.Update.path, content.Update.requestSerialize({}), ["info"]],
    [diff.Apply.path, diff.Apply.requestSerialize({ mounts: [{}] }), ["diff"]],
    [leases.AddResource.path, leases.AddResource.requestSerialize({ id: "l" }), ["resource"]]
  ] as const
  it.each(lacking)("a request to %s would be found out", (path, bytes, fields) => {
    assert.deepStrictEqual(
      absent(path, bytes),
      fields.map((field) => `${path}.${field}`)
    )
  })
})
