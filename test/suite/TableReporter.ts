/** Prints the table of the suites at the end of a run, and sees to it that docs/conformance.md is that table. */
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import type { Reporter, TestCase, TestModule, TestRunEndReason, TestSpecification, Vitest } from "vitest/node"
import * as Table from "./Table.ts"

const page = fileURLToPath(new URL("../../docs/conformance.md", import.meta.url))

/** Where the suites run; a run that has them all is one to keep. */
const files = ["/test/embedded/suite.test.ts", "/test/containerd/suite.integration.test.ts"]

const marks = { passed: "✓", failed: "✗", skipped: "–", pending: "✗" } as const

const outcomeOf = (test: TestCase): Table.Outcome => ({
  title: test.parent.type === "suite" ? test.parent.name : "",
  name: test.name,
  mark: marks[test.result().state]
})

/** Neither by lines nor by names. */
const isUnfiltered = ({ testIds, testLines, testNamePattern, testNames, testTagsFilter }: TestSpecification) =>
  [testIds, testLines, testNamePattern, testNames, testTagsFilter].every((filter) => filter === undefined)

/** Where daemons cannot run, all of their suites are skipped. */
const isSkipped = (module: TestModule) =>
  [...module.children.allTests("skipped")].length === [...module.children.allTests()].length

export default class TableReporter implements Reporter {
  #vitest: Vitest | undefined
  #specifications: ReadonlyArray<TestSpecification> = []

  onInit(vitest: Vitest): void {
    this.#vitest = vitest
  }

  onTestRunStart(specifications: ReadonlyArray<TestSpecification>): void {
    this.#specifications = specifications
  }

  onTestRunEnd(modules: ReadonlyArray<TestModule>, _errors: ReadonlyArray<unknown>, reason: TestRunEndReason): void {
    const table = Table.make(modules.flatMap((module) => [...module.children.allTests()].map(outcomeOf)))
    if (table.length === 0) return
    this.#print(`\n Conformance: ✓ holds, – differs (docs/conformance.md), ✗ fails\n${Table.toText(table)}\n`)
    const isWanted = process.env["CONFORMANCE"] === "write"
    if (reason !== "interrupted" && this.#isWhole(modules)) this.#keep(table, isWanted)
    else if (isWanted) this.#fail("not all suites ran")
  }

  #isWhole(modules: ReadonlyArray<TestModule>): boolean {
    const config = this.#vitest?.config
    if (config?.watch !== false || config.testNamePattern !== undefined) return false
    return files.every(
      (file) =>
        this.#specifications.some((one) => one.moduleId.endsWith(file) && isUnfiltered(one)) &&
        modules.some((module) => module.moduleId.endsWith(file) && !isSkipped(module))
    )
  }

  #keep(table: Table.Table, isWanted: boolean): void {
    // What fails is said already.
    if (Table.hasFailures(table)) return
    const [text, unused] = [Table.toMarkdown(table), Table.unused(table)]
    if (unused.length > 0) this.#fail(`no case shows the differences ${unused.join(", ")} (test/suite/Differences.ts)`)
    if (isWanted) writeFileSync(page, text)
    else if (!existsSync(page) || readFileSync(page, "utf8") !== text) {
      this.#fail(`docs/conformance.md is not what this run says: write it by "${Table.command}"`)
    }
  }

  #fail(message: string): void {
    this.#print(`\n Conformance: ${message}\n`)
    process.exitCode = 1
  }

  #print(text: string): void {
    this.#vitest?.logger.log(text)
  }
}
