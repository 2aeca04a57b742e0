/** @since 0.1.0 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { ContentStore, type Info, labelsOf, type WriteOptions } from "../core/ContentStore.ts"
import { quietly } from "../core/Finalizer.ts"
import { Leases } from "../core/Leases.ts"
import * as Descriptor from "../oci/Descriptor.ts"
import type * as Digest from "../oci/Digest.ts"
import { Connection } from "./Connection.ts"
import { newRef, type Written, writeStream, writeWhole } from "./ContentIngest.ts"
import { orGone, present, digest as toDigest } from "./Convert.ts"
import type { Info__Output as WireInfo } from "./generated/containerd/services/content/v1/Info.ts"
import * as LocalIngest from "./LocalIngest.ts"
import { services } from "./Wire.ts"

const fromInfo = (method: string, wire: WireInfo | null) =>
  Effect.gen(function* () {
    const { digest, labels, size } = yield* present(method, wire)
    return { digest: yield* toDigest(method, digest), size, labels } satisfies Info
  })

const make = Effect.gen(function* () {
  const connection = yield* Connection
  const leases = yield* Leases
  const { serverStream, unary } = connection
  const { content } = services()
  const root = yield* Effect.cached(LocalIngest.root(connection))

  const info = (digest: Digest.Digest) =>
    Effect.flatMap(unary(content.Info, { digest }), (response) => fromInfo("Content.Info", response.info))

  const setLabels = (digest: Digest.Digest, labels: Readonly<Record<string, string>>) => {
    const paths = Object.keys(labels).map((key) => `labels.${key}`)
    // A mask without paths would replace all labels by none.
    if (paths.length === 0) return Effect.asVoid(info(digest))
    return Effect.asVoid(unary(content.Update, { info: { digest, labels: { ...labels } }, updateMask: { paths } }))
  }

  /** Of a writer that has just gone the daemon may still write what was on its way, and then not remove the directory. */
  const abort = (ref: string) =>
    Effect.retry(orGone(unary(content.Abort, { ref })), {
      while: ({ reason }) => reason._tag === "Unknown" && reason.message.includes("directory not empty"),
      schedule: Schedule.spaced("20 millis"),
      times: 25
    })

  /** An ingest that nobody knows by name, and so nobody can resume, goes when its write fails. */
  const orAbort =
    (ref: string) =>
    <A, E, R>(self: Effect.Effect<A, E, R>) =>
      Effect.onError(self, () => quietly(`ingest ${ref}`)(abort(ref)))

  /**
   * A blob that was there before may be anybody's garbage. Referred to first and looked at second, it is either gone
   * for good or here to stay; then it gets the labels it would have been written with.
   */
  const adopt = Effect.fnUntraced(function* (digest: Digest.Digest, labels: Readonly<Record<string, string>>) {
    yield* leases.addResource({ type: "content", id: digest })
    const found = yield* info(digest)
    const missing = Object.entries(labels).filter(([key, value]) => found.labels[key] !== value)
    if (missing.length > 0) yield* setLabels(digest, Object.fromEntries(missing))
  })

  const finish = Effect.fnUntraced(function* (
    { digest, existed, size }: Written,
    options: Pick<WriteOptions, "labels" | "mediaType">
  ) {
    const { mediaType } = options
    if (existed) yield* adopt(digest, labelsOf(options))
    return Descriptor.make({ mediaType, digest, size })
  })

  return ContentStore.of({
    info,
    setLabels,
    abort,
    read: (digest, options) =>
      serverStream(content.Read, { digest, offset: options?.offset ?? 0 }).pipe(
        // Buffers are the default for bytes; text would come only with another setting of the loader.
        Stream.map(({ data }) => (typeof data === "string" ? Buffer.from(data) : data))
      ),
    write: Effect.fnUntraced(function* <E, R>(data: Stream.Stream<Uint8Array, E, R>, options: WriteOptions) {
      const ref = options.ref ?? newRef()
      const write = writeStream(connection, data, ref, options, root)
      return yield* finish(yield* options.ref === undefined ? orAbort(ref)(write) : write, options)
    }),
    writeBytes: Effect.fnUntraced(function* (bytes, options) {
      const ref = newRef()
      return yield* finish(yield* orAbort(ref)(writeWhole(connection, bytes, ref, options.labels ?? {})), options)
    }),
    list: (filters = []) =>
      serverStream(content.List, { filters: [...filters] }).pipe(
        Stream.map((response) => response.info),
        Stream.flattenIterable,
        Stream.mapEffect((wire) => fromInfo("Content.List", wire))
      ),
    delete: (digest) => orGone(unary(content.Delete, { digest })),
    ingests: Effect.map(unary(content.ListStatuses, {}), ({ statuses }) =>
      statuses.map(({ offset, ref, total }) => ({ offset, ref, total }))
    )
  })
})

export const layer: Layer.Layer<ContentStore, never, Connection | Leases> = Layer.effect(ContentStore, make)
