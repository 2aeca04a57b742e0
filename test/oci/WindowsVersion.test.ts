import { assert, describe, it } from "@effect/vitest"
import * as WindowsVersion from "../../src/oci/WindowsVersion.ts"

describe("WindowsVersion", () => {
  it.each([
    [17763, 17763, true],
    [17763, 20348, false],
    [20348, 17763, false],
    [20348, 20348, true],
    [20348, 22621, false],
    [22621, 20348, true],
    [25398, 22621, true],
    [26100, 20348, true],
    [26100, 22621, true],
    [20348, 26100, false],
    [27000, 26100, true],
    [27000, 25398, false]
  ])("build %i runs build %i: %s", (host, image, expected) => {
    assert.strictEqual(WindowsVersion.runs(`10.0.${host}.7`, `10.0.${image}`), expected)
  })

  it("refuses another major or minor version", () => {
    assert.isFalse(WindowsVersion.runs("10.0.20348", "6.0.20348"))
    assert.isFalse(WindowsVersion.runs("10.0.20348", "10.1.20348"))
  })

  it("lets pass what is not said", () => {
    assert.isTrue(WindowsVersion.runs("", "10.0.20348"))
    assert.isTrue(WindowsVersion.runs("10.0", "10.0.20348"))
    assert.isTrue(WindowsVersion.runs("10.0.20348", ""))
    assert.isFalse(WindowsVersion.runs("10.0.20348", "server"))
  })
})
