/** @since 0.1.0 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import { type Container, Containers } from "../core/Containers.ts"
import { Connection } from "./Connection.ts"
import { present } from "./Convert.ts"
import type { Container__Output as WireContainer } from "./generated/containerd/services/containers/v1/Container.ts"
import { runcOptions, services } from "./Wire.ts"

/** The loader gives a well-known message in place of an Any that it can decode; a runtime spec never is one. */
const bytesOf = (spec: WireContainer["spec"]): Uint8Array =>
  spec !== null && "value" in spec && spec.value instanceof Uint8Array ? spec.value : new Uint8Array()

/** The shim of runc can be told to run another program. Options that cannot be read are none. */
const programOf = (runtime: WireContainer["runtime"]): string | undefined => {
  const { type_url = "", value } = runtime?.options ?? {}
  if (!type_url.endsWith("containerd.runc.v1.Options") || !(value instanceof Uint8Array)) return undefined
  const bytes = Buffer.from(value)
  return Result.getOrUndefined(Result.try(() => runcOptions().deserialize(bytes).binaryName))
}

const fromContainer = (method: string, wire: WireContainer | null) =>
  Effect.map(
    present(method, wire),
    ({ createdAt, id, image, labels, runtime, snapshotKey, snapshotter, spec }): Container => ({
      id,
      image,
      labels,
      runtime: runtime?.name ?? "",
      runtimeProgram: programOf(runtime),
      snapshotter,
      snapshotKey,
      spec: bytesOf(spec),
      createdAt: createdAt === null ? undefined : createdAt.seconds * 1000 + Math.floor(createdAt.nanos / 1e6)
    })
  )

const make = Effect.gen(function* () {
  const { serverStream, unary } = yield* Connection
  const { containers } = services()
  return Containers.of({
    get: (id) =>
      Effect.flatMap(unary(containers.Get, { id }), ({ container }) => fromContainer("Containers.Get", container)),
    // A list in one message would be over the size limit with some hundred containers.
    list: (filters = []) =>
      serverStream(containers.ListStream, { filters: [...filters] }).pipe(
        Stream.mapEffect(({ container }) => fromContainer("Containers.ListStream", container))
      )
  })
})

export const layer: Layer.Layer<Containers, never, Connection> = Layer.effect(Containers, make)
