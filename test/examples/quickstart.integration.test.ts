/** What `npm start` makes, read by other people's tools. */
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Cache from "../support/Cache.ts"
import * as Cli from "../support/Cli.ts"
import { describeDaemons } from "../support/Daemons.ts"
import * as Debris from "../support/Debris.ts"
import * as Podman from "../support/Podman.ts"
import { run } from "../support/Process.ts"
import * as Umoci from "../support/Umoci.ts"

const program = ["npm", "run", "--silent", "start", "--"]

/** Starts it as the wrapper says, and gives the layout and the ref of the image in it. */
const made = Effect.fnUntraced(function* (layout: string, wrapper: ReadonlyArray<string> = []) {
  const { result } = yield* Cli.start(["--dir", layout, "--json"], { program, wrapper })
  const { exitCode, stderr, stdout } = yield* result
  assert.deepStrictEqual({ exitCode, stderr }, { exitCode: 0, stderr: "" })
  const json: unknown = JSON.parse(stdout)
  assert.propertyVal(json, "layout", layout)
  assert.propertyVal(json, "ref", "changed")
  return json
})

/** The tree is whole: the shell of the machine runs in it, and what was changed is so. */
const assertRuns = Effect.fnUntraced(function* (root: string) {
  const inside = (script: string) => run("chroot", [root, "/bin/sh", "-c", script])
  assert.strictEqual(yield* inside("cat /etc/os-release"), readFileSync("/etc/os-release", "utf8"))
  assert.strictEqual(yield* inside("/quickstart/hello.sh"), "hello from the container\n")
  assert.strictEqual(yield* inside("cat /quickstart/latest"), "hello from the container\n")
  assert.match(yield* inside("cat /etc/issue; ls -l /etc/motd"), /changed by the quickstart\n-rw------- /)
  assert.strictEqual(yield* inside("ls -d /tmp /root; id -u"), "/root\n/tmp\n0\n")
  assert.isFalse(existsSync(join(root, "etc/shells")))
})

describeDaemons("the image of npm start", () => {
  it.live("is read by skopeo, unpacked by umoci, and pulled by podman; it runs", () =>
    Effect.gen(function* () {
      const directory = yield* Debris.directory
      const layout = join(directory, "layout")
      const json = yield* made(layout)
      const skopeo = (...args: ReadonlyArray<string>) =>
        run(Cache.program("skopeo", "skopeo"), ["inspect", ...args, `oci:${layout}:changed`])
      assert.nestedPropertyVal(JSON.parse(yield* skopeo("--raw")), "layers.length", 2)
      assert.propertyVal(json, "digest", (yield* skopeo("--format", "{{.Digest}}")).trim())
      yield* assertRuns(yield* Umoci.unpack(layout, "changed", join(directory, "bundle")))
      const podman = yield* Podman.store
      yield* assertRuns(yield* podman.mounted(yield* podman.pull(layout, "changed")))
    }).pipe(Effect.scoped)
  )

  it.live("is root's and runs when an ordinary user made it", () =>
    Effect.gen(function* () {
      const directory = yield* Debris.directory
      const home = join(directory, "home")
      yield* run("install", ["-d", "-o", "65534", "-g", "65534", home])
      const nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env", `HOME=${home}`]
      const layout = join(home, "layout")
      yield* made(layout, nobody)
      const root = yield* Umoci.unpack(layout, "changed", join(directory, "bundle"))
      yield* assertRuns(root)
      assert.strictEqual(yield* run("find", [root, "!", "-user", "0"]), "")
    }).pipe(Effect.scoped)
  )
})
