import { assert, describe, it } from "@effect/vitest"
import * as Grpc from "@grpc/grpc-js"
import { Effect, Layer } from "effect"
import * as Containerd from "../../src/containerd/Containerd.ts"
import { toContainerdError } from "../../src/containerd/GrpcError.ts"
import { services } from "../../src/containerd/Wire.ts"
import type { ContainerdError, Reason } from "../../src/core/ContainerdError.ts"
import { Images } from "../../src/core/Images.ts"
import * as FakeContainerd from "../support/FakeContainerd.ts"

const address = "/run/containerd/containerd.sock"

/** What grpc-js gives, as far as the mapping looks at it. */
const fromDetails = (code: Grpc.status, details: string): ContainerdError =>
  toContainerdError("Images.Get", address)(Object.assign(new Error(details), { code, details }))

const reasons: ReadonlyArray<readonly [keyof typeof Grpc.status, Reason["_tag"]]> = [
  ["CANCELLED", "Unknown"],
  ["UNKNOWN", "Unknown"],
  ["INVALID_ARGUMENT", "InvalidArgument"],
  ["DEADLINE_EXCEEDED", "DeadlineExceeded"],
  ["NOT_FOUND", "NotFound"],
  ["ALREADY_EXISTS", "AlreadyExists"],
  ["PERMISSION_DENIED", "PermissionDenied"],
  ["RESOURCE_EXHAUSTED", "ResourceExhausted"],
  ["FAILED_PRECONDITION", "FailedPrecondition"],
  ["ABORTED", "Unknown"],
  ["OUT_OF_RANGE", "OutOfRange"],
  ["UNIMPLEMENTED", "Unimplemented"],
  ["INTERNAL", "Unknown"],
  ["UNAVAILABLE", "Unavailable"],
  ["DATA_LOSS", "Unknown"],
  ["UNAUTHENTICATED", "PermissionDenied"]
]

describe("the status of a call", () => {
  it("the table has every status that is an error", () => {
    const names = Object.keys(Grpc.status).filter((name) => !/^\d+$/.test(name) && name !== "OK")
    assert.sameMembers(
      reasons.map(([name]) => name),
      names
    )
  })

  it.live("becomes its reason, with the server's words", () =>
    Effect.gen(function* () {
      const fake = yield* FakeContainerd.make
      const connection = yield* Layer.build(Containerd.layer({ address: fake.address }))
      const image = Effect.flatMap(Images, (images) => images.get("app"))
      for (const [status, reason] of reasons) {
        const details = `image "app": ${status}`
        fake.reply(services().images.Get, () => ({ code: Grpc.status[status], details }))
        const error = yield* Effect.flip(Effect.provide(image, connection))
        assert.strictEqual(error.reason._tag, reason, status)
        assert.strictEqual(error.method, "Images.Get")
        assert.include(error.message, details)
        assert.match(error.message, /^Images\.Get: /)
        assert.instanceOf(error.cause, Error)
        assert.strictEqual(error.isRetryable, reason === "Unavailable" || reason === "DeadlineExceeded")
      }
    })
  )
})

describe("details that say more than the status", () => {
  it("a socket that may not be opened", () => {
    for (const errno of ["EACCES", "EPERM"]) {
      const details = `No connection established. Last error: Error: connect ${errno} ${address}. Resolution note: `
      const error = fromDetails(Grpc.status.UNAVAILABLE, details)
      assert.strictEqual(error.reason._tag, "PermissionDenied")
      const advice = "run as root, or as a user that may read and write the socket"
      assert.strictEqual(error.message, `Images.Get: may not open ${address}: ${advice}`)
      assert.isFalse(error.isRetryable)
    }
  })

  it("a full disk", () => {
    for (const text of ["no space left on device", "disk quota exceeded"]) {
      const details = `write /var/lib/containerd/x: ${text}: unknown`
      assert.strictEqual(fromDetails(Grpc.status.UNKNOWN, details).reason._tag, "ResourceExhausted")
    }
    assert.strictEqual(fromDetails(Grpc.status.UNKNOWN, "failed to mount").reason._tag, "Unknown")
  })

  it("a locked ref stays what the server says", () => {
    const details = "ref layer-1 locked for 1s (since 2024-01-01): unavailable"
    const error = fromDetails(Grpc.status.UNAVAILABLE, details)
    assert.strictEqual(error.reason._tag, "Unavailable")
    assert.strictEqual(error.message, `Images.Get: ${details}`)
  })

  it("what is not a status at all", () => {
    const map = toContainerdError("Images.Get", address)
    assert.strictEqual(map(new Error("boom")).message, "Images.Get: boom")
    assert.strictEqual(map("boom").message, "Images.Get: boom")
    assert.strictEqual(map(undefined).reason._tag, "Unknown")
  })
})
