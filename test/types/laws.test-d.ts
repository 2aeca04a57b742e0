/**
 * Laws 1 and 10: what a program must hold, and what a request must have, is in its type. Each program that does not
 * compile stands beside its twin that does and differs in the one thing.
 */
import { Effect, type Scope, Stream } from "effect"
import { describe, expectTypeOf, test } from "vitest"
import * as Commit from "../../src/commit/Commit.ts"
import type { CommitError } from "../../src/commit/CommitError.ts"
import type { Connection } from "../../src/containerd/Connection.ts"
import type * as ContentApi from "../../src/containerd/generated/containerd/services/content/v1/UpdateRequest.ts"
import type * as DiffApi from "../../src/containerd/generated/containerd/services/diff/v1/ApplyRequest.ts"
import type * as ImagesApi from "../../src/containerd/generated/containerd/services/images/v1/CreateImageRequest.ts"
import type * as LeasesApi from "../../src/containerd/generated/containerd/services/leases/v1/AddResourceRequest.ts"
import type * as SnapshotsApi from "../../src/containerd/generated/containerd/services/snapshots/v1/UpdateSnapshotRequest.ts"
import type { Method, SafeRequest } from "../../src/containerd/Wire.ts"
import type { ContainerdError } from "../../src/core/ContainerdError.ts"
import type { Containers } from "../../src/core/Containers.ts"
import { ContentStore } from "../../src/core/ContentStore.ts"
import { Differ } from "../../src/core/Differ.ts"
import type { Images } from "../../src/core/Images.ts"
import type { Introspection } from "../../src/core/Introspection.ts"
import * as Leases from "../../src/core/Leases.ts"
import type { Namespaces } from "../../src/core/Namespaces.ts"
import type { Active, Snapshotter, Snapshotters, View } from "../../src/core/Snapshotter.ts"
import { Tasks } from "../../src/core/Tasks.ts"
import type * as Descriptor from "../../src/oci/Descriptor.ts"

declare const store: ContentStore["Service"]
declare const differ: Differ["Service"]
declare const leases: Leases.Leases["Service"]
declare const tasks: Tasks["Service"]
declare const snapshotter: Snapshotter
declare const held: Leases.HeldLease

describe("law 1: a program that writes holds a lease", () => {
  const options = { mediaType: "text/plain" }

  test("ContentStore.write", () => {
    const program = Effect.flatMap(ContentStore, (store) => store.write(Stream.make(new Uint8Array()), options))
    expectTypeOf<Effect.Services<typeof program>>().toEqualTypeOf<ContentStore | Leases.Lease>()
    expectTypeOf<Effect.Error<typeof program>>().toEqualTypeOf<ContainerdError>()
    const ready = Effect.provideService(program, ContentStore, store)
    // @ts-expect-error no lease
    Effect.runPromise(ready)
    Effect.runPromise(Effect.provideService(ready, Leases.Lease, held))
  })

  test("ContentStore.write has the errors and needs of its stream, too", () => {
    const stream = Stream.fromEffect(Effect.andThen(Tasks, Effect.fail("broken" as const)))
    const program = store.write(stream, options)
    expectTypeOf(program).toEqualTypeOf<
      Effect.Effect<Descriptor.Descriptor, ContainerdError | "broken", Tasks | Leases.Lease>
    >()
  })

  test("ContentStore.writeBytes", () => {
    const program = Effect.flatMap(ContentStore, (store) => store.writeBytes(new Uint8Array(), options))
    expectTypeOf<Effect.Services<typeof program>>().toEqualTypeOf<ContentStore | Leases.Lease>()
    const ready = Effect.provideService(program, ContentStore, store)
    // @ts-expect-error no lease
    Effect.runPromise(ready)
    Effect.runPromise(Effect.provideService(ready, Leases.Lease, held))
  })

  test("Differ.diff and Differ.supports", () => {
    const program = Effect.flatMap(Differ, (differ) => differ.diff({ lower: [], upper: [], mediaType: "" }))
    expectTypeOf<Effect.Services<typeof program>>().toEqualTypeOf<Differ | Leases.Lease>()
    const ready = Effect.provideService(program, Differ, differ)
    // @ts-expect-error no lease
    Effect.runPromise(ready)
    Effect.runPromise(Effect.provideService(ready, Leases.Lease, held))
    expectTypeOf(differ.supports("")).toEqualTypeOf<Effect.Effect<boolean, ContainerdError, Leases.Lease>>()
  })

  test("Leases.addResource", () => {
    const program = Effect.flatMap(Leases.Leases, (leases) => leases.addResource({ type: "content", id: "" }))
    expectTypeOf<Effect.Services<typeof program>>().toEqualTypeOf<Leases.Leases | Leases.Lease>()
    const ready = Effect.provideService(program, Leases.Leases, leases)
    // @ts-expect-error no lease
    Effect.runPromise(ready)
    Effect.runPromise(Effect.provideService(ready, Leases.Lease, held))
  })

  test("what only reads needs none", () => {
    const read = Effect.all([store.ingests, store.list().pipe(Stream.runDrain), leases.list(), tasks.get("c")])
    expectTypeOf<Effect.Services<typeof read>>().toEqualTypeOf<never>()
    Effect.runPromise(read)
  })
})

describe("law 1: what must be undone has a scope", () => {
  const options = { key: "k", parent: "" }

  test("Snapshotter.prepare", () => {
    const program = snapshotter.prepare(options)
    expectTypeOf(program).toEqualTypeOf<Effect.Effect<Active, ContainerdError, Leases.Lease | Scope.Scope>>()
    // @ts-expect-error no lease
    Effect.runPromise(Effect.scoped(program))
    // @ts-expect-error no scope
    Effect.runPromise(Effect.provideService(program, Leases.Lease, held))
    Effect.runPromise(Effect.provideService(Effect.scoped(program), Leases.Lease, held))
  })

  test("the commit of an active snapshot", () => {
    const program = Effect.scoped(Effect.flatMap(snapshotter.prepare(options), (active) => active.commit("name")))
    expectTypeOf(program).toEqualTypeOf<Effect.Effect<void, ContainerdError, Leases.Lease>>()
    expectTypeOf<ReturnType<Active["commit"]>>().toEqualTypeOf<Effect.Effect<void, ContainerdError, Leases.Lease>>()
    // @ts-expect-error no lease
    Effect.runPromise(program)
    Effect.runPromise(Effect.provideService(program, Leases.Lease, held))
  })

  test("Snapshotter.view", () => {
    const program = snapshotter.view(options)
    expectTypeOf(program).toEqualTypeOf<Effect.Effect<View, ContainerdError, Leases.Lease | Scope.Scope>>()
    // @ts-expect-error no lease
    Effect.runPromise(Effect.scoped(program))
    // @ts-expect-error no scope
    Effect.runPromise(Effect.provideService(program, Leases.Lease, held))
    Effect.runPromise(Effect.provideService(Effect.scoped(program), Leases.Lease, held))
  })

  test("Tasks.paused", () => {
    const program = Effect.flatMap(Tasks, (tasks) => tasks.paused("c"))
    expectTypeOf<Effect.Services<typeof program>>().toEqualTypeOf<Tasks | Scope.Scope>()
    const ready = Effect.provideService(program, Tasks, tasks)
    // @ts-expect-error no scope
    Effect.runPromise(ready)
    Effect.runPromise(Effect.scoped(ready))
  })

  test("Leases.scoped", () => {
    const program = Leases.scoped({ id: "id" })
    expectTypeOf(program).toEqualTypeOf<Effect.Effect<Leases.HeldLease, ContainerdError, Leases.Leases | Scope.Scope>>()
    const ready = Effect.provideService(program, Leases.Leases, leases)
    // @ts-expect-error no scope
    Effect.runPromise(ready)
    Effect.runPromise(Effect.scoped(ready))
  })
})

describe("law 1: a lease comes from nowhere else", () => {
  const program = store.writeBytes(new Uint8Array(), { mediaType: "text/plain" })

  test("it cannot be built by hand", () => {
    // @ts-expect-error not held
    const made: Leases.HeldLease = { id: "id", labels: {} }
    // @ts-expect-error not held
    Effect.provideService(program, Leases.Lease, { id: "id", labels: {} })
    // @ts-expect-error not held
    Leases.Lease.of({ id: "id", labels: {} })
    const info: Leases.LeaseInfo = { id: "id", labels: {} }
    const same: Leases.HeldLease = held
    Effect.provideService(program, Leases.Lease, held)
    Leases.Lease.of(held)
    expectTypeOf(made).toEqualTypeOf(same)
    // A held lease is a lease's record, and not the other way round.
    expectTypeOf(held).toExtend<typeof info>()
    expectTypeOf(info).not.toExtend<typeof held>()
  })

  test("withLease gives it, and takes nothing else away", () => {
    const leased = program.pipe(Leases.withLease({ id: "id" }))
    expectTypeOf(leased).toEqualTypeOf<Effect.Effect<Descriptor.Descriptor, ContainerdError, Leases.Leases>>()
    const ready = Effect.provideService(leased, Leases.Leases, leases)
    Effect.runPromise(ready)
    const scoped = snapshotter.view({ key: "k", parent: "" }).pipe(Leases.withLease({ id: "id" }))
    expectTypeOf<Effect.Services<typeof scoped>>().toEqualTypeOf<Leases.Leases | Scope.Scope>()
  })

  test("withLease adds only the errors of a lease", () => {
    const failing = Effect.fail("mine" as const).pipe(Leases.withLease({ id: "id" }))
    expectTypeOf<Effect.Error<typeof failing>>().toEqualTypeOf<"mine" | ContainerdError>()
  })
})

describe("law 10: a request has every message that the daemon needs", () => {
  const target = { mediaType: "m", digest: "d", size: 1 }
  const send = <Request>(_: SafeRequest<Request>): void => {}

  test("Images.Create", () => {
    // @ts-expect-error no image
    send<ImagesApi.CreateImageRequest>({})
    // @ts-expect-error an image that is null
    send<ImagesApi.CreateImageRequest>({ image: null })
    // @ts-expect-error no target
    send<ImagesApi.CreateImageRequest>({ image: { name: "n" } })
    // @ts-expect-error a target that is undefined
    send<ImagesApi.CreateImageRequest>({ image: { name: "n", target: undefined } })
    send<ImagesApi.CreateImageRequest>({ image: { name: "n", target } })
    // Zero values need not be written, nor times, for which every server looks.
    send<ImagesApi.CreateImageRequest>({ image: { target: {} } })
    send<ImagesApi.CreateImageRequest>({ image: { target, createdAt: {} }, sourceDateEpoch: { seconds: 1 } })
  })

  test("Content.Update", () => {
    // @ts-expect-error no info
    send<ContentApi.UpdateRequest>({ updateMask: { paths: ["labels.a"] } })
    send<ContentApi.UpdateRequest>({ updateMask: { paths: ["labels.a"] }, info: { digest: "d" } })
    send<ContentApi.UpdateRequest>({ info: {} })
  })

  test("Diff.Apply", () => {
    // @ts-expect-error no diff
    send<DiffApi.ApplyRequest>({ mounts: [] })
    send<DiffApi.ApplyRequest>({ mounts: [], diff: target })
    send<DiffApi.ApplyRequest>({ diff: {} })
  })

  test("Leases.AddResource", () => {
    // @ts-expect-error no resource
    send<LeasesApi.AddResourceRequest>({ id: "i" })
    send<LeasesApi.AddResourceRequest>({ id: "i", resource: { id: "d", type: "content" } })
    send<LeasesApi.AddResourceRequest>({ resource: {} })
  })

  test("Snapshots.Update", () => {
    // @ts-expect-error no info
    send<SnapshotsApi.UpdateSnapshotRequest>({ snapshotter: "overlayfs" })
    send<SnapshotsApi.UpdateSnapshotRequest>({ snapshotter: "overlayfs", info: { name: "k" } })
    send<SnapshotsApi.UpdateSnapshotRequest>({ info: {} })
  })

  test("the connection takes no other", () => {
    const connection = {} as Connection["Service"]
    const create = {} as Method<ImagesApi.CreateImageRequest, unknown>
    // @ts-expect-error no image
    connection.unary(create, {})
    connection.unary(create, { image: { target } })
    // @ts-expect-error no image
    connection.serverStream(create, {})
    connection.serverStream(create, { image: { target } })
  })
})

describe("Commit.commit", () => {
  type Everything =
    | Containers
    | ContentStore
    | Differ
    | Images
    | Introspection
    | Leases.Leases
    | Namespaces
    | Snapshotters
    | Tasks

  test("fails with CommitError alone and needs the services of a backend alone", () => {
    const program = Commit.commit({ container: "c" })
    expectTypeOf<Effect.Success<typeof program>>().toEqualTypeOf<Commit.Committed>()
    expectTypeOf<Effect.Error<typeof program>>().toEqualTypeOf<CommitError>()
    expectTypeOf<Effect.Services<typeof program>>().toEqualTypeOf<Everything>()
  })

  test("and so does a build step", () => {
    const program = Commit.commitBuildStep({ container: "c", config: {}, createdBy: "RUN make" })
    expectTypeOf<Effect.Success<typeof program>>().toEqualTypeOf<Commit.Committed>()
    expectTypeOf<Effect.Error<typeof program>>().toEqualTypeOf<CommitError>()
    expectTypeOf<Effect.Services<typeof program>>().toEqualTypeOf<Everything>()
  })

  test("recovery needs leases and tasks", () => {
    const program = Commit.recover()
    expectTypeOf<Effect.Success<typeof program>>().toExtend<ReadonlyArray<Commit.Recovered>>()
    expectTypeOf<Effect.Error<typeof program>>().toEqualTypeOf<ContainerdError>()
    expectTypeOf<Effect.Services<typeof program>>().toEqualTypeOf<Leases.Leases | Tasks>()
  })

  test("options are named right", () => {
    // @ts-expect-error no container
    Commit.commit({})
    // @ts-expect-error no such compression
    Commit.commit({ container: "c", compression: "bzip2" })
    Commit.commit({ container: "c", compression: "zstd" })
  })
})
