import { assert, describe, it } from "@effect/vitest"
import { Option } from "effect"
import * as Freezer from "../../src/host/Freezer.ts"

const hybrid = (path: string) => `9:name=systemd:${path}\n6:freezer:${path}\n4:memory:${path}\n0::/\n`
const unified = (path: string) => `0::${path}\n`
const ours = hybrid("/user.slice")

const fileOf = (theirs: string, id: string, own = ours) =>
  Option.getOrUndefined(Option.map(Freezer.fromProc(theirs, own, id), ({ file }) => file))

const old = "/sys/fs/cgroup/freezer"

const found = [
  ["ctr", hybrid("/default/c1"), "c1", `${old}/default/c1/freezer.state`],
  ["a namespace with the container's name", hybrid("/c1/c1"), "c1", `${old}/c1/c1/freezer.state`],
  ["Docker", hybrid("/docker/c1"), "c1", `${old}/docker/c1/freezer.state`],
  ["controllers that share a hierarchy", "3:cpu,freezer,pids:/docker/c1\n", "c1", `${old}/docker/c1/freezer.state`],
  ["what the container has made", hybrid("/docker/c1/init.scope"), "c1", `${old}/docker/c1/freezer.state`],
  ["one hierarchy", unified("/default/c1"), "c1", "/sys/fs/cgroup/default/c1/cgroup.freeze"],
  [
    "systemd",
    unified("/system.slice/docker-c1.scope"),
    "c1",
    "/sys/fs/cgroup/system.slice/docker-c1.scope/cgroup.freeze"
  ],
  [
    "the kubelet",
    unified("/kubepods.slice/kubepods-pod7.slice/cri-containerd-c1.scope/a/b"),
    "c1",
    "/sys/fs/cgroup/kubepods.slice/kubepods-pod7.slice/cri-containerd-c1.scope/cgroup.freeze"
  ]
] as const

const none = [
  ["nothing of that name", hybrid("/docker/c2"), "c1"],
  ["a part of a name", hybrid("/docker/c12"), "c1"],
  ["a name that ends with it", hybrid("/docker/x-c1"), "c1"],
  ["the root", hybrid("/"), ""],
  ["the root of one hierarchy", unified("/"), ""],
  ["nothing", "", "c1"]
] as const

describe("the cgroup of a container", () => {
  it.each(found)("is found: %s", (_, theirs, id, file) => assert.strictEqual(fileOf(theirs, id), file))

  it.each(none)("is not taken for another: %s", (_, theirs, id) => assert.isUndefined(fileOf(theirs, id)))

  it("is none that this program is in, which would freeze itself", () => {
    assert.isUndefined(fileOf(hybrid("/docker/c1"), "c1", hybrid("/docker/c1")))
    assert.isUndefined(fileOf(unified("/docker/c1"), "c1", unified("/docker/c1/inner")))
    assert.isDefined(fileOf(unified("/docker/c1"), "c1", unified("/docker/c12")))
  })

  it("is none of a process that is not seen here", () => {
    assert.isTrue(Option.isNone(Freezer.find(0, "c1")))
    assert.isTrue(Option.isNone(Freezer.find(2 ** 30, "c1")))
    assert.isTrue(Option.isNone(Freezer.find(process.pid, "c1")))
    assert.isFalse(Freezer.isIn(2 ** 30, "/upper"))
    assert.isFalse(Freezer.isIn(process.pid, "/upper"))
  })
})
