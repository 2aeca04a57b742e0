/**
 * Chooses the way of reading a container: this host's file system, where it can be read here, else the backend's differ.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Base } from "./Base.ts"
import type { Below } from "./Capture.ts"
import { checkSize } from "./CheckSize.ts"
import type { CommitError } from "./CommitError.ts"
import * as DifferCapture from "./DifferCapture.ts"
import * as HostCapture from "./HostCapture.ts"
import type { Request } from "./Options.ts"
import type { Source } from "./Resolve.ts"
import { step } from "./Run.ts"

const byHost = (source: Source, below: Below, request: Request) =>
  HostCapture.prepare(source, below, request).pipe(
    Effect.asSome,
    Effect.catchTag("HostUnavailable", (reason) =>
      request.differ === "host"
        ? Effect.fail(reason)
        : Effect.as(Effect.logDebug(`read by the backend's differ: ${reason.message}`), Option.none())
    )
  )

/** Overlays whose directories only the kernel can read are found when they are read. */
const isUnreadable = ({ reason }: CommitError) =>
  reason._tag === "HostUnavailable" || (reason._tag === "LayerError" && reason.kind === "overlay")

/** Changes nothing that the container could notice. */
export const prepare = Effect.fnUntraced(function* (source: Source, below: Below, request: Request) {
  yield* checkSize(source, request)
  const byDiffer = DifferCapture.prepare(source, below, request)
  const host = request.differ === "containerd" ? Option.none() : yield* byHost(source, below, request)
  if (Option.isNone(host)) return yield* byDiffer
  const { capture } = host.value
  if (request.differ === "host") return { capture }
  const again = (base: Base, { message }: CommitError) =>
    Effect.logDebug(`read again by the backend's differ: ${message}`).pipe(
      Effect.andThen(byDiffer),
      Effect.flatMap(({ capture }) => capture(base)),
      step("diff")
    )
  return {
    capture: (base: Base) => Effect.catchIf(capture(base), isUnreadable, (error) => again(base, error))
  }
}, step("diff"))
