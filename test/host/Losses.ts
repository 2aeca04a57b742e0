/** What gets lost on the way from a container to its image, and where. Everything else must arrive. */
import * as RawPath from "../../src/layer/RawPath.ts"
import type * as Tars from "../layer/Tars.ts"
import type * as Trees from "../layer/Trees.ts"
import type { Case, Difference, Loss } from "./Differential.ts"

const up = (path: string) => path.slice(0, path.lastIndexOf("/")) || "/"
const isDirectory = (node: Trees.Node | undefined) => node?.type === "4"
/** All names of the file that is there, in their order; the text of them cannot be split, for names hold spaces. */
const namesOf = (tree: Trees.Tree, path: string): ReadonlyArray<string> => {
  const links = tree[path]?.links
  return links === undefined
    ? [path]
    : Object.keys(tree)
        .filter((one) => tree[one]?.links === links)
        .toSorted()
}
const isAttribute = ({ field }: Difference) => field.includes(".")
const isAcl = ({ field }: Difference) => field.startsWith("system.posix_acl_")

const defaultRules = "SCHILY.xattr.system.posix_acl_default="
const isBelowDefaultAcl = (path: string, { container, parent }: Case) =>
  [container, parent].some((tree) =>
    namesOf(tree, path)
      .flatMap((name) => upwards(up(name)))
      .some((directory) => tree[directory]?.xattrs.includes(defaultRules))
  )

const isHidden = (path: string) => path.includes("/.wh.")

const hiddenNameOf = (path: string) => path.replace(/[^/]*$/, ".wh.$&")

/** A path and all that leads to it. */
const upwards = (path: string): ReadonlyArray<string> => (path === "/" ? [path] : [path, ...upwards(up(path))])

/** Whatever layer is unpacked, and whoever wrote it. That ours says it all the same is looked up in the layer. */
export const ofUnpacking: ReadonlyArray<Loss> = [
  {
    what: "the root directory's own mode, owner, time and attributes",
    why: "containerd's `Apply` passes over the entry `./`; the snapshot of a commit by the host has them",
    covers: ({ field, path }) => path === "/" && field !== "name"
  },
  {
    what: "extended attributes `trusted.*`",
    why: "containerd's `Apply` does not set them",
    covers: ({ actual, field }) => field.startsWith("trusted.") && actual === ""
  },
  {
    what: "times before 1970",
    why: "containerd's `Apply` sets 1970-01-01 in their place",
    covers: ({ actual, expected, field }) => field === "mtime" && expected.startsWith("-") && actual === "0"
  },
  {
    what: "that a file has no ACL, in a directory that gives one to new files",
    why: "containerd's `Apply` makes the directory first, and a layer cannot say that an attribute is not there",
    covers: (difference, context) =>
      isAcl(difference) && difference.expected === "" && isBelowDefaultAcl(difference.path, context)
  }
]

/** What no layer can say, or no layer of containerd's form does. */
export const ofLayers: ReadonlyArray<Loss> = [
  {
    what: "the time of a directory of which nothing else changed",
    why: "it changes with everything that comes and goes; no differ takes it for a change",
    covers: ({ actual, field, path }, { container, layer, parent }) =>
      field === "mtime" && isDirectory(container[path]) && !layer.has(path) && actual === parent[path]?.mtime
  },
  {
    what: "names that begin with `.wh.`",
    why: "in a layer they stand for deletions; ours says so in `notCarried`",
    isReported: true,
    covers: ({ actual, field, path }, { container }) =>
      (field === "name" && isHidden(path)) ||
      (field === "links" &&
        actual ===
          namesOf(container, path)
            .filter((name) => !isHidden(name))
            .join(" "))
  },
  {
    what: "extended attributes with `=` in their names",
    why: "a pax record ends its key there; ours says so in `notCarried`",
    isReported: true,
    covers: ({ actual, field }) => field.includes("%3D") && actual === ""
  }
]

/** Only where the commit says of the path, or of another name of the same file, that it is so. */
export const reported = (loss: Loss): Loss =>
  loss.isReported !== true
    ? loss
    : {
        ...loss,
        covers: (difference, context) => {
          const paths = namesOf(context.container, difference.path)
          const isSaid = (path: string) =>
            context.notCarried.some((line) => line.startsWith(`${RawPath.show(path.slice(1))}: `) || path === "/")
          return loss.covers(difference, context) && paths.some(isSaid)
        }
      }

const timeOf = ({ records, rest }: Tars.Decoded): string => {
  const text = records.find((record) => record.startsWith("mtime="))?.slice(6)
  if (text === undefined) return `${BigInt(Number.parseInt(rest.slice(136, 147), 8)) * 1_000_000_000n}`
  const [whole = "", fraction = ""] = text.replace("-", "").split(".")
  return `${text.startsWith("-") ? "-" : ""}${BigInt(`${whole}${fraction.padEnd(9, "0")}`)}`
}

const trustedIn = (text: ReadonlyArray<string>) =>
  text
    .filter((record) => record.startsWith("SCHILY.xattr.trusted."))
    .toSorted()
    .join("; ")

const ofUnpackingIn = ({ mode, mtime, owner, xattrs }: Trees.Node) =>
  [mode, owner, mtime, trustedIn(xattrs.split("; "))].join(" ")

const modeOf = ({ rest }: Tars.Decoded) => Number.parseInt(rest.slice(100, 107), 8).toString(8)

/** What containerd does not unpack, and our layer says all the same; gives what it does not say. */
export const unsaidBy = ({ container, layer }: Case): ReadonlyArray<Difference> =>
  [...layer].flatMap(([path, entry]) => {
    const node = container[path]
    if (node === undefined || entry.type === "1") return []
    const expected = ofUnpackingIn(node)
    const actual = [modeOf(entry), `${entry.uid}:${entry.gid}`, timeOf(entry), trustedIn(entry.records)].join(" ")
    return expected === actual ? [] : [{ path, field: "entry", expected, actual }]
  })

const floored = (nanoseconds: string) => `${nanoseconds.slice(0, -9)}000000000`

const isCarried = ({ field }: Difference) => field === "security.capability"

/** containerd compares two files by attributes, size and time, and looks no further. */
const isUntouched = (path: string, { container, parent }: Case) => {
  const [now, before] = [container[path], parent[path]]
  if (now === undefined || before === undefined) return false
  const same = ["type", "mode", "owner", "size", "mtime", "device"] as const
  return same.every((key) => now[key] === before[key])
}

/** What containerd's differ, which is Docker's, too, leaves out of its layers. */
export const ofTheirs: ReadonlyArray<Loss> = [
  {
    what: "fractions of a second",
    why: "its writer cuts them off",
    covers: ({ actual, expected, field }) =>
      field === "mtime" && (actual === floored(expected) || (expected.startsWith("-") && actual.startsWith("-")))
  },
  {
    what: "extended attributes other than `security.capability`, ACLs among them",
    why: "its writer reads no other, and its comparison sees no change of them",
    covers: (difference) => isAttribute(difference) && !isCarried(difference)
  },
  {
    what: "other content of the same size under the same time",
    why: "its comparison reads no file whose size and time are those from before",
    covers: ({ actual, field, path }, context) =>
      field === "content" && isUntouched(path, context) && actual === context.parent[path]?.content
  },
  {
    what: "that a file was parted from, or joined with, others of the same content, size and time",
    why: "its comparison does not look at hard links",
    covers: ({ field, path }, context) => {
      const all = [...namesOf(context.container, path), ...namesOf(context.parent, path)]
      return field === "links" && all.some((name) => isUntouched(name, context))
    }
  },
  {
    what: "files whose names follow `.wh.` in the name of another",
    why: "its writer gives that name as it is, and the layer then deletes the file",
    covers: ({ actual, field, path }, { container }) => {
      const isHit = (name: string) => upwards(name).some((one) => container[hiddenNameOf(one)] !== undefined)
      if (field !== "links") return field === "name" && isHit(path)
      return (
        actual ===
        namesOf(container, path)
          .filter((name) => !isHit(name) && !isHidden(name))
          .join(" ")
      )
    }
  }
]
