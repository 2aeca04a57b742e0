/** The embedded backend keeps what `core` promises: the suites that containerd runs, too. */
import { Effect } from "effect"
import { contentStoreSuite } from "../suite/ContentStoreSuite.ts"
import { imagesSuite } from "../suite/ImagesSuite.ts"
import { leasesSuite } from "../suite/LeasesSuite.ts"
import { snapshotterSuite } from "../suite/SnapshotterSuite.ts"
import * as Root from "./Root.ts"

const traits = { backend: "embedded", snapshotter: "directory" } as const

contentStoreSuite("embedded", Root.layer)
imagesSuite("embedded", Root.layer, traits)
leasesSuite("embedded", Root.layer, traits)
snapshotterSuite("embedded", Root.layer, {
  ...traits,
  root: process.getuid?.() === 0,
  // No mount is needed, and no root: the source is the directory.
  mount: (mounts) => Effect.succeed(mounts[0]?.source ?? "")
})
