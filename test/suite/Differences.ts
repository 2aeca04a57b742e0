/**
 * Where the backends differ, and why. The cases of the suites ask this table and nothing else.
 */
export type Backend = "embedded" | "containerd"

export interface Difference {
  readonly embedded: string
  readonly containerd: string
  readonly why: string
}

export const differences = {
  documentsAreFollowed: {
    embedded: "an image keeps what its manifest names, labels or not",
    containerd: "only labels are followed: without them, config and layers of an image are garbage",
    why: "the tools that write OCI layouts (skopeo, umoci) set no labels, and their images must not be taken apart"
  },
  viewsAreDirectories: {
    embedded: "a view's mount names the parent's own directory, and says read-only",
    containerd: "a view is mounted read-only by the kernel",
    why: "an ordinary user may not mount; the differ reads the directory where it is"
  },
  usageIsWhole: {
    embedded: "the usage of a child counts the files that are its parent's, too",
    containerd: "overlayfs counts the upper directory only (native counts all)",
    why: "each snapshot is a whole directory; what a file system shares between copies it does not tell"
  },
  rootIsInherited: {
    embedded: "the root directory of a child has the mode of its parent's",
    containerd: "overlayfs gives it mode 0755 (native copies the parent's)",
    why: "a child begins as a copy of its parent, the root directory included"
  },
  lateCommitIsLeased: {
    embedded: "a committed name that is taken is put under the lease of the one who was late",
    containerd: "the same from 1.7 on; 1.6 leaves it to the client",
    why: "who needs the snapshot adds it to the lease itself, so no client may depend on it"
  },
  otherNamespaces: {
    embedded: "calls in another namespace than default fail with Unimplemented",
    containerd: "any namespace, made by its first object",
    why: "a layout has one index.json"
  }
} as const satisfies Readonly<Record<string, Difference>>
