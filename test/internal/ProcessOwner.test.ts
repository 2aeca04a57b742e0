import { spawn, spawnSync } from "node:child_process"
import { existsSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as ProcessOwner from "../../src/internal/ProcessOwner.ts"

/** The words of this process, with some of them replaced. */
const owner = (changes: Partial<Record<"machine" | "boot" | "namespace" | "pid" | "start", string>>) => {
  const [machine = "", boot = "", namespace = "", pid = "", start = ""] = ProcessOwner.current().split(" ")
  const parts = { machine, boot, namespace, pid, start, ...changes }
  return [parts.machine, parts.boot, parts.namespace, parts.pid, parts.start].join(" ")
}

const hasProc = existsSync("/proc/self/stat")

describe.runIf(hasProc)("the owner", () => {
  it("names this process and is alive", () => {
    const current = ProcessOwner.current()
    assert.match(current, /^\S+ [0-9a-f-]{36} pid:\[\d+\] \d+ \d+$/)
    assert.strictEqual(current.split(" ")[3], String(process.pid))
    assert.strictEqual(ProcessOwner.current(), current)
    assert.isFalse(ProcessOwner.isDead(current))
    assert.isFalse(ProcessOwner.isDead(`${current} and more`))
  })

  it("is dead when its process is gone", () => {
    const { pid } = spawnSync(process.execPath, ["--version"])
    assert.isTrue(ProcessOwner.isDead(owner({ pid: String(pid) })))
  })

  it("is dead when its pid was given to another process", () => {
    const child = spawn("sleep", ["60"], { stdio: "ignore" })
    try {
      assert.isTrue(ProcessOwner.isDead(owner({ pid: String(child.pid), start: "1" })))
      assert.isTrue(ProcessOwner.isDead(owner({ start: "1" })))
      assert.isFalse(ProcessOwner.isDead(owner({ start: "-" })), "what is not known proves nothing")
    } finally {
      child.kill("SIGKILL")
    }
  })

  it("is dead when its machine was booted since", () => {
    assert.isTrue(ProcessOwner.isDead(owner({ boot: "00000000-0000-0000-0000-000000000000" })))
    assert.isFalse(ProcessOwner.isDead(owner({ boot: "-" })))
  })

  it("may be alive on another machine, or where this process cannot see", () => {
    const { pid } = spawnSync(process.execPath, ["--version"])
    const gone = { pid: String(pid), start: "1" }
    assert.isFalse(ProcessOwner.isDead(owner({ ...gone, machine: "elsewhere" })))
    assert.isFalse(ProcessOwner.isDead(owner({ ...gone, machine: "elsewhere", boot: "other" })))
    assert.isFalse(ProcessOwner.isDead(owner({ ...gone, namespace: "pid:[1]" })))
  })
})

describe("what is no owner", () => {
  it.each(["", " ", "somebody", "a b c d e"])("%j is not known to be dead", (text) => {
    assert.isFalse(ProcessOwner.isDead(text))
  })
})
