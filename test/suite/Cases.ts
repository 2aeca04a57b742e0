/** What the cases of the suites share. */
import { Effect, Scope, Stream } from "effect"
import { type ContainerdError, ContentStore, type Descriptor, Images, Leases } from "effect-containerd"
import type { Where } from "./Differences.ts"

export type Traits = Where

let count = 0
/** All cases of a suite run in one store. */
export const unique = (prefix: string): string => `${prefix}-${process.pid}-${++count}`

/** Under a lease of its own, also inside of another one; the program is given its id. */
export const leasedAs = <A, E, R>(f: (id: string) => Effect.Effect<A, E, R>) =>
  Effect.scopedWith((scope) => {
    const id = unique("suite")
    return Effect.flatMap(Effect.provideService(Leases.scoped({ id }), Scope.Scope, scope), (lease) =>
      Effect.provideService(f(id), Leases.Lease, lease)
    )
  })

export const leased = <A, E, R>(self: Effect.Effect<A, E, R>) => leasedAs(() => self)

/** The reason of the failure that must come. */
export const reason = <A, R>(self: Effect.Effect<A, ContainerdError.ContainerdError, R>) =>
  Effect.map(Effect.flip(self), (error) => error.reason._tag)

export const exists = <A, R>(self: Effect.Effect<A, ContainerdError.ContainerdError, R>) =>
  Effect.as(self, true).pipe(Effect.catchReason("ContainerdError", "NotFound", () => Effect.succeed(false)))

/** Removes what nothing refers to; every backend collects when a lease goes synchronously. */
export const collect = Effect.gen(function* () {
  const leases = yield* Leases.Leases
  const id = unique("collect")
  yield* leases.create({ id, labels: {} })
  yield* leases.delete(id, { sync: true })
})

/** Bytes that no other case has. */
export const randomBytes = (size: number): Uint8Array => {
  const bytes = new Uint8Array(size)
  for (let i = 0; i < size; i += 65_536) crypto.getRandomValues(bytes.subarray(i, i + 65_536))
  return bytes
}

export const inPieces = (bytes: Uint8Array, size: number): Stream.Stream<Uint8Array> =>
  Stream.fromIterable(
    Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) => bytes.subarray(i * size, (i + 1) * size))
  )

export const write = (bytes: Uint8Array, options: Partial<ContentStore.WriteOptions> = {}) =>
  ContentStore.ContentStore.use((store) =>
    store.write(inPieces(bytes, 100_000), { mediaType: "application/octet-stream", ...options })
  )

export const readAll = (descriptor: Descriptor.Descriptor, offset = 0) =>
  ContentStore.ContentStore.use((store) => Stream.mkUint8Array(store.read(descriptor.digest, { offset })))

export const hasBlob = ({ digest }: Descriptor.Descriptor) =>
  ContentStore.ContentStore.use((store) => exists(store.info(digest)))

/** An image that goes with the scope, so that it holds nothing in the cases that follow. */
export const image = (target: Descriptor.Descriptor, labels: Readonly<Record<string, string>> = {}) => {
  const name = `docker.io/suite/${unique("image")}:1`
  return Effect.acquireRelease(
    Effect.as(
      Images.Images.use((images) => images.create({ name, target, labels })),
      name
    ),
    () => Effect.ignore(Images.Images.use((images) => images.delete(name)))
  )
}
