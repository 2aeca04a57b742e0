import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import * as LentBytes from "../../src/internal/LentBytes.ts"
import * as TarEntry from "../../src/layer/TarEntry.ts"
import * as TarReader from "../../src/layer/TarReader.ts"
import * as TarWriter from "../../src/layer/TarWriter.ts"

const entry: TarEntry.TarEntry = {
  ...{ path: "file", type: "0", mode: 0o644, uid: 0, gid: 0, size: 0, mtime: 1n, link: "", major: 0, minor: 0 },
  xattrs: []
}

/** Sizes around those at which something else is done with them. */
const Size = Schema.Literals([0, 1, 511, 512, 513, 16_383, 16_384, 65_535, 65_536, 70_000, 200_000])

const File = Schema.Struct({
  size: Size,
  attribute: Size,
  byte: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 255 })),
  isTaken: Schema.Boolean
})
const Files = Schema.Array(File).check(Schema.isMaxLength(12))

describe("a tar that is written", () => {
  it.effect.prop(
    "is headers, contents and padding, whenever it is taken and given back",
    { files: Files },
    ({ files }) =>
      Effect.sync(() => {
        const tar = TarWriter.make()
        const written: Array<Uint8Array> = []
        const expected: Array<Uint8Array> = []
        const take = () => {
          for (const piece of tar.take()) {
            written.push(Uint8Array.from(piece))
            // Whoever writes there now writes into what was given back.
            LentBytes.giveBack(piece)
          }
        }
        for (const { attribute, byte, isTaken, size } of files) {
          const xattrs = [{ name: "user.a", value: new Uint8Array(attribute).fill(byte) }]
          const one = { ...entry, size, xattrs }
          const content = new Uint8Array(size).fill(byte)
          tar.entry(one)
          tar.data(content)
          expected.push(TarEntry.encode(one), content, TarReader.padding(size))
          if (isTaken) take()
        }
        tar.end()
        take()
        assert.isTrue(Buffer.concat(written).equals(Buffer.concat([...expected, TarEntry.end])))
      })
  )
})
