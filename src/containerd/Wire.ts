/**
 * containerd's API as `proto/` defines it, with the one rule that the generated types do not know: a message that is
 * absent where the server expects one ends the whole daemon, for all of its clients.
 *
 * @since 0.1.0
 */

import { fileURLToPath } from "node:url"
import * as Grpc from "@grpc/grpc-js"
import * as ProtoLoader from "@grpc/proto-loader"
import type { ProtoGrpcType } from "./generated/containerd.ts"

/**
 * A request in which every message is present, however deep. Scalars, bytes, enums, lists and maps stay optional, for
 * absent is their zero value. A field declared `optional` in the definitions may be absent, and so may those named
 * `Absent`.
 */
export type Present<Message, Absent extends string = never> = Message extends { readonly "@type": string }
  ? never
  : {
      [Field in keyof Message as MustBePresent<Message, Field, Absent> extends true ? Field : never]-?: PresentValue<
        Message[Field],
        Absent
      >
    } & {
      [Field in keyof Message as MustBePresent<Message, Field, Absent> extends true ? never : Field]: PresentValue<
        Message[Field],
        Absent
      >
    }

// Of all fields, only single messages admit null in the generated types; `_field` marks an optional one.
type MustBePresent<Message, Field extends keyof Message, Absent> = null extends Message[Field]
  ? Field extends Absent
    ? false
    : `_${Field & string}` extends keyof Message
      ? false
      : true
  : false

type PresentValue<Value, Absent extends string> = null extends Value
  ? Present<NonNullable<Value>, Absent>
  : Value extends Array<infer Element extends object>
    ? Array<Present<Element, Absent>>
    : Value

/** Messages that every server checks for, so that they may be left out. */
export type MayBeAbsent = "createdAt" | "updatedAt" | "updateMask" | "sourceDateEpoch"

/** What we need of a method's definition. */
export interface Method<Request, Response> {
  readonly path: string
  readonly requestSerialize: (request: Request) => Buffer
  readonly responseDeserialize: (bytes: Buffer) => Response
}

/** A request of that type that cannot hurt the daemon. */
export type SafeRequest<Request> = NoInfer<Request & Present<Request, MayBeAbsent>>

const load = () => {
  const read = ProtoLoader.loadSync("containerd.proto", {
    keepCase: false,
    longs: Number,
    enums: String,
    defaults: true,
    includeDirs: [fileURLToPath(new URL("../../proto", import.meta.url))]
  })
  // The loader's result has no static type; the generated one describes just this definition (npm run check:proto).
  const { runc, services } = (Grpc.loadPackageDefinition(read) as unknown as ProtoGrpcType).containerd
  return {
    services: {
      containers: services.containers.v1.Containers.service,
      content: services.content.v1.Content.service,
      diff: services.diff.v1.Diff.service,
      images: services.images.v1.Images.service,
      introspection: services.introspection.v1.Introspection.service,
      leases: services.leases.v1.Leases.service,
      namespaces: services.namespaces.v1.Namespaces.service,
      snapshots: services.snapshots.v1.Snapshots.service,
      tasks: services.tasks.v1.Tasks.service,
      version: services.version.v1.Version.service
    },
    runcOptions: runc.v1.Options
  }
}

/** Reading the definitions takes some 50 milliseconds, so it is done once in a process and only when needed. */
let loaded: ReturnType<typeof load> | undefined
const definitions = () => (loaded ??= load())

export const services = () => definitions().services

/** What runc's shim was told of a container. */
export const runcOptions = () => definitions().runcOptions
