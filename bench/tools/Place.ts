/** Where containers live that are committed: Docker, podman, buildah. All get the same files. */
import type { Effect, Scope } from "effect"
import type { DaemonError } from "../../test/support/Process.ts"
import type { Said } from "./oursMessages.ts"

export interface Subject {
  readonly id: string
  /** None of a container of buildah: it does not run. */
  readonly pid: number | undefined
}

/** What an image holds below `/tree`. */
export interface Content {
  readonly files: number
  readonly bytes: number
}

export interface Place {
  readonly name: "docker" | "docker-userns" | "podman" | "buildah"
  /** What it keeps is on this directory's file system. */
  readonly directory: string
  /** The name of an image with busybox. */
  readonly base: string
  readonly run: (image: string) => Effect.Effect<Subject, DaemonError, Scope.Scope>
  /** Unpacks a tar file in the container. */
  readonly write: (subject: Subject, tar: string) => Effect.Effect<void, DaemonError>
  /** Not measured: makes the images that containers of the benchmarks start from. */
  readonly save: (subject: Subject, image: string) => Effect.Effect<void, DaemonError>
  /** Bytes of an image's layers, as they are stored. */
  readonly size: (image: string) => Effect.Effect<number, DaemonError>
  /** Nothing that a later commit could use again is left. */
  readonly remove: (image: string) => Effect.Effect<void, DaemonError>
  readonly look: (image: string) => Effect.Effect<Content, DaemonError, Scope.Scope>
}

export interface Job {
  readonly subject: Subject
  readonly image: string
}

export interface Done {
  /** Until all were done. */
  readonly ms: number
  readonly said: ReadonlyArray<Said>
}

/** A way of committing. */
export interface Committer {
  readonly name: string
  readonly place: Place
  /** The processes that do nothing else than commit, and those that others use, too. */
  readonly own: ReadonlyArray<number>
  readonly daemons: ReadonlyArray<number>
  /** All jobs at once. `started` is told of processes that are started for this alone. */
  readonly commit: (jobs: ReadonlyArray<Job>, started: (pid: number) => void) => Effect.Effect<Done, DaemonError>
}
