/**
 * Where the backends differ, and why. The cases of the suites ask this table and nothing else.
 */
export type Backend = "embedded" | "containerd"

/** A column of the table. */
export interface Where {
  readonly backend: Backend
  /** Of containerd. */
  readonly version?: string
  readonly snapshotter?: string
  /** Containers are read on the host, where that can be done, and not by the daemon. */
  readonly host?: boolean
}

export interface Difference {
  readonly embedded: string
  readonly containerd: string
  readonly why: string
  /** Which containerd is other than embedded. */
  readonly where: (at: Where) => boolean
}

const everywhere = () => true
const byTheDaemon = ({ host }: Where) => host !== true
const before2 = ({ version }: Where) => version === "1.6" || version === "1.7"
const withOverlayfs = ({ snapshotter }: Where) => snapshotter === "overlayfs"

export const differences = {
  documentsAreFollowed: {
    embedded: "an image keeps what its manifest names, labels or not",
    containerd: "only labels are followed: without them, config and layers of an image are garbage",
    why: "the tools that write OCI layouts (skopeo, umoci) set no labels, and their images must not be taken apart",
    where: everywhere
  },
  viewsAreDirectories: {
    embedded: "a view's mount names the parent's own directory, and says read-only",
    containerd: "a view is mounted read-only by the kernel",
    why: "an ordinary user may not mount; the differ reads the directory where it is",
    where: everywhere
  },
  usageIsWhole: {
    embedded: "the usage of a child counts the files that are its parent's, too",
    containerd: "overlayfs counts the upper directory only (native counts all)",
    why: "each snapshot is a whole directory; what a file system shares between copies it does not tell",
    where: withOverlayfs
  },
  rootIsInherited: {
    embedded: "the root directory of a child has the mode of its parent's",
    containerd: "overlayfs gives it mode 0755 (native copies the parent's)",
    why: "a child begins as a copy of its parent, the root directory included",
    where: withOverlayfs
  },
  zstdIsWritten: {
    embedded: "layers are written as zstd, too",
    containerd: "from 2.0 on; before, that is Unimplemented",
    why: "Node has it",
    where: (at) => before2(at) && byTheDaemon(at)
  },
  whiteoutsHaveTimes: {
    embedded: "whiteouts have the time 0",
    containerd: "the same from 2.0 on; 1.6 and 1.7 give them the time of the run",
    why: "what is gone has no time, and the same change must be the same layer (a commit with `created` rewrites them)",
    where: (at) => before2(at) && byTheDaemon(at)
  },
  timesAreWhole: {
    embedded: "modification times keep their nanoseconds",
    containerd: "the differ cuts them to whole seconds",
    why: "a layer can say them (pax), and build tools compare them",
    where: byTheDaemon
  },
  attributesAreCarried: {
    embedded: "all extended attributes but SELinux labels and those of overlayfs",
    containerd: "the differ writes `security.capability` only",
    why: "a layer is the change, whole",
    where: byTheDaemon
  },
  rootIsNamed: {
    embedded: "layers name the root directory when it changed (`./`), and such an entry is applied",
    containerd: "layers never name it, and an entry for it is skipped",
    why: "its mode and owner can change like those of any other directory",
    where: everywhere
  },
  linksReachBelow: {
    embedded: "a hard link may lead to a file that a lower layer has",
    containerd: "not with overlayfs, where a layer is extracted into the upper directory alone (native: as embedded)",
    why: "each snapshot is a whole directory; differs write the file once more, so only foreign layers need it",
    where: withOverlayfs
  },
  damageIsInvalid: {
    embedded: "a damaged layer is InvalidArgument",
    containerd: "a damaged layer is Unknown",
    why: "it is known what is wrong, and that to try again is of no use",
    where: everywhere
  },
  typesStay: {
    embedded: "a name that changes its type in the middle of one layer is refused: InvalidArgument",
    containerd: "the later entry takes the place of the earlier one",
    why: "no tool writes that without intent: it makes a name lead elsewhere after it was looked at",
    where: everywhere
  },
  climbersAreRefused: {
    embedded: "absolute names, and names that climb out by `..` or a symlink, are refused: InvalidArgument",
    containerd: "such names are cut at the root, and what they name is made inside",
    why: "no tool writes them without intent; nothing gets out either way",
    where: everywhere
  },
  lateCommitIsLeased: {
    embedded: "a committed name that is taken is put under the lease of the one who was late",
    containerd: "the same from 1.7 on; 1.6 leaves it to the client",
    why: "who needs the snapshot adds it to the lease itself, so no client may depend on it",
    where: ({ version }) => version === "1.6"
  },
  nothingIsMounted: {
    embedded: "a container has no mounts, so that nothing in it is taken for a place where something was mounted",
    containerd:
      "empty files and directories where its spec or a runtime mounts something are left out, unless `stubs` is `keep`",
    why: "nothing runs here, so that nobody made such files but the user",
    where: everywhere
  },
  otherNamespaces: {
    embedded: "calls in another namespace than default fail with Unimplemented",
    containerd: "any namespace, made by its first object",
    why: "a layout has one index.json",
    where: everywhere
  }
} as const satisfies Readonly<Record<string, Difference>>

export type Key = keyof typeof differences

/** Whether the case that shows the difference has the other outcome there. */
export const isOther = (key: Key, at: Where): boolean => at.backend === "containerd" && differences[key].where(at)
