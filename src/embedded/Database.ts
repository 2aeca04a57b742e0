/**
 * The state database: what the layout has no place for. Every change of records is one synchronous section.
 *
 * Files and records change in an order that a crash at any moment leaves whole: a new file is there, with its bytes on
 * the disk, before its record; a record is gone before its file. What stays is a file without a record: a
 * collection finds it.
 *
 * @since 0.1.0
 */
import { DatabaseSync, type SQLInputValue, type SQLOutputValue, type StatementSync } from "node:sqlite"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import { ContainerdError, FailedPrecondition, Unimplemented, Unknown } from "../core/ContainerdError.ts"
import { CurrentNamespace } from "../core/Namespaces.ts"
import { refuse, toContainerdError } from "./EmbeddedError.ts"
import type { Paths } from "./Layout.ts"
import * as Layout from "./Layout.ts"

export type Row = Readonly<Record<string, SQLOutputValue>>

/** Statements are prepared once for each connection. */
export interface Sql {
  readonly all: (text: string, ...values: ReadonlyArray<SQLInputValue>) => ReadonlyArray<Row>
  readonly get: (text: string, ...values: ReadonlyArray<SQLInputValue>) => Row | undefined
  /** The number of rows that changed. */
  readonly run: (text: string, ...values: ReadonlyArray<SQLInputValue>) => number
}

/** One root directory, opened. Closed with its layer. */
export class Database extends Context.Service<
  Database,
  {
    readonly paths: Paths
    /** A consistent look at the records; it waits for nobody. */
    readonly query: <A>(method: string, body: (sql: Sql) => A) => Effect.Effect<A, ContainerdError>
    /**
     * Changes records, exclusively: no other process is between the body's first and last statement. Rolled back when
     * the body throws; a thrown `ContainerdError` becomes the failure. While another process is at it this waits, and
     * fails with `Unavailable` after half a minute.
     */
    readonly transaction: <A>(method: string, body: (sql: Sql) => A) => Effect.Effect<A, ContainerdError>
  }
>()("effect-containerd/embedded/Database") {}

/** The one namespace that there is. */
export const namespace = "default"

const migrations: ReadonlyArray<string> = [
  `
  create table blobs (
    digest text primary key, size integer not null, labels text not null, created integer not null
  ) without rowid;
  create table ingests (
    ref text primary key, id text not null unique, total integer not null, started integer not null,
    owner text, -- the writer; null while nobody writes
    digest text -- set before the data is renamed to its blob
  );
  create table leases (id text primary key, labels text not null, created integer not null) without rowid;
  create table lease_resources (
    lease text not null references leases on delete cascade, type text not null, id text not null,
    primary key (lease, type, id)
  ) without rowid;
  create table snapshots (
    name text primary key, id text not null unique, parent text not null, kind text not null, labels text not null,
    size integer, inodes integer, created integer not null,
    owner text -- who fills it; null when it is ready
  );
  create index snapshots_by_parent on snapshots (parent);
  create table containers (
    id text primary key, labels text not null, image text not null, runtime text not null,
    snapshotter text not null, snapshot_key text not null, spec blob not null, created integer not null
  );
  create table garbage (digest text primary key) without rowid; -- blobs whose files may still be there
  `
]

/** Pages that are kept for the clean-up on a full disk: the log begins again before it is longer. */
const spare = 64

/** FULL: a removal that was lost with the power, of a blob whose file is gone, would leave a record without file. */
const pragmas = `
  pragma journal_mode = wal;
  pragma synchronous = full;
  pragma foreign_keys = on;
  pragma busy_timeout = 50;
  pragma wal_autocheckpoint = ${spare};
`

const migrate = (db: DatabaseSync): void => {
  db.exec("create table if not exists migrations (version integer primary key, applied text not null)")
  const row = db.prepare("select coalesce(max(version), 0) as version from migrations").get()
  const version = row === undefined ? 0 : integer(row, "version")
  if (version > migrations.length) {
    const message = `the state database has version ${version}, this program knows ${migrations.length}: use a newer one`
    refuse("Embedded.open", new FailedPrecondition({ message }))
  }
  for (const [i, text] of migrations.entries()) {
    if (i < version) continue
    db.exec(text)
    db.prepare("insert into migrations values (?, ?)").run(i + 1, new Date().toISOString())
  }
}

/** Makes the log, and the database, as long as they need to be to take records away when the disk is full. */
const reserve = (db: DatabaseSync): void => {
  db.exec(`
    create table if not exists room (bytes blob);
    insert into room values (zeroblob(${spare} * 4096));
    delete from room;
  `)
}

const statements = (db: DatabaseSync): Sql => {
  const prepared = new Map<string, StatementSync>()
  const prepare = (text: string): StatementSync => {
    const found = prepared.get(text) ?? db.prepare(text)
    prepared.set(text, found)
    return found
  }
  return {
    all: (text, ...values) => prepare(text).all(...values),
    get: (text, ...values) => prepare(text).get(...values),
    run: (text, ...values) => Number(prepare(text).run(...values).changes)
  }
}

/** No await inside: other fibers of this process cannot come between. */
const section = <A>(db: DatabaseSync, begin: string, body: () => A): A => {
  db.exec(begin)
  try {
    const result = body()
    db.exec("commit")
    return result
  } catch (cause) {
    // SQLite has rolled back already after some errors (disk full).
    if (db.isTransaction) db.exec("rollback")
    throw cause
  }
}

/** The thread waits 50 ms at most in SQLite itself; the rest of the time other fibers run. */
const busyRetry = Schedule.min([Schedule.exponential("5 millis"), Schedule.spaced("200 millis")]).pipe(
  Schedule.jittered,
  Schedule.upTo({ duration: "30 seconds" })
)
const isBusy = ({ cause, reason }: ContainerdError) =>
  reason._tag === "Unavailable" && cause instanceof Error && "errcode" in cause

const attempt = <A>(method: string, body: () => A): Effect.Effect<A, ContainerdError> =>
  Effect.try({ try: body, catch: toContainerdError(method) }).pipe(Effect.retry({ while: isBusy, schedule: busyRetry }))

const onlyNamespace = (other: string) => `the embedded backend has the namespace "${namespace}" only, not "${other}"`

/** Objects of one namespace must not appear in another, and there is only one. */
const inNamespace = <A>(method: string, self: Effect.Effect<A, ContainerdError>) =>
  Effect.flatMap(CurrentNamespace, (current) =>
    current === undefined || current === namespace
      ? self
      : Effect.fail(new ContainerdError({ method, reason: new Unimplemented({ message: onlyNamespace(current) }) }))
  )

const connect = (path: string) =>
  Effect.acquireRelease(
    Effect.try({ try: () => new DatabaseSync(path), catch: toContainerdError("Embedded.open") }),
    (db) => Effect.sync(() => db.close())
  )

/** Opens the root. Fails with `FailedPrecondition` for a directory that is no layout, or a database that is none. */
export const make: (root: string) => Effect.Effect<Database["Service"], ContainerdError, Scope.Scope> =
  Effect.fnUntraced(function* (root) {
    const paths = yield* Effect.try({ try: () => Layout.open(root), catch: toContainerdError("Embedded.open") })
    const db = yield* connect(paths.database)
    yield* attempt("Embedded.open", () => db.exec(pragmas))
    yield* attempt("Embedded.open", () => section(db, "begin immediate", () => migrate(db)))
    yield* attempt("Embedded.open", () => section(db, "begin immediate", () => reserve(db)))
    const sql = statements(db)
    return Database.of({
      paths,
      query: (method, body) =>
        inNamespace(
          method,
          attempt(method, () => section(db, "begin", () => body(sql)))
        ),
      transaction: (method, body) =>
        inNamespace(
          method,
          attempt(method, () => section(db, "begin immediate", () => body(sql)))
        )
    })
  })

export const layer = (root: string): Layer.Layer<Database, ContainerdError> => Layer.effect(Database, make(root))

const broken = (row: Row, column: string) =>
  refuse(
    "Embedded.state",
    new Unknown({ message: `the state database holds ${typeof row[column]} in ${column}: it is not ours` })
  )

export const text = (row: Row, column: string): string => {
  const value = row[column]
  return typeof value === "string" ? value : broken(row, column)
}

export const integer = (row: Row, column: string): number => {
  const value = row[column]
  return typeof value === "number" ? value : broken(row, column)
}

export const optionalText = (row: Row, column: string): string | undefined =>
  row[column] === null ? undefined : text(row, column)

export const bytes = (row: Row, column: string): Uint8Array => {
  const value = row[column]
  return value instanceof Uint8Array ? value : broken(row, column)
}
