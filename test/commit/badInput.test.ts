// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are Docker's
/** Bad input and what is said about it: before anything is touched, and with what to do. docs/bad-input.md is this. */
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { inspect } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Option } from "effect"
import * as Change from "../../src/change/Change.ts"
import { baseOf } from "../../src/commit/Base.ts"
import { type CommitOptions, check } from "../../src/commit/Options.ts"
import type { Parent } from "../../src/commit/ParentImage.ts"
import * as ChainId from "../../src/oci/ChainId.ts"
import * as Descriptor from "../../src/oci/Descriptor.ts"
import * as Digest from "../../src/oci/Digest.ts"
import * as MediaType from "../../src/oci/MediaType.ts"

type Options = Omit<CommitOptions, "container"> & { readonly container?: string }

const digest = `sha256:${"0".repeat(64)}`
const range = { containerId: 0, hostId: 100_000, size: 1000 }
const mapOf = (...uids: ReadonlyArray<typeof range>): Options => ({ idMap: { uids, gids: [range] } })
const changes = (...texts: ReadonlyArray<string | Change.Change>): Options => ({ changes: texts })

/** Refused without a look at anything. */
const options: ReadonlyArray<readonly [section: string, bad: ReadonlyArray<Options>]> = [
  ["Container and parent", [{ container: "" }, { snapshotter: "" }, { parent: "" }]],
  [
    "Names",
    [
      ...["", "App", "app:", "app:a b", "app name", "-host-/app", "f".repeat(64), "a".repeat(300)].map((name) => ({
        name
      })),
      { name: ["app", "app/"] },
      ...["app@sha256:00", `app@${digest}`, `app:1@${digest}`].map((name) => ({ name })),
      { manifest: "Multi" },
      { manifest: `multi@${digest}` },
      { name: ["one", "app"], manifest: "docker.io/library/app:latest" }
    ]
  ],
  [
    "Time",
    [
      ...["", "yesterday", "1704164645", "2024-01-02 03:04:05Z", "2024-02-30T00:00:00Z"].map((created) => ({
        created
      })),
      { rewriteTimestamp: true }
    ]
  ],
  [
    "Platform",
    ["", "linux/", "linux/a b", "linux/amd64/v2/x", "nosuchos", "windows(%zz)/amd64"].map((platform) => ({ platform }))
  ],
  [
    "Form",
    [
      { compressionLevel: 0 },
      { compressionLevel: 10 },
      { compressionLevel: 1.5 },
      { compressionLevel: Number.NaN },
      { compression: "zstd", compressionLevel: 23 },
      { compression: "uncompressed", compressionLevel: 1 },
      { compression: "uncompressed", compressor: "node" },
      { compression: "zstd", compressor: "igzip" },
      { compression: "zstd", compressor: "pigz" },
      { compressor: "zstd" },
      { compressor: "node", compressionLevel: 10 },
      { compressor: "igzip", compressionLevel: 4 },
      { compressor: "pigz", compressionLevel: -1 },
      { compression: "zstd", compressor: "zstd", compressionLevel: 20 },
      { compressionConcurrency: 0 },
      { format: "docker", annotations: { a: "b" } },
      { format: "docker", compression: "zstd" }
    ]
  ],
  [
    "Layers",
    [
      { squash: 0 },
      { squash: 1.5 },
      { replaceTop: true, squash: 2 },
      { maxLayers: 0 },
      { maxLayers: Number.NaN },
      { maxSize: -1 },
      { maxSize: Number.POSITIVE_INFINITY }
    ]
  ],
  [
    "What is left out",
    [
      ...["", "/", ".", "../etc", "a/../b", "!keep", "a".repeat(5000)].map((glob) => ({ exclude: ["ok", glob] })),
      { include: ["//"] },
      { include: ["*", "!*.log"] }
    ]
  ],
  [
    "User namespace",
    [
      mapOf(),
      mapOf({ ...range, size: 0 }),
      mapOf({ ...range, hostId: -1 }),
      mapOf({ ...range, hostId: 4_294_967_295 }),
      mapOf(range, range)
    ]
  ],
  ["Config", [{ mergeConfig: false }]],
  [
    "Changes as text",
    [
      ...["", "# a comment", "RUN make", "# escape=`\nUSER a"],
      ...["CMD [1]", 'ENTRYPOINT ["a", true]', "CMD --flag x"],
      ...["ENV", "ENV A", "ENV A=1 B", "ENV =1", "ENV A='1", "ENV A=${B", "USER a\nENV A=${B=c}"],
      ...["EXPOSE", "EXPOSE web", "EXPOSE 70000", "EXPOSE 80/xyz", "EXPOSE 9-1"],
      ...["HEALTHCHECK", "HEALTHCHECK ls", "HEALTHCHECK CMD", "HEALTHCHECK NONE x", "HEALTHCHECK --retries=-1 CMD x"],
      ...["HEALTHCHECK --interval=5 CMD x", "HEALTHCHECK --interval=1us CMD x", "HEALTHCHECK --every=1s CMD x"],
      ...["HEALTHCHECK --retries CMD x", "HEALTHCHECK --timeout=1s --timeout=2s CMD x"],
      ...["LABEL", "LABEL a", 'LABEL ""=x', "ONBUILD", "ONBUILD FROM x", "ONBUILD RUN <<EOF"],
      ...["SHELL bash", "SHELL []", "STOPSIGNAL", "STOPSIGNAL SIGNOPE", "USER", "VOLUME", "VOLUME [1]", "WORKDIR"]
    ].map((text) => changes(text))
  ],
  [
    "Changes as values",
    [
      Change.env({ "": "x" }),
      Change.env({ "A=B": "x" }),
      Change.expose("web"),
      Change.unsetPort("0-70000"),
      Change.healthcheck([]),
      Change.healthcheck("x", { retries: 1.5 }),
      Change.healthcheck("x", { interval: "1 nanos" }),
      Change.healthcheck("x", { timeout: Number.POSITIVE_INFINITY }),
      Change.label({ "": "x" }),
      Change.onBuild("ONBUILD RUN x"),
      Change.onBuild("RUN a\nRUN b"),
      Change.shell(),
      Change.stopSignal("SIGNOPE"),
      Change.volume(""),
      Change.workDir("")
    ].map((change) => changes(change))
  ]
]

const parentOf = (format: MediaType.Format, types: ReadonlyArray<string>, Env: ReadonlyArray<string> = []): Parent => {
  const diffIds = types.map((_, i) => Digest.fromBytes(Buffer.from(`tar ${i}`)))
  return {
    image: Option.none(),
    format,
    layers: types.map((type, i) => Descriptor.of(type, Buffer.from(`blob ${i}`))),
    config: { architecture: "amd64", os: "linux", config: { Env }, rootfs: { type: "layers", diff_ids: diffIds } },
    chainId: ChainId.fromDiffIds(diffIds)
  }
}

const gzip = MediaType.ociLayerGzip

/** Refused when the parent is known: still before anything is made. */
const withParent: ReadonlyArray<readonly [what: string, parent: Parent, options: Options]> = [
  ["in Docker's form", parentOf("docker", [MediaType.dockerLayerGzip]), { annotations: { a: "b" } }],
  ["in Docker's form", parentOf("docker", [MediaType.dockerLayerGzip]), { compression: "zstd" }],
  ["with a layer of zstd", parentOf("oci", [MediaType.ociLayerZstd]), { format: "docker" }],
  ["with an EROFS layer", parentOf("oci", [MediaType.erofsLayer]), { format: "docker" }],
  ["with an encrypted layer", parentOf("oci", [gzip, `${gzip}+encrypted`]), { format: "docker" }],
  ["with a foreign layer of Docker's", parentOf("docker", ["application/vnd.docker.unknown"]), { format: "oci" }],
  [
    "with 127 layers",
    parentOf(
      "oci",
      Array.from({ length: 127 }, () => gzip)
    ),
    {}
  ],
  ["with 3 layers", parentOf("oci", [gzip, gzip, gzip]), { maxLayers: 3 }],
  ["with 3 layers", parentOf("oci", [gzip, gzip, gzip]), { squash: 1, maxLayers: 2 }],
  ["with A=none", parentOf("oci", [gzip], ["A=none"]), changes("STOPSIGNAL $A")],
  ["with A=none", parentOf("oci", [gzip], ["A=none"]), changes("USER x\nEXPOSE 80 $A")],
  ["without A", parentOf("oci", [gzip]), changes("WORKDIR $A")],
  ["without A", parentOf("oci", [gzip]), changes("ENV B=${A:?}")]
]

const messageOf = (bad: Options) => Effect.flip(check({ container: "c", ...bad }))

const messageWith = (parent: Parent, bad: Options) =>
  check({ container: "c", ...bad }).pipe(
    Effect.flatMap((request) => baseOf(parent, { id: "c", spec: {}, config: undefined }, request)),
    Effect.flip
  )

const show = (bad: Options) =>
  inspect(bad, { breakLength: Number.POSITIVE_INFINITY, depth: 6, maxStringLength: 90 }).replace(/\n\s*/g, " ")

const code = (text: string) => `\`\` ${text} \`\``
const row = (cells: ReadonlyArray<string>) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`
const table = (head: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>) =>
  [head, head.map(() => "---"), ...rows].map(row).join("\n")

const command = "CONFORMANCE=write npx vitest run --project unit test/commit/badInput.test.ts"

const intro = `# Bad input

What \`Commit.commit\` says of options that it does not take. It fails with \`CommitError\`, whose reason is \`InvalidOption\`
(\`TooManyLayers\` for too many layers), before anything is touched; what needs the parent image is found out before
anything is made. A \`CommitError\` begins with \`cannot commit container ID: \`, which is left out here.

This page is written by \`${command}\`, and
the tests fail when it is not what that would write.
`

const page = Effect.gen(function* () {
  const sections = yield* Effect.forEach(options, ([section, all]) =>
    Effect.map(
      Effect.forEach(all, (bad) => Effect.map(messageOf(bad), ({ message }) => [code(show(bad)), code(message)])),
      (rows) => `## ${section}\n\n${table(["options", "message"], rows)}\n`
    )
  )
  const rows = yield* Effect.forEach(withParent, ([what, parent, bad]) =>
    Effect.map(messageWith(parent, bad), ({ message }) => [what, code(show(bad)), code(message)])
  )
  const parents = `## With a parent image\n\n${table(["parent", "options", "message"], rows)}\n`
  return [intro, ...sections, parents].join("\n")
})

const file = fileURLToPath(new URL("../../docs/bad-input.md", import.meta.url))

/** What people are told to do, or what would have been right. */
const advice = new RegExp(
  `\\b(${[
    ...["expected", "must", "give", "leave", "needs", "allow", "are made of", "has the levels", "squash it"],
    ...["takes an", "takes a JSON list", "misses a", "misses the closing"]
  ].join("|")})\\b`
)

/** What is wrong says it already. */
const evident = new RegExp(
  [
    ...["is empty$", "maps nothing$", "has no such day$", "hexadecimal strings$"],
    ...["unknown operating system or architecture$", "percent-encoding"]
  ].join("|")
)

describe("bad input", () => {
  const all = [
    ...options.flatMap(([section, bad]) => bad.map((one) => [section, show(one), messageOf(one)] as const)),
    ...withParent.map(([what, parent, bad]) => [what, show(bad), messageWith(parent, bad)] as const)
  ]

  it.effect.each(all)("is answered with what to do (%s): %s", ([, , refused]) =>
    Effect.gen(function* () {
      const { message } = yield* refused
      if (!evident.test(message)) assert.match(message, advice)
      assert.isAtMost(message.length, 700)
    })
  )

  it.effect("is in docs/bad-input.md, with the messages", () =>
    Effect.gen(function* () {
      const text = yield* page
      if (process.env["CONFORMANCE"] === "write") writeFileSync(file, text)
      assert.isTrue(existsSync(file) && readFileSync(file, "utf8") === text, `write it by: ${command}`)
    })
  )
})
