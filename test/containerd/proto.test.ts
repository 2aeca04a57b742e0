import { readdirSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import * as ProtoLoader from "@grpc/proto-loader"

/**
 * The wire contract with containerd, written down by hand a second time: a slip in proto/ has to be made twice to pass.
 * By package: a method as "Service.Method", an enum with its values, a message with its fields. Names without a dot are
 * of the same package, or built in.
 */
const contract: Record<string, Record<string, string>> = {
  "containerd.services.containers.v1": {
    "Containers.Get": "GetContainerRequest -> GetContainerResponse",
    "Containers.List": "ListContainersRequest -> ListContainersResponse",
    "Containers.ListStream": "ListContainersRequest -> stream ListContainerMessage",
    "Containers.Create": "CreateContainerRequest -> CreateContainerResponse",
    "Containers.Update": "UpdateContainerRequest -> UpdateContainerResponse",
    "Containers.Delete": "DeleteContainerRequest -> google.protobuf.Empty",
    Container:
      "id=1 string, labels=2 map<string, string>, image=3 string, runtime=4 Container.Runtime, " +
      "spec=5 google.protobuf.Any, snapshotter=6 string, snapshot_key=7 string, " +
      "created_at=8 google.protobuf.Timestamp, updated_at=9 google.protobuf.Timestamp, " +
      "extensions=10 map<string, google.protobuf.Any>, sandbox=11 string",
    "Container.Runtime": "name=1 string, options=2 google.protobuf.Any",
    GetContainerRequest: "id=1 string",
    GetContainerResponse: "container=1 Container",
    ListContainersRequest: "filters=1 repeated string",
    ListContainersResponse: "containers=1 repeated Container",
    ListContainerMessage: "container=1 Container",
    CreateContainerRequest: "container=1 Container",
    CreateContainerResponse: "container=1 Container",
    UpdateContainerRequest: "container=1 Container, update_mask=2 google.protobuf.FieldMask",
    UpdateContainerResponse: "container=1 Container",
    DeleteContainerRequest: "id=1 string"
  },
  "containerd.services.content.v1": {
    "Content.Info": "InfoRequest -> InfoResponse",
    "Content.Update": "UpdateRequest -> UpdateResponse",
    "Content.List": "ListContentRequest -> stream ListContentResponse",
    "Content.Delete": "DeleteContentRequest -> google.protobuf.Empty",
    "Content.Read": "ReadContentRequest -> stream ReadContentResponse",
    "Content.Status": "StatusRequest -> StatusResponse",
    "Content.ListStatuses": "ListStatusesRequest -> ListStatusesResponse",
    "Content.Write": "stream WriteContentRequest -> stream WriteContentResponse",
    "Content.Abort": "AbortRequest -> google.protobuf.Empty",
    Info:
      "digest=1 string, size=2 int64, created_at=3 google.protobuf.Timestamp, " +
      "updated_at=4 google.protobuf.Timestamp, labels=5 map<string, string>",
    InfoRequest: "digest=1 string",
    InfoResponse: "info=1 Info",
    UpdateRequest: "info=1 Info, update_mask=2 google.protobuf.FieldMask",
    UpdateResponse: "info=1 Info",
    ListContentRequest: "filters=1 repeated string",
    ListContentResponse: "info=1 repeated Info",
    DeleteContentRequest: "digest=1 string",
    ReadContentRequest: "digest=1 string, offset=2 int64, size=3 int64",
    ReadContentResponse: "offset=1 int64, data=2 bytes",
    Status:
      "started_at=1 google.protobuf.Timestamp, updated_at=2 google.protobuf.Timestamp, ref=3 string, " +
      "offset=4 int64, total=5 int64, expected=6 string",
    StatusRequest: "ref=1 string",
    StatusResponse: "status=1 Status",
    ListStatusesRequest: "filters=1 repeated string",
    ListStatusesResponse: "statuses=1 repeated Status",
    WriteAction: "enum STAT=0, WRITE=1, COMMIT=2",
    WriteContentRequest:
      "action=1 WriteAction, ref=2 string, total=3 int64, expected=4 string, offset=5 int64, data=6 bytes, " +
      "labels=7 map<string, string>",
    WriteContentResponse:
      "action=1 WriteAction, started_at=2 google.protobuf.Timestamp, updated_at=3 google.protobuf.Timestamp, " +
      "offset=4 int64, total=5 int64, digest=6 string",
    AbortRequest: "ref=1 string"
  },
  "containerd.services.diff.v1": {
    "Diff.Apply": "ApplyRequest -> ApplyResponse",
    "Diff.Diff": "DiffRequest -> DiffResponse",
    ApplyRequest:
      "diff=1 containerd.types.Descriptor, mounts=2 repeated containerd.types.Mount, " +
      "payloads=3 map<string, google.protobuf.Any>, sync_fs=4 bool",
    ApplyResponse: "applied=1 containerd.types.Descriptor",
    DiffRequest:
      "left=1 repeated containerd.types.Mount, right=2 repeated containerd.types.Mount, media_type=3 string, " +
      "ref=4 string, labels=5 map<string, string>, source_date_epoch=6 google.protobuf.Timestamp",
    DiffResponse: "diff=3 containerd.types.Descriptor"
  },
  "containerd.services.events.v1": {
    "Events.Subscribe": "SubscribeRequest -> stream containerd.types.Envelope",
    SubscribeRequest: "filters=1 repeated string"
  },
  "containerd.services.images.v1": {
    "Images.Get": "GetImageRequest -> GetImageResponse",
    "Images.List": "ListImagesRequest -> ListImagesResponse",
    "Images.Create": "CreateImageRequest -> CreateImageResponse",
    "Images.Update": "UpdateImageRequest -> UpdateImageResponse",
    "Images.Delete": "DeleteImageRequest -> google.protobuf.Empty",
    Image:
      "name=1 string, labels=2 map<string, string>, target=3 containerd.types.Descriptor, " +
      "created_at=7 google.protobuf.Timestamp, updated_at=8 google.protobuf.Timestamp",
    GetImageRequest: "name=1 string",
    GetImageResponse: "image=1 Image",
    ListImagesRequest: "filters=1 repeated string",
    ListImagesResponse: "images=1 repeated Image",
    CreateImageRequest: "image=1 Image, source_date_epoch=2 google.protobuf.Timestamp",
    CreateImageResponse: "image=1 Image",
    UpdateImageRequest:
      "image=1 Image, update_mask=2 google.protobuf.FieldMask, source_date_epoch=3 google.protobuf.Timestamp",
    UpdateImageResponse: "image=1 Image",
    DeleteImageRequest: "name=1 string, sync=2 bool, target=3 optional containerd.types.Descriptor"
  },
  "containerd.services.introspection.v1": {
    "Introspection.Plugins": "PluginsRequest -> PluginsResponse",
    "Introspection.Server": "google.protobuf.Empty -> ServerResponse",
    Plugin:
      "type=1 string, id=2 string, requires=3 repeated string, platforms=4 repeated containerd.types.Platform, " +
      "exports=5 map<string, string>, capabilities=6 repeated string, init_err=7 google.rpc.Status",
    PluginsRequest: "filters=1 repeated string",
    PluginsResponse: "plugins=1 repeated Plugin",
    ServerResponse: "uuid=1 string, pid=2 uint64, pidns=3 uint64, deprecations=4 repeated DeprecationWarning",
    DeprecationWarning: "id=1 string, message=2 string, last_occurrence=3 google.protobuf.Timestamp"
  },
  "containerd.services.leases.v1": {
    "Leases.Create": "CreateRequest -> CreateResponse",
    "Leases.Delete": "DeleteRequest -> google.protobuf.Empty",
    "Leases.List": "ListRequest -> ListResponse",
    "Leases.AddResource": "AddResourceRequest -> google.protobuf.Empty",
    "Leases.DeleteResource": "DeleteResourceRequest -> google.protobuf.Empty",
    "Leases.ListResources": "ListResourcesRequest -> ListResourcesResponse",
    Lease: "id=1 string, created_at=2 google.protobuf.Timestamp, labels=3 map<string, string>",
    CreateRequest: "id=1 string, labels=3 map<string, string>",
    CreateResponse: "lease=1 Lease",
    DeleteRequest: "id=1 string, sync=2 bool",
    ListRequest: "filters=1 repeated string",
    ListResponse: "leases=1 repeated Lease",
    Resource: "id=1 string, type=2 string",
    AddResourceRequest: "id=1 string, resource=2 Resource",
    DeleteResourceRequest: "id=1 string, resource=2 Resource",
    ListResourcesRequest: "id=1 string",
    ListResourcesResponse: "resources=1 repeated Resource"
  },
  "containerd.services.namespaces.v1": {
    "Namespaces.Get": "GetNamespaceRequest -> GetNamespaceResponse",
    "Namespaces.List": "ListNamespacesRequest -> ListNamespacesResponse",
    "Namespaces.Create": "CreateNamespaceRequest -> CreateNamespaceResponse",
    "Namespaces.Update": "UpdateNamespaceRequest -> UpdateNamespaceResponse",
    "Namespaces.Delete": "DeleteNamespaceRequest -> google.protobuf.Empty",
    Namespace: "name=1 string, labels=2 map<string, string>",
    GetNamespaceRequest: "name=1 string",
    GetNamespaceResponse: "namespace=1 Namespace",
    ListNamespacesRequest: "filter=1 string",
    ListNamespacesResponse: "namespaces=1 repeated Namespace",
    CreateNamespaceRequest: "namespace=1 Namespace",
    CreateNamespaceResponse: "namespace=1 Namespace",
    UpdateNamespaceRequest: "namespace=1 Namespace, update_mask=2 google.protobuf.FieldMask",
    UpdateNamespaceResponse: "namespace=1 Namespace",
    DeleteNamespaceRequest: "name=1 string"
  },
  "containerd.services.snapshots.v1": {
    "Snapshots.Prepare": "PrepareSnapshotRequest -> PrepareSnapshotResponse",
    "Snapshots.View": "ViewSnapshotRequest -> ViewSnapshotResponse",
    "Snapshots.Mounts": "MountsRequest -> MountsResponse",
    "Snapshots.Commit": "CommitSnapshotRequest -> google.protobuf.Empty",
    "Snapshots.Remove": "RemoveSnapshotRequest -> google.protobuf.Empty",
    "Snapshots.Stat": "StatSnapshotRequest -> StatSnapshotResponse",
    "Snapshots.Update": "UpdateSnapshotRequest -> UpdateSnapshotResponse",
    "Snapshots.List": "ListSnapshotsRequest -> stream ListSnapshotsResponse",
    "Snapshots.Usage": "UsageRequest -> UsageResponse",
    "Snapshots.Cleanup": "CleanupRequest -> google.protobuf.Empty",
    PrepareSnapshotRequest: "snapshotter=1 string, key=2 string, parent=3 string, labels=4 map<string, string>",
    PrepareSnapshotResponse: "mounts=1 repeated containerd.types.Mount",
    ViewSnapshotRequest: "snapshotter=1 string, key=2 string, parent=3 string, labels=4 map<string, string>",
    ViewSnapshotResponse: "mounts=1 repeated containerd.types.Mount",
    MountsRequest: "snapshotter=1 string, key=2 string",
    MountsResponse: "mounts=1 repeated containerd.types.Mount",
    CommitSnapshotRequest:
      "snapshotter=1 string, name=2 string, key=3 string, labels=4 map<string, string>, parent=5 string",
    RemoveSnapshotRequest: "snapshotter=1 string, key=2 string",
    Kind: "enum UNKNOWN=0, VIEW=1, ACTIVE=2, COMMITTED=3",
    Info:
      "name=1 string, parent=2 string, kind=3 Kind, created_at=4 google.protobuf.Timestamp, " +
      "updated_at=5 google.protobuf.Timestamp, labels=6 map<string, string>",
    StatSnapshotRequest: "snapshotter=1 string, key=2 string",
    StatSnapshotResponse: "info=1 Info",
    UpdateSnapshotRequest: "snapshotter=1 string, info=2 Info, update_mask=3 google.protobuf.FieldMask",
    UpdateSnapshotResponse: "info=1 Info",
    ListSnapshotsRequest: "snapshotter=1 string, filters=2 repeated string",
    ListSnapshotsResponse: "info=1 repeated Info",
    UsageRequest: "snapshotter=1 string, key=2 string",
    UsageResponse: "size=1 int64, inodes=2 int64",
    CleanupRequest: "snapshotter=1 string"
  },
  "containerd.services.tasks.v1": {
    "Tasks.Create": "CreateTaskRequest -> CreateTaskResponse",
    "Tasks.Start": "StartRequest -> StartResponse",
    "Tasks.Delete": "DeleteTaskRequest -> DeleteResponse",
    "Tasks.Get": "GetRequest -> GetResponse",
    "Tasks.List": "ListTasksRequest -> ListTasksResponse",
    "Tasks.Kill": "KillRequest -> google.protobuf.Empty",
    "Tasks.Pause": "PauseTaskRequest -> google.protobuf.Empty",
    "Tasks.Resume": "ResumeTaskRequest -> google.protobuf.Empty",
    "Tasks.Wait": "WaitRequest -> WaitResponse",
    CreateTaskRequest:
      "container_id=1 string, rootfs=3 repeated containerd.types.Mount, stdin=4 string, stdout=5 string, " +
      "stderr=6 string, terminal=7 bool, checkpoint=8 containerd.types.Descriptor, options=9 google.protobuf.Any, " +
      "runtime_path=10 string, task_api_address=11 string, task_api_version=12 uint32",
    CreateTaskResponse: "container_id=1 string, pid=2 uint32",
    StartRequest: "container_id=1 string, exec_id=2 string",
    StartResponse: "pid=1 uint32",
    DeleteTaskRequest: "container_id=1 string",
    DeleteResponse: "id=1 string, pid=2 uint32, exit_status=3 uint32, exited_at=4 google.protobuf.Timestamp",
    GetRequest: "container_id=1 string, exec_id=2 string",
    GetResponse: "process=1 containerd.v1.types.Process",
    ListTasksRequest: "filter=1 string",
    ListTasksResponse: "tasks=1 repeated containerd.v1.types.Process",
    KillRequest: "container_id=1 string, exec_id=2 string, signal=3 uint32, all=4 bool",
    PauseTaskRequest: "container_id=1 string",
    ResumeTaskRequest: "container_id=1 string",
    WaitRequest: "container_id=1 string, exec_id=2 string",
    WaitResponse: "exit_status=1 uint32, exited_at=2 google.protobuf.Timestamp"
  },
  "containerd.services.version.v1": {
    "Version.Version": "google.protobuf.Empty -> VersionResponse",
    VersionResponse: "version=1 string, revision=2 string"
  },
  "containerd.types": {
    Descriptor: "media_type=1 string, digest=2 string, size=3 int64, annotations=5 map<string, string>",
    Mount: "type=1 string, source=2 string, target=3 string, options=4 repeated string",
    Platform:
      "os=1 string, architecture=2 string, variant=3 string, os_version=4 string, os_features=5 repeated string",
    Envelope: "timestamp=1 google.protobuf.Timestamp, namespace=2 string, topic=3 string, event=4 google.protobuf.Any"
  },
  "containerd.runc.v1": { Options: "binary_name=6 string" },
  "containerd.v1.types": {
    Status: "enum UNKNOWN=0, CREATED=1, RUNNING=2, STOPPED=3, PAUSED=4, PAUSING=5",
    Process:
      "container_id=1 string, id=2 string, pid=3 uint32, status=4 Status, stdin=5 string, stdout=6 string, " +
      "stderr=7 string, terminal=8 bool, exit_status=9 uint32, exited_at=10 google.protobuf.Timestamp"
  },
  "google.rpc": {
    Status: "code=1 int32, message=2 string, details=3 repeated google.protobuf.Any"
  }
}

const folder = fileURLToPath(new URL("../../proto/", import.meta.url))
const files = readdirSync(folder).filter((name) => name.endsWith(".proto"))

// What is read below of google.protobuf.FileDescriptorProto and its parts.
interface File extends Types {
  readonly package: string
  readonly messageType: ReadonlyArray<Message>
  readonly service: ReadonlyArray<{ readonly name: string; readonly method: ReadonlyArray<Method> }>
}
interface Types {
  readonly enumType: ReadonlyArray<Enum>
}
interface Message extends Types {
  readonly name: string
  readonly field: ReadonlyArray<Field>
  readonly nestedType: ReadonlyArray<Message>
  readonly oneofDecl: ReadonlyArray<{ readonly name: string }>
  readonly options: { readonly mapEntry: boolean } | null
}
interface Field {
  readonly name: string
  readonly number: number
  readonly label: string
  readonly type: string
  readonly typeName: string
}
interface Enum {
  readonly name: string
  readonly value: ReadonlyArray<{ readonly name: string; readonly number: number }>
}
interface Method {
  readonly name: string
  readonly inputType: string
  readonly outputType: string
  readonly clientStreaming: boolean
  readonly serverStreaming: boolean
}

const isMessage = (
  definition: ProtoLoader.AnyDefinition | undefined
): definition is ProtoLoader.MessageTypeDefinition<object, object> =>
  definition !== undefined && "fileDescriptorProtos" in definition && "serialize" in definition

const message = (definitions: ProtoLoader.PackageDefinition, name: string) => {
  const definition = definitions[name]
  assert(isMessage(definition), `${name} is not a message`)
  return definition
}

const fileDescriptor = message(
  ProtoLoader.loadSync("google/protobuf/descriptor.proto", { enums: String, defaults: true }),
  "google.protobuf.FileDescriptorProto"
)

/** What a file and its imports define, in the format of the contract. */
const describeFile = (name: string): typeof contract => {
  const definitions = ProtoLoader.loadSync(name, { keepCase: true, includeDirs: [folder] })
  // Any one of the definitions carries the descriptors of all files.
  const descriptors = (Object.values(definitions).find(isMessage)?.fileDescriptorProtos ?? []).map(
    (bytes) => fileDescriptor.deserialize(bytes) as File
  )

  const names = new Set<string>()
  const collect = (scope: string, types: ReadonlyArray<Message>, enums: ReadonlyArray<Enum>) => {
    for (const one of enums) names.add(`${scope}.${one.name}`)
    for (const one of types) {
      names.add(`${scope}.${one.name}`)
      collect(`${scope}.${one.name}`, one.nestedType, one.enumType)
    }
  }
  for (const file of descriptors) collect(file.package, file.messageType, file.enumType)

  // A name in a field is short: the innermost scope that knows it is meant.
  const resolve = (scope: string, name: string): string =>
    names.has(`${scope}.${name}`) || scope === ""
      ? `${scope}.${name}`.replace(/^\./, "")
      : resolve(scope.slice(0, Math.max(scope.lastIndexOf("."), 0)), name)

  const ours = descriptors.filter((file) => file.package !== "google.protobuf")
  return Object.fromEntries(ours.map((file) => [file.package, describePackage(file, resolve)]))
}

const describePackage = (file: File, resolve: (scope: string, name: string) => string): Record<string, string> => {
  const local = (name: string) => {
    const full = name.replace(/^\./, "")
    return full.startsWith(`${file.package}.`) ? full.slice(file.package.length + 1) : full
  }
  const typeOf = (scope: string, { type, typeName }: Field) =>
    typeName === "" ? type.replace("TYPE_", "").toLowerCase() : local(resolve(scope, typeName))

  const describeField = (scope: string, { nestedType, oneofDecl }: Message, field: Field): string => {
    const entry = nestedType.find((one) => one.options?.mapEntry === true && one.name === field.typeName)
    if (entry !== undefined) return `map<${entry.field.map((part) => typeOf(scope, part)).join(", ")}>`
    if (field.label === "LABEL_REPEATED") return `repeated ${typeOf(scope, field)}`
    // "optional" shows as a group of alternatives with one member.
    return `${oneofDecl.some((one) => one.name === `_${field.name}`) ? "optional " : ""}${typeOf(scope, field)}`
  }
  const describeEnum = (scope: string, { name, value }: Enum): [string, string] => [
    local(`${scope}.${name}`),
    `enum ${value.map((one) => `${one.name}=${one.number}`).join(", ")}`
  ]
  const describeMessage = (scope: string, type: Message): Array<[string, string]> => {
    const name = `${scope}.${type.name}`
    const fields = type.field
      .toSorted((left, right) => left.number - right.number)
      .map((field) => `${field.name}=${field.number} ${describeField(name, type, field)}`)
    return [
      [local(name), fields.join(", ")],
      ...type.enumType.map((one) => describeEnum(name, one)),
      ...type.nestedType.filter((one) => one.options?.mapEntry !== true).flatMap((one) => describeMessage(name, one))
    ]
  }
  const describeMethod = (service: string, method: Method): [string, string] => {
    const request = `${method.clientStreaming ? "stream " : ""}${local(method.inputType)}`
    const response = `${method.serverStreaming ? "stream " : ""}${local(method.outputType)}`
    return [`${service}.${method.name}`, `${request} -> ${response}`]
  }
  return Object.fromEntries([
    ...file.service.flatMap((service) => service.method.map((method) => describeMethod(service.name, method))),
    ...file.enumType.map((one) => describeEnum(file.package, one)),
    ...file.messageType.flatMap((one) => describeMessage(file.package, one))
  ])
}

describe("definitions", () => {
  const everything = describeFile("containerd.proto")

  it("define the packages of the contract and no others", () => {
    assert.sameMembers(Object.keys(everything), Object.keys(contract))
  })

  it.each(Object.keys(contract))("define %s as the contract has it", (name) => {
    assert.deepStrictEqual(everything[name], contract[name])
  })

  it.each(files)("%s loads alone and is part of containerd.proto", (file) => {
    const own = describeFile(file)
    assert.isNotEmpty(own)
    for (const name of Object.keys(own)) assert.deepStrictEqual(own[name], everything[name])
  })
})

describe("messages on the wire", () => {
  // The client's options, and those of generate.sh.
  const definitions = ProtoLoader.loadSync("containerd.proto", {
    keepCase: false,
    longs: Number,
    enums: String,
    defaults: true,
    includeDirs: [folder]
  })
  const encode = (name: string, value: object) => message(definitions, name).serialize(value).toString("hex")
  const decode = (name: string, hex: string) => message(definitions, name).deserialize(Buffer.from(hex, "hex"))

  it("an empty message is sent, an absent one is not", () => {
    const request = "containerd.services.images.v1.CreateImageRequest"
    assert.strictEqual(encode(request, {}), "")
    assert.strictEqual(encode(request, { image: undefined }), "")
    assert.strictEqual(encode(request, { image: null }), "")
    assert.strictEqual(encode(request, { image: {} }), "0a00")
    assert.strictEqual(encode(request, { image: { name: "a", target: {} } }), "0a05" + "0a0161" + "1a00")
    assert.strictEqual(encode(request, { image: { name: "a", target: undefined } }), "0a03" + "0a0161")
    assert.strictEqual(encode(request, { image: {}, sourceDateEpoch: {} }), "0a00" + "1200")
  })

  it("a field name that does not exist is dropped without a word", () => {
    assert.strictEqual(encode("containerd.services.snapshots.v1.StatSnapshotRequest", { Key: "a" }), "")
    assert.strictEqual(encode("containerd.services.tasks.v1.GetRequest", { container_id: "a" }), "")
    assert.strictEqual(encode("containerd.services.tasks.v1.GetRequest", { containerId: "a" }), "0a0161")
  })

  it("an Any keeps the names of its fields", () => {
    const value = Buffer.from("{}")
    assert.strictEqual(encode("google.protobuf.Any", { type_url: "a", value }), "0a0161" + "12027b7d")
    assert.deepStrictEqual(decode("google.protobuf.Any", "0a0161" + "12027b7d"), { type_url: "a", value })
  })

  it("numbers beyond 32 bits come back as numbers, enums as names, what is absent as its default", () => {
    assert.deepStrictEqual(decode("containerd.services.content.v1.WriteContentResponse", "0802" + "208080808014"), {
      action: "COMMIT",
      startedAt: null,
      updatedAt: null,
      offset: 5 * 2 ** 30,
      total: 0,
      digest: ""
    })
    assert.deepStrictEqual(decode("containerd.services.images.v1.ListImagesResponse", ""), { images: [] })
    assert.deepStrictEqual(decode("containerd.services.leases.v1.Lease", "0a0161"), {
      id: "a",
      createdAt: null,
      labels: {}
    })
  })
})
