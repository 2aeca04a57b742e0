import { spawnSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import type { TestProject } from "vitest/node"
import * as Debris from "./Debris.ts"

declare module "vitest" {
  interface ProvidedContext {
    /** Why real daemons cannot run here; empty when they can. */
    readonly daemonsMissing: string
  }
}

const provision = (): string => {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return "real daemons need Linux and root"
  const script = fileURLToPath(new URL("provision.sh", import.meta.url))
  const { status, error } = spawnSync("bash", [script], { stdio: ["ignore", "ignore", "inherit"] })
  return status === 0 ? "" : `provision.sh failed (${error?.message ?? `exit code ${status}`}), its output says why`
}

/** Brings the programs once for all test files, and removes what a killed run may have left. */
export default (project: TestProject): void => {
  const missing = provision()
  const consequence = process.env["CI"] === "true" ? "fail" : "are skipped"
  if (missing !== "") process.stderr.write(`\nIntegration tests ${consequence}: ${missing}\n\n`)
  project.provide("daemonsMissing", missing)
  if (missing === "") Debris.sweep()
}
