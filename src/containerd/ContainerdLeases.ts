/** @since 0.1.0 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Lease, Leases, type Resource } from "../core/Leases.ts"
import { Connection } from "./Connection.ts"
import { orGone } from "./Convert.ts"
import { services } from "./Wire.ts"

const make = Effect.gen(function* () {
  const { unary } = yield* Connection
  const { leases } = services()
  return Leases.of({
    create: ({ id, labels }) => Effect.asVoid(unary(leases.Create, { id, labels })),
    delete: (id, options) => orGone(unary(leases.Delete, { id, sync: options?.sync ?? false })),
    list: (filters = []) =>
      Effect.map(unary(leases.List, { filters: [...filters] }), (response) =>
        response.leases.map(({ id, labels }) => ({ id, labels }))
      ),
    resources: (id) =>
      Effect.map(unary(leases.ListResources, { id }), (response) => response.resources.flatMap(toResource)),
    addResource: Effect.fnUntraced(function* (resource: Resource) {
      const { id } = yield* Lease
      yield* unary(leases.AddResource, { id, resource: { id: resource.id, type: resource.type } })
    })
  })
})

const isType = (type: string): type is Resource["type"] =>
  type === "content" || type === "ingests" || type.startsWith("snapshots/")

/** Newer servers know more types, which are not ours to use. */
const toResource = ({ id, type }: { readonly id: string; readonly type: string }): ReadonlyArray<Resource> =>
  isType(type) ? [{ id, type }] : []

export const layer: Layer.Layer<Leases, never, Connection> = Layer.effect(Leases, make)
