/**
 * Images in files: archives into and out of any backend.
 *
 * @since 0.1.0
 */
export { ArchiveError } from "./ArchiveError.ts"
export { exportArchive } from "./ExportArchive.ts"
export { type ImportOptions, importArchive } from "./ImportArchive.ts"
