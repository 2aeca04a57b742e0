import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { Containerd, Images } from "effect-containerd"
import { services } from "../../src/containerd/Wire.ts"
import * as Fake from "../support/FakeContainerd.ts"

it.live("a program that talks to two daemons talks to each of them", () =>
  Effect.gen(function* () {
    const target = { mediaType: "m", digest: `sha256:${"0".repeat(64)}`, size: 1 }
    const [one, two] = [yield* Fake.make, yield* Fake.make]
    one.reply(services().images.Get, () => ({ answers: [{ image: { name: "one", target } }] }))
    two.reply(services().images.Get, () => ({ answers: [{ image: { name: "two", target } }] }))
    const name = Images.Images.use((images) => Effect.map(images.get("x"), (image) => image.name))
    const inner = name.pipe(Effect.provide(Containerd.layer({ address: two.address })))
    const names = yield* Effect.all([name, inner, name]).pipe(
      Effect.provide(Containerd.layer({ address: one.address }))
    )
    assert.deepStrictEqual(names, ["one", "two", "one"])
  }).pipe(Effect.scoped)
)
