/**
 * A shell in a mount namespace of its own, which does for a commit what Node has no call for, and is gone with it.
 *
 * @since 0.1.0
 */
import { createInterface } from "node:readline"
import { setImmediate } from "node:timers/promises"
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import { BackendScope } from "../core/BackendScope.ts"
import * as ChildProcess from "../layer/ChildProcess.ts"
import * as DiffSource from "../layer/DiffSource.ts"

/**
 * Is told what to mount, a line each, mounts, and then answers each line with the exit code of what it did, until there
 * is no more line. The lower directories are mounted as the kernel shows them together, where the new snapshot has its
 * working directory: their own marks are the kernel's business. They are named from where they are, for a list of mount
 * options has 4096 bytes and that of a long chain of layers would have more.
 *
 * What it answers begins a line of its own: a program that complains writes its line in pieces, and may be in the middle.
 *
 * What puts a tar into the target reads it to its end, with what only fills its last record, and when it has failed, too:
 * to whom it is closed earlier, that is a broken connection, and what was said on it is lost.
 *
 * The guard thaws the container when this program dies while it is frozen: what it waits for is then at its end. It is in
 * nobody's way, and outlives the shell.
 */
const script = `
set -eu
exec 2>&1
export LIBMOUNT_FORCE_MOUNT2=always
IFS=
read -r home; read -r upper
read -r tar
read -r freezer; read -r thaw
case $freezer in
  ?*) (trap '' HUP INT TERM; exec >/dev/null 2>&1 3<&- 4<&- 5<&- 7<&-; read -r thawed <&6 || echo "$thaw" >"$freezer") & ;;
esac
exec 6<&-
mount --bind -o nosymfollow,nodev,noatime "$home" "$home"
cd "$home"
"$tar" -C / --hard-dereference "$@" <&3 >&3 3<&- 4<&- 5<&- 7<&- &
attributes=$!
"$tar" -C "$upper" "$@" <&4 >&4 3<&- 4<&- 5<&- 7<&- &
now=$!
exec 3<&- 4<&-
read -r target; read -r below; read -r lowers; read -r all; read -r options
case $lowers in *:*) mount -t overlay -o "ro,lowerdir=$lowers$options" overlay "$below" ;; esac
put() {
  setpriv --pdeathsig KILL "$tar" -C "$target" -x -f - -B -b 128 -P -p --delay-directory-restore --numeric-owner \\
    --xattrs '--xattrs-include=*' --warning=no-timestamp && return
  code=$?
  cat >/dev/null
  return "$code"
}
cd "$upper"
say() { printf '\\n%s\\n' "$1"; }
say =0
begun=
put=
while read -r command; do
  code=0
  case $command in
    attributes) wait "$attributes" || code=$? ;;
    now) wait "$now" || code=$? ;;
    later)
      read -r where
      case $where in container) where=$upper ;; copy) where=$target ;; esac
      "$tar" -C "$where" "$@" <&5 >&5 5<&- 7<&- || code=$?
      exec 5<&-
      ;;
    put)
      (put || code=$?; echo "=$code") <&7 >&7 2>&7 5<&- 7<&- &
      put=$!
      exec 7<&-
      continue
      ;;
    merge) (cd "$home" && mount -t overlay -o "ro,lowerdir=$all$options" overlay "$upper") || code=$? ;;
    some)
      read -r size
      begun=yes
      head -c "$size" | {
        setpriv --pdeathsig KILL "$tar" "$@" || [ "$?" -le 2 ] || echo "tar: it was ended by a signal" >&2
      } | put || code=$?
      ;;
    touch)
      read -r time; read -r path
      (cd "$target" && exec touch -h -d "$time" "./$(printf '%b/' "$path")") || code=$?
      ;;
    spoiled) begun=$begun$put; wait $put "$now" || : ;;
    copy)
      case $begun in ?*) find "$target" -xdev -mindepth 1 -delete ;; esac
      setpriv --pdeathsig KILL cp -dR --preserve=mode,ownership,timestamps,links,xattr --reflink=auto . "$target/" &
      say "pid $!"
      wait "$!" || code=$?
      ;;
  esac
  say "=$code"
done
`

/** A shell that waits has no mounts of its own yet: it would keep what others unmount. */
const waiting = `read -r go; exec unshare --mount --propagation private sh -c "$@"`

/**
 * It goes with this process, however that ends, and what copies goes with it: nothing is written into what others remove.
 * What only reads ends by itself when its pipe is gone.
 */
const args = ["--pdeathsig", "KILL", "sh", "-c", waiting, "sh", script, "sh", ...DiffSource.flags]

/**
 * To those that read, which take names and give a tar: in `/` to compare attributes, in the container's upper directory
 * now, there or in its copy later. To the guard, which is told that the container runs again. To what puts a tar into the
 * target, which says what went wrong.
 */
export const pipes = { attributes: 0, now: 1, later: 2, guard: 3, put: 4 } as const

export interface Shell {
  readonly child: ChildProcess.Child
  readonly lines: AsyncIterator<string>
  /** One of another commit of this backend was of use: this one was kept for the next. */
  readonly isKept: boolean
  /** This one is of use: when the scope closes, one for the next commit is started. */
  readonly keepNext: Effect.Effect<void, never, Scope.Scope>
}

const start = () => ChildProcess.start("setpriv", args, "sh", Object.keys(pipes).length)

/** To start one holds this process up for milliseconds, in which calls that were just made would not go out. */
const startLater = Effect.promise(() => setImmediate()).pipe(Effect.map(start))

export interface Answer {
  /** `""` when it ended without one. */
  readonly code: string
  readonly lines: ReadonlyArray<string>
}

export const answer = async (
  { lines }: Pick<Shell, "lines">,
  onPid: (pid: string) => void = () => undefined
): Promise<Answer> => {
  const said: Array<string> = []
  for (let next = await lines.next(); next.done !== true; next = await lines.next()) {
    if (next.value.startsWith("=")) return { code: next.value.slice(1), lines: said }
    if (next.value.startsWith("pid ")) onPid(next.value.slice(4))
    else if (next.value !== "") said.push(next.value)
  }
  return { code: "", lines: said }
}

/** A shell that waits for a commit, and ends with the backend. */
interface Spare {
  child?: ChildProcess.Child | undefined
}

const spares = new WeakMap<Scope.Scope, Spare>()

const takeFrom = (spare: Spare) =>
  Effect.sync(() => {
    const { child } = spare
    spare.child = undefined
    return child?.isAlive() === true ? child : undefined
  })

const fill = (spare: Spare) =>
  Effect.sync(() => {
    if (spare.child !== undefined) return
    spare.child = start()
    // A program that has nothing else to do ends.
    spare.child.keepAlive(false)
  })

const spareOf = Effect.fnUntraced(function* (backend: Scope.Scope) {
  const known = spares.get(backend)
  if (known !== undefined) return known
  const spare: Spare = {}
  spares.set(backend, spare)
  const end = Effect.flatMap(takeFrom(spare), (child) => (child === undefined ? Effect.void : ChildProcess.end(child)))
  yield* Scope.addFinalizer(backend, end)
  return spare
})

/** Not at once: the program may have something to do with the image. */
const rest = "50 millis"

const takeOrStart = (spare: Spare | undefined) =>
  Effect.flatMap(spare === undefined ? Effect.undefined : takeFrom(spare), (child) => {
    child?.keepAlive(true)
    const isKept = child !== undefined
    return Effect.map(isKept ? Effect.succeed(child) : startLater, (child) => ({ child, isKept }))
  })

/**
 * A shell for one commit, which ends with the scope. The one for the next may be there already: to start a process takes
 * as long as half of what else is to do for a small change.
 */
export const take = Effect.gen(function* () {
  const backend = yield* BackendScope
  const spare = backend === undefined ? undefined : yield* spareOf(backend)
  const { child, isKept } = yield* Effect.acquireRelease(takeOrStart(spare), ({ child }) => ChildProcess.end(child))
  child.stdin.write("go\n")
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const next =
    backend === undefined || spare === undefined
      ? Effect.void
      : Effect.addFinalizer(() => Effect.forkIn(Effect.delay(fill(spare), rest), backend))
  return { child, lines, isKept, keepNext: next } satisfies Shell
})
