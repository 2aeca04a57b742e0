/** How a container's cgroup says that it is frozen, whoever froze it. */
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"

export interface Freezer {
  readonly file: string
  /** What the file holds then. */
  readonly frozen: string
}

/** Of a process: that of the old hierarchies, or of the one that there is alone. None when it is gone. */
export const freezersOf = (pid: number): ReadonlyArray<Freezer> => {
  const file = `/proc/${pid}/cgroup`
  const lines = existsSync(file) ? readFileSync(file, "utf8").split("\n") : []
  const path = (controller: string) =>
    lines.map((line) => line.split(":")).find(([, name]) => name === controller)?.[2] ?? ""
  return [
    { file: join("/sys/fs/cgroup/freezer", path("freezer"), "freezer.state"), frozen: "FROZEN\n" },
    { file: join("/sys/fs/cgroup", path(""), "cgroup.freeze"), frozen: "1\n" }
  ].filter((one) => existsSync(one.file))
}

export const isFrozen = (pid: number): boolean =>
  freezersOf(pid).some(({ file, frozen }) => readFileSync(file, "utf8") === frozen)
