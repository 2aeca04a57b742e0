/**
 * The file that an ingest's bytes are in, where the daemon's content store is on this host: to write there costs a third
 * of what it costs to send the same bytes to the daemon, which reads them again to hash them when the write is resumed.
 *
 * @since 0.1.0
 */
import { constants } from "node:fs"
import { access, type FileHandle, open, readdir, readFile, stat } from "node:fs/promises"
import * as Path from "node:path"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Connection } from "./Connection.ts"
import { services } from "./Wire.ts"

const filters = ["type==io.containerd.content.v1,id==content"]

/** The content store's directory, as the daemon names it; none when it has another store, or does not say. */
export const root = ({ unary }: Connection["Service"]): Effect.Effect<Option.Option<string>> =>
  unary(services().introspection.Plugins, { filters }).pipe(
    Effect.map(({ plugins }) => Option.fromUndefinedOr(plugins[0]?.exports["root"])),
    Effect.orElseSucceed(Option.none)
  )

const refOf = (ingest: string): Promise<string> => readFile(Path.join(ingest, "ref"), "utf8").catch(() => "")

/** That it has the name of this write, which nobody else's has, proves that it is the daemon's. */
const search = async (root: string, ref: string, offset: number): Promise<Option.Option<string>> => {
  const ingests = Path.join(root, "ingest")
  for (const name of await readdir(ingests)) {
    const ingest = Path.join(ingests, name)
    if (!(await refOf(ingest)).endsWith(`/${ref}`)) continue
    const data = Path.join(ingest, "data")
    await access(data, constants.W_OK)
    return (await stat(data)).size === offset ? Option.some(data) : Option.none()
  }
  return Option.none()
}

/** None when it cannot be written to from here, for whatever reason. */
export const find = (root: string, ref: string, offset: number): Effect.Effect<Option.Option<string>> =>
  Effect.promise(() => search(root, ref, offset).catch(() => Option.none<string>()))

/** Open for appending until the scope closes. */
export const append = (path: string) =>
  Effect.acquireRelease(
    Effect.tryPromise(() => open(path, "a")),
    (file) => Effect.promise(() => file.close().catch(() => undefined))
  )

/** All of them, in their order. On a full disk a part may be written; the rest then fails with the reason. */
export const write = (file: FileHandle, parts: ReadonlyArray<Uint8Array>, size: number) =>
  Effect.tryPromise(async () => {
    const { bytesWritten } = await file.writev(parts)
    if (bytesWritten < size) await file.appendFile(Buffer.concat(parts).subarray(bytesWritten))
  })
