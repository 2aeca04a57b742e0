import { describe } from "@effect/vitest"
import { beforeEach, inject } from "vitest"

const missing = inject("daemonsMissing")

/**
 * `describe` for tests with real daemons. Where none can run they are skipped; the global setup prints why.
 * In CI they fail instead: there a skip would hide that nothing was tested.
 */
export const describeDaemons = (name: string, factory: () => void): void => {
  describe.runIf(missing === "" || process.env["CI"] === "true")(name, () => {
    beforeEach(() => {
      if (missing !== "") throw new Error(missing)
    })
    factory()
  })
}
