/**
 * Removes files and directories whose names are any bytes (Node's own recursive removal takes names for UTF-8).
 *
 * @since 0.1.0
 */
import { chmodSync, readdirSync, rmdirSync, unlinkSync } from "node:fs"

const isDenied = (cause: unknown) => cause instanceof Error && "code" in cause && cause.code === "EACCES"

/** An ordinary user may not empty a directory that is not writable, but may change that. */
const opened = <A>(directory: Buffer, run: () => A): A => {
  try {
    return run()
  } catch (cause) {
    if (!isDenied(cause)) throw cause
    chmodSync(directory, 0o700)
    return run()
  }
}

const empty = (directory: Buffer): void => {
  const list = () => readdirSync(directory, { withFileTypes: true, encoding: "buffer" })
  for (const entry of opened(directory, list)) {
    const path = Buffer.concat([directory, Buffer.from("/"), entry.name])
    if (entry.isDirectory()) empty(path)
    opened(directory, () => (entry.isDirectory() ? rmdirSync(path) : unlinkSync(path)))
  }
}

/** Removes what is at the path, never what a symlink in it leads to. Directories above must be writable. */
export const removeTree = (path: Buffer, isDirectory: boolean): void => {
  if (isDirectory) empty(path)
  if (isDirectory) rmdirSync(path)
  else unlinkSync(path)
}
