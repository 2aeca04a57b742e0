/**
 * Pods and containers as the kubelet has them made: by containerd's CRI plugin, over its own protocol (`crictl` comes in
 * no Debian package). Pods have the host's network, so no CNI is needed.
 */
import { randomUUID } from "node:crypto"
import { fileURLToPath } from "node:url"
import * as Grpc from "@grpc/grpc-js"
import * as ProtoLoader from "@grpc/proto-loader"
import { Effect, Schedule, Schema, type Scope } from "effect"
import * as BaseImage from "./BaseImage.ts"
import * as Containerd from "./Containerd.ts"
import { DaemonError } from "./Process.ts"

const definitions = ProtoLoader.loadSync("cri.proto", {
  longs: Number,
  enums: String,
  defaults: true,
  includeDirs: [fileURLToPath(new URL(".", import.meta.url))]
})

const isService = (definition: ProtoLoader.AnyDefinition | undefined): definition is ProtoLoader.ServiceDefinition =>
  definition !== undefined && !("format" in definition)

const methodOf = (service: string, name: string) => {
  const methods = definitions[`runtime.v1.${service}`]
  const method = isService(methods) ? methods[name] : undefined
  if (method === undefined) throw new Error(`cri.proto has no ${service}/${name}`)
  return method
}

const Nothing = Schema.Struct({})
const PodSandbox = Schema.Struct({ podSandboxId: Schema.String })
const Created = Schema.Struct({ containerId: Schema.String })
const Executed = Schema.Struct({
  stdout: Schema.instanceOf(Uint8Array),
  stderr: Schema.instanceOf(Uint8Array),
  exitCode: Schema.Number
})
const ImageInfo = Schema.Struct({ id: Schema.String, repoTags: Schema.Array(Schema.String) })
const ImageList = Schema.Struct({ images: Schema.Array(ImageInfo) })
const ImageStatus = Schema.Struct({ image: Schema.NullOr(ImageInfo) })
/** An image as the kubelet sees it. */
export type Image = typeof ImageInfo.Type

export interface Container {
  readonly id: string
  /** Runs a shell script in the container and gives what it prints. */
  readonly exec: (script: string) => Effect.Effect<string, DaemonError>
  readonly stop: Effect.Effect<void, DaemonError>
  readonly remove: Effect.Effect<void, DaemonError>
}

export interface ContainerOptions {
  readonly name: string
  readonly image: string
  /** Which start of this container it is, after those that have ended. */
  readonly attempt?: number | undefined
}

export interface Pod {
  /** The sandbox's. */
  readonly id: string
  /** A container that sleeps; it goes with the pod. */
  readonly run: (options: ContainerOptions) => Effect.Effect<Container, DaemonError>
}

export interface Cri {
  readonly containerd: Containerd.RunningContainerd
  readonly base: BaseImage.BaseImage
  /** A pod that goes with the scope. */
  readonly pod: (name: string, namespace?: string) => Effect.Effect<Pod, DaemonError, Scope.Scope>
  readonly images: Effect.Effect<ReadonlyArray<Image>, DaemonError>
  /** `null` where CRI knows no image of that name. */
  readonly imageStatus: (name: string) => Effect.Effect<Image | null, DaemonError>
  readonly removeImage: (name: string) => Effect.Effect<void, DaemonError>
}

/** CRI answers only when it has read what is there. */
const untilReady = { schedule: Schedule.spaced("50 millis"), times: 200 }

type Call = <Answer, Encoded>(
  service: "RuntimeService" | "ImageService",
  name: string,
  request: object,
  answer: Schema.Codec<Answer, Encoded>
) => Effect.Effect<Answer, DaemonError>

const connect = (address: string): Effect.Effect<Call, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => new Grpc.Client(`unix:${address}`, Grpc.credentials.createInsecure())),
      (client) => Effect.sync(() => client.close())
    ),
    (client): Call =>
      (service, name, request, answer) => {
        const { path, requestSerialize, responseDeserialize } = methodOf(service, name)
        const failure = (error: unknown) => new DaemonError({ command: `CRI ${name}`, detail: String(error) })
        return Effect.callback<object, DaemonError>((resume) => {
          const call = client.makeUnaryRequest(path, requestSerialize, responseDeserialize, request, (error, value) =>
            resume(value === undefined ? Effect.fail(failure(error)) : Effect.succeed(value))
          )
          return Effect.sync(() => call.cancel())
        }).pipe(Effect.flatMap((value) => Effect.mapError(Schema.decodeUnknownEffect(answer)(value), failure)))
      }
  )

const hostNetwork = { namespaceOptions: { network: "NODE" } }

const forever = ["sleep", "2147483647"]

const container = (call: Call, id: string): Container => ({
  id,
  exec: Effect.fnUntraced(function* (script) {
    const cmd = ["sh", "-ec", script]
    const { exitCode, stderr, stdout } = yield* call("RuntimeService", "ExecSync", { containerId: id, cmd }, Executed)
    if (exitCode === 0) return Buffer.from(stdout).toString()
    return yield* new DaemonError({ command: script, exitCode, detail: Buffer.from(stderr).toString() })
  }),
  stop: Effect.asVoid(call("RuntimeService", "StopContainer", { containerId: id }, Nothing)),
  remove: Effect.asVoid(call("RuntimeService", "RemoveContainer", { containerId: id }, Nothing))
})

/** What the kubelet labels a pod and its containers with. */
const labelsOf = ({ name, namespace, uid }: { readonly name: string; readonly namespace: string; uid: string }) => ({
  "io.kubernetes.pod.name": name,
  "io.kubernetes.pod.namespace": namespace,
  "io.kubernetes.pod.uid": uid
})

const runPod = Effect.fnUntraced(function* (call: Call, name: string, namespace = "default") {
  const metadata = { name, namespace, uid: randomUUID(), attempt: 0 }
  const labels = labelsOf(metadata)
  const config = { metadata, labels, linux: { securityContext: hostNetwork } }
  const { podSandboxId } = yield* Effect.acquireRelease(
    call("RuntimeService", "RunPodSandbox", { config }, PodSandbox),
    (sandbox) =>
      call("RuntimeService", "StopPodSandbox", sandbox, Nothing).pipe(
        Effect.andThen(call("RuntimeService", "RemovePodSandbox", sandbox, Nothing)),
        Effect.ignoreCause({ log: "Warn" })
      )
  )
  const run = Effect.fnUntraced(function* ({ attempt = 0, image, name: containerName }: ContainerOptions) {
    const request = {
      podSandboxId,
      config: {
        metadata: { name: containerName, attempt },
        image: { image },
        command: forever,
        labels: { ...labels, "io.kubernetes.container.name": containerName },
        linux: { securityContext: hostNetwork }
      },
      sandboxConfig: config
    }
    const { containerId } = yield* call("RuntimeService", "CreateContainer", request, Created)
    yield* call("RuntimeService", "StartContainer", { containerId }, Nothing)
    return container(call, containerId)
  })
  return { id: podSandboxId, run } satisfies Pod
})

const sandboxImage = "localhost/pause:1"

/** A private containerd whose CRI plugin is on, with a base image that it knows. */
export const start = Effect.fnUntraced(function* (version: Containerd.Version) {
  const containerd = yield* Containerd.start(version, { cri: { sandboxImage } })
  const call = yield* connect(containerd.address)
  const imageStatus = (image: string) =>
    Effect.map(call("ImageService", "ImageStatus", { image: { image } }, ImageStatus), (status) => status.image)
  yield* Effect.retry(imageStatus(sandboxImage), untilReady)
  const pause = yield* BaseImage.busybox({ ref: sandboxImage, config: { Cmd: forever } })
  const base = yield* BaseImage.busybox()
  for (const image of [pause, base]) {
    yield* BaseImage.importImage(containerd, image, { namespace: "k8s.io" })
    const missing = new DaemonError({ command: "CRI ImageStatus", detail: `there is no ${image.ref}` })
    yield* Effect.filterOrFail(
      imageStatus(image.ref),
      (found) => found !== null,
      () => missing
    ).pipe(Effect.retry(untilReady))
  }
  const cri: Cri = {
    containerd,
    base,
    pod: (name, namespace) => runPod(call, name, namespace),
    images: Effect.map(call("ImageService", "ListImages", {}, ImageList), ({ images }) => images),
    imageStatus,
    removeImage: (image) => Effect.asVoid(call("ImageService", "RemoveImage", { image: { image } }, Nothing))
  }
  return cri
})
