/**
 * Images in files: archives and directories into any backend, and archives out of it.
 *
 * @since 0.1.0
 */
export { ArchiveError } from "./ArchiveError.ts"
export { exportArchive } from "./ExportArchive.ts"
export { type DirectoryOptions, type FromDirectory, fromDirectory } from "./FromDirectory.ts"
export { type ImportOptions, importArchive } from "./ImportArchive.ts"
