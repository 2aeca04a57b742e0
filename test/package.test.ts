import { execFileSync, spawnSync } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"

const root = fileURLToPath(new URL("..", import.meta.url))
const consumer = mkdtempSync(join(tmpdir(), "consumer-"))
const modules = join(consumer, "node_modules")

/** The package as npm would publish it, in a project of its own beside the packages that it depends on. */
beforeAll(() => {
  const packed = execFileSync("npm", ["pack", "--silent", "--pack-destination", consumer], { cwd: root })
  const target = join(modules, "effect-containerd")
  mkdirSync(target, { recursive: true })
  execFileSync("tar", ["-xzf", join(consumer, packed.toString().trim()), "-C", target, "--strip-components=1"])
  for (const name of ["effect", "@effect", "@grpc", "@types", "tar-stream", "streamx", "picomatch", "undici"]) {
    symlinkSync(join(root, "node_modules", name), join(modules, name))
  }
  writeFileSync(join(consumer, "package.json"), JSON.stringify({ type: "module" }))
}, 60_000)

afterAll(() => rmSync(consumer, { recursive: true }))

const program = `
import { Effect } from "effect"
import { Commit, type CommitError, Containerd } from "effect-containerd"
import { layer } from "effect-containerd/containerd/Containerd"

const commit: Effect.Effect<Commit.Committed, CommitError.CommitError> = Commit.commit({ container: "web" }).pipe(
  Effect.provide(layer({ address: "/nowhere.sock" }))
)
const error = await Effect.runPromise(Effect.flip(commit))
process.stdout.write([error._tag, error.reason._tag, typeof Containerd.layerConfig].join(" "))
`

describe("the published package", () => {
  it("is imported whole and by module, and finds the interface definitions that it ships", () => {
    writeFileSync(join(consumer, "program.ts"), program)
    const { stderr, stdout } = spawnSync(process.execPath, ["program.ts"], { cwd: consumer, encoding: "utf8" })
    assert.strictEqual(stdout, "CommitError ContainerdError object", stderr)
  })

  it("has types that a strict program compiles with", () => {
    const options = { target: "es2024", module: "nodenext", strict: true, noEmit: true, skipLibCheck: true }
    writeFileSync(join(consumer, "program.ts"), program)
    writeFileSync(
      join(consumer, "tsconfig.json"),
      JSON.stringify({ compilerOptions: { ...options, types: ["node"] }, files: ["program.ts"] })
    )
    const { status, stdout } = spawnSync(join(root, "node_modules/.bin/tsc"), ["-p", "."], {
      cwd: consumer,
      encoding: "utf8"
    })
    assert.strictEqual(status, 0, stdout)
  })

  it("keeps what is internal to itself", () => {
    for (const path of ["internal/ProcessOwner", "containerd/generated/containerd"]) {
      const { stderr } = spawnSync(process.execPath, ["-e", `import("effect-containerd/${path}")`], {
        cwd: consumer,
        encoding: "utf8"
      })
      assert.include(stderr, "ERR_PACKAGE_PATH_NOT_EXPORTED")
    }
  })
})
