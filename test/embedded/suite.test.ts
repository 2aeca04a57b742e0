/** The embedded backend keeps what `core` promises: the suites that containerd runs, too. */
import { Effect } from "effect"
import * as Embedded from "../../src/embedded/Embedded.ts"
import { commitSuite } from "../suite/CommitSuite.ts"
import { contentStoreSuite } from "../suite/ContentStoreSuite.ts"
import { differSuite } from "../suite/DifferSuite.ts"
import { imagesSuite } from "../suite/ImagesSuite.ts"
import { leasesSuite } from "../suite/LeasesSuite.ts"
import { optionsSuite } from "../suite/OptionsSuite.ts"
import type { SnapshotTraits } from "../suite/Snapshots.ts"
import { snapshotterSuite } from "../suite/SnapshotterSuite.ts"
import * as Root from "./Root.ts"

const traits: SnapshotTraits = {
  backend: "embedded",
  snapshotter: "directory",
  root: process.getuid?.() === 0,
  // No mount is needed, and no root: the source is the directory.
  mount: (mounts) => Effect.succeed(mounts[0]?.source ?? "")
}

const container = (image: string, id?: string) =>
  Effect.acquireRelease(
    Effect.map(Embedded.createContainer(image, { id }), (created) => created.id),
    (created) => Effect.ignore(Embedded.removeContainer(created))
  )

contentStoreSuite("embedded", Root.layer)
imagesSuite("embedded", Root.layer, traits)
leasesSuite("embedded", Root.layer, traits)
snapshotterSuite("embedded", Root.layer, traits)
differSuite("embedded", Root.layer, traits)
commitSuite("embedded", Root.layer, { ...traits, container })
optionsSuite("embedded", Root.layer, { ...traits, container })
