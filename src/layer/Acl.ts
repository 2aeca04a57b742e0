/**
 * POSIX access control lists. Layers carry them as the kernel's own bytes, in the extended attributes
 * `system.posix_acl_access` and `system.posix_acl_default`; GNU tar sets them from star's text.
 *
 * @since 0.1.0
 */

export const names = {
  "system.posix_acl_access": "SCHILY.acl.access",
  "system.posix_acl_default": "SCHILY.acl.default"
}

const version = 2
const entrySize = 8
/** Tags of `linux/posix_acl.h`. */
const tags = new Map([
  [0x01, "user"],
  [0x02, "user"],
  [0x04, "group"],
  [0x08, "group"],
  [0x10, "mask"],
  [0x20, "other"]
])
const named = new Set([0x02, 0x08])

const permissions = (bits: number) => `${bits & 4 ? "r" : "-"}${bits & 2 ? "w" : "-"}${bits & 1 ? "x" : "-"}`

/** The text of a list, with numbers for users and groups; `undefined` when the bytes are none. */
export const toText = (value: Uint8Array): string | undefined => {
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.length)
  if (bytes.length < 4 || (bytes.length - 4) % entrySize !== 0 || bytes.readUInt32LE(0) !== version) return undefined
  const entries: Array<string> = []
  for (let at = 4; at < bytes.length; at += entrySize) {
    const tag = bytes.readUInt16LE(at)
    const kind = tags.get(tag)
    if (kind === undefined) return undefined
    const id = named.has(tag) ? bytes.readUInt32LE(at + 4) : ""
    entries.push(`${kind}:${id}:${permissions(bytes.readUInt16LE(at + 2))}`)
  }
  return entries.length === 0 ? undefined : entries.join(",")
}
