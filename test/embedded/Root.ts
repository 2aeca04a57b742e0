import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect, Layer, type Scope } from "effect"
import type { ContainerdError } from "effect-containerd"
import * as Embedded from "../../src/embedded/Embedded.ts"

/** A directory of this test, gone with the scope. */
export const directory: Effect.Effect<string, never, Scope.Scope> = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "embedded-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

/** The embedded backend on a root of its own. */
export const layer: Layer.Layer<Embedded.Services, ContainerdError.ContainerdError> = Layer.unwrap(
  Effect.map(directory, (root) => Embedded.layer({ root }))
)
