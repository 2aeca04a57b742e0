/**
 * Container records: what a container was made of. Whether it runs is a matter of its task.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import type { Digest } from "../oci/Digest.ts"
import type { ContainerConfig } from "../oci/ImageConfig.ts"
import type { ContainerdError } from "./ContainerdError.ts"
import type { Task } from "./Tasks.ts"

/** A document that the owner of a container keeps with images made of it. Labels of content let them find each other. */
export interface Attachment {
  readonly mediaType: string
  readonly bytes: Uint8Array
  /** Of the image's config, with the document's digest: `containerd.io/gc.ref.content.*`, which keeps it. */
  readonly configLabel: string
  /** Of the document, with the digest of the image's manifest. */
  readonly manifestLabel: string
}

export interface Container {
  readonly id: string
  readonly labels: Readonly<Record<string, string>>
  /** The *name* of the image; it may have been deleted since, or stand for another image now. `""` for none. */
  readonly image: string
  /** What the record of its image points to, where the owner knows the image by that and not by a name (Docker). */
  readonly imageDigest?: Digest | undefined
  /** Its task as its owner has just told it (Docker); elsewhere the tasks are asked. */
  readonly task?: Task | undefined
  /** `io.containerd.runc.v2`, …; of Docker the engine's own name for it. */
  readonly runtime: string
  /** The program that it runs, where that is told: `/usr/local/bin/runsc`. */
  readonly runtimeProgram?: string | undefined
  /** `""` where the owner does not tell (Docker). */
  readonly snapshotter: string
  readonly snapshotKey: string
  /** The OCI runtime spec as JSON; empty where there is none. */
  readonly spec: Uint8Array
  /** Milliseconds since 1970, where that is known. */
  readonly createdAt?: number | undefined
  /** Made by its owner right after its snapshot, before anything else could write to that (Docker). */
  readonly directory?: string | undefined
  /** What it runs, where its owner keeps that in the form of an image's config (Docker). */
  readonly config?: ContainerConfig | undefined
  /** Labels that its owner wants on images made of it. */
  readonly imageLabels?: Readonly<Record<string, string>> | undefined
  /** What its owner keeps with images made of it. */
  readonly attachment?: Attachment | undefined
  /** Why no image can be made of it now, where its owner says so (Docker: while it is being removed). */
  readonly uncommittable?: string | undefined
}

export class Containers extends Context.Service<
  Containers,
  {
    /** Fails with `NotFound`. */
    readonly get: (id: string) => Effect.Effect<Container, ContainerdError>
    /** Those that match any of containerd's filters (`image==x`, `labels."k"==v`), all without one. */
    readonly list: (filters?: ReadonlyArray<string>) => Stream.Stream<Container, ContainerdError>
  }
>()("effect-containerd/Containers") {}
