/** Compares what two differs made of one container, and keeps count. */

import type * as Tars from "../layer/Tars.ts"
import type * as Trees from "../layer/Trees.ts"
import * as Differential from "./Differential.ts"
import * as Losses from "./Losses.ts"
import * as LossesPage from "./LossesPage.ts"

/** What came of a commit. */
export interface Made {
  readonly layer: ReadonlyMap<string, Tars.Decoded>
  /** The layer, unpacked by containerd. */
  readonly applied: Trees.Tree
}

export interface ChangeSet {
  readonly name: string
  readonly parent: Trees.Tree
  /** What the container shows. */
  readonly container: Trees.Tree
  readonly done: ReadonlyArray<string>
  readonly ours: Made & {
    readonly notCarried: ReadonlyArray<string>
    readonly snapshot: Trees.Tree
    /** The layer on what that snapshot stands on, where that is not the container's parent. */
    readonly onBase?: Trees.Tree
  }
  readonly theirs: Made
}

export const make = (who: string) => {
  const counts = { unpacking: new Map(), layers: new Map(), theirs: new Map() } satisfies Record<
    string,
    Differential.Counts
  >
  let changeSets = 0
  const { ofLayers, ofTheirs, ofUnpacking } = Losses

  /** Fails for what is lost and not known to be. */
  const judge = ({ container, done, name, ours, parent, theirs }: ChangeSet): void => {
    const fails = (what: string, left: ReadonlyArray<Differential.Difference>) =>
      Differential.assertNone(what, left, name, done)
    const context: Differential.Case = { parent, container, layer: ours.layer, notCarried: ours.notCarried }
    const known = [
      { losses: ofUnpacking, counts: counts.unpacking },
      { losses: ofLayers.map(Losses.reported), counts: counts.layers }
    ]
    fails("ours lost", Differential.explain(Differential.differences(container, ours.applied), known, context))
    fails("our layer does not say", Losses.unsaidBy(context))
    // Law 4, but for what containerd unpacks of no layer.
    const others = Differential.differences(ours.snapshot, ours.onBase ?? ours.applied)
    fails("our snapshot is not our layer", Differential.explain(others, [{ losses: ofUnpacking }], context))
    const found = Differential.differences(container, theirs.applied)
    const allKnown = [{ losses: ofUnpacking }, { losses: ofLayers }, { losses: ofTheirs, counts: counts.theirs }]
    const left = Differential.explain(found, allKnown, { ...context, layer: theirs.layer })
    fails(`${who} lost, beyond what is known`, left)
    changeSets += 1
  }

  const check = () =>
    LossesPage.check(who, changeSets, [
      ["Lost by theirs, kept by ours", ofTheirs, counts.theirs],
      ["Lost by both: no layer says it", ofLayers, counts.layers],
      [
        "Lost by both where containerd unpacks the layer, kept in ours and in its snapshot",
        ofUnpacking,
        counts.unpacking
      ]
    ])

  return { judge, check, changeSets: () => changeSets }
}
