/**
 * Names and paths as they are on Linux: any bytes but NUL. A path is held as text with a character for each byte
 * (latin1), so that it can be a key and be compared: the order of such texts is the order of the bytes.
 *
 * @since 0.1.0
 */

/** Below a root, without a leading slash; the root itself is "". */
export type RawPath = string

/** Bytes of a name on Linux. */
export const maxName = 255

const asBuffer = (bytes: Uint8Array): Buffer =>
  Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)

export const fromBytes = (bytes: Uint8Array): RawPath => asBuffer(bytes).toString("latin1")

export const toBytes = (path: RawPath): Buffer => Buffer.from(path, "latin1")

export const join = (directory: RawPath, name: RawPath): RawPath => (directory === "" ? name : `${directory}/${name}`)

/** The directory that a path is in; `undefined` for the root. */
export const parent = (path: RawPath): RawPath | undefined =>
  path === "" ? undefined : path.slice(0, Math.max(path.lastIndexOf("/"), 0))

/** The path on this machine. */
export const below = (root: Buffer, path: RawPath): Buffer =>
  path === "" ? root : Buffer.concat([root, Buffer.from("/"), toBytes(path)])

/** As {@link below}, and quicker where it is asked for often: text, where the bytes of the path are those of the text. */
export const textBelow = (root: string, path: RawPath): string | Buffer => {
  if (path === "") return root
  return /[\x80-\xff]/.test(path) ? below(Buffer.from(root), path) : `${root}/${path}`
}

/** Components, without those that say nothing. `..` stays. */
export const split = (path: RawPath): Array<string> => path.split("/").filter((part) => part !== "" && part !== ".")

/** Components after a lexical clean-up, as Go's `path.Clean` does it; `undefined` for a path that climbs out. */
export const clean = (path: RawPath): ReadonlyArray<string> | undefined => {
  const parts: Array<string> = []
  for (const part of split(path)) {
    if (part !== "..") parts.push(part)
    else if (parts.pop() === undefined) return undefined
  }
  return parts
}

/** Sorts by bytes, each directory right before what is in it: "/" counts as the lowest byte. */
export const sortKey = (path: RawPath): string => path.replaceAll("/", "\0")

const escaped = (char: string) => `\\x${char.charCodeAt(0).toString(16)}`

/** For people: UTF-8 where it is, `\xff` for bytes that are not. Two paths never read the same. */
export const show = (path: RawPath): string => {
  const bytes = toBytes(path)
  const text = bytes.toString("utf8")
  const isUtf8 = Buffer.from(text, "utf8").equals(bytes) && !text.includes("\\x")
  return isUtf8 ? text : path.replace(/[\x80-\xff]|\\(?=x)/g, escaped)
}

/** For messages: quoted, control characters escaped. */
export const quote = (path: RawPath): string => JSON.stringify(show(path))
