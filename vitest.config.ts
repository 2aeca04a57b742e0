import { defineConfig } from "vitest/config"

// The package under its own name is its sources, as in tsconfig.json and the npm scripts.
const conditions = ["effect-containerd-source", "node", "import", "module", "default"]
const source = { resolve: { conditions }, ssr: { resolve: { conditions, externalConditions: conditions } } }

export default defineConfig({
  test: {
    // First, so that what it prints stands above the summary.
    reporters: ["./test/suite/TableReporter.ts", "default"],
    projects: [
      {
        ...source,
        test: {
          name: "unit",
          include: ["test/**/*.test.ts"],
          exclude: ["test/**/*.integration.test.ts", "test/**/*.peer.test.ts"],
          sequence: { groupOrder: 0 }
        }
      },
      {
        ...source,
        test: {
          name: "integration",
          include: ["test/**/*.integration.test.ts"],
          globalSetup: ["test/support/globalSetup.ts"],
          testTimeout: 60_000,
          hookTimeout: 60_000,
          sequence: { groupOrder: 1 }
        }
      },
      {
        // Compares times with a peer's, so nothing else may run beside it.
        ...source,
        test: {
          name: "peer",
          include: ["test/**/*.peer.test.ts"],
          globalSetup: ["test/support/globalSetup.ts"],
          testTimeout: 120_000,
          hookTimeout: 60_000,
          fileParallelism: false,
          sequence: { groupOrder: 2 }
        }
      },
      {
        ...source,
        test: {
          name: "types",
          include: [],
          typecheck: { enabled: true, only: true, include: ["test/types/**/*.test-d.ts"], tsconfig: "tsconfig.json" }
        }
      }
    ]
  }
})
