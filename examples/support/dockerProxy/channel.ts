/**
 * A socket as effects that can be interrupted without losing a byte. Back-pressure is Node's: what nobody reads,
 * nobody sends.
 */
import { connect, type Socket } from "node:net"
import { Data, Effect, type Scope } from "effect"

export interface Channel {
  readonly socket: Socket
  /** What is made of the next bytes, at once; they are `undefined` at the end, whatever ended it. */
  readonly next: <A>(use: (bytes: Buffer | undefined) => A) => Effect.Effect<A>
  /** Gives bytes back, for the next `next`. */
  readonly unread: (bytes: Buffer) => void
  /** Waits until the peer sends no more. Bytes that come in the meantime stay. */
  readonly ended: Effect.Effect<void>
  /** True. What goes to a peer that has gone is lost, as on any socket. */
  readonly send: (bytes: Buffer) => true
  /** Waits while the peer cannot take more. */
  readonly drained: Effect.Effect<void>
  /** Sends no more; what the peer sends can still be read. */
  readonly end: Effect.Effect<void>
}

const isOver = (socket: Socket) => socket.readableEnded || socket.destroyed

/** Runs `look` whenever there may be something new, until it is done. */
const whenReadable = <A>(socket: Socket, look: (done: (value: A) => void) => void) =>
  Effect.callback<A>((resume) => {
    const events = ["readable", "end", "close"]
    const listener = () => look(done)
    let isDone = false
    const stop = () => {
      isDone = true
      for (const event of events) socket.off(event, listener)
    }
    const done = (value: A) => {
      stop()
      resume(Effect.succeed(value))
    }
    look(done)
    if (isDone) return
    for (const event of events) socket.on(event, listener)
    // Those who listen are told of what has come since.
    look(done)
    return Effect.sync(stop)
  })

const drained = (socket: Socket) =>
  Effect.callback<void>((resume) => {
    const done = () => resume(Effect.void)
    if (!socket.writableNeedDrain || socket.destroyed) return done()
    socket.once("drain", done).once("close", done)
    return Effect.sync(() => void socket.off("drain", done).off("close", done))
  })

export const make = (socket: Socket): Channel => {
  let kept: Buffer | undefined
  // An error comes with a close, which ends all that waits.
  socket.on("error", () => undefined)
  return {
    socket,
    next: (use) =>
      whenReadable(socket, (done) => {
        const bytes: Buffer | null = kept ?? (isOver(socket) ? null : socket.read())
        kept = undefined
        if (bytes !== null) done(use(bytes))
        else if (isOver(socket)) done(use(undefined))
      }),
    unread: (bytes) => {
      if (bytes.length > 0) kept = kept === undefined ? bytes : Buffer.concat([bytes, kept])
    },
    ended: whenReadable<void>(socket, (done) => {
      // Node tells of an end only to those who read.
      if (!isOver(socket) && socket.readableLength === 0) socket.read(0)
      if (isOver(socket)) done()
    }),
    send: (bytes) => {
      if (socket.writable && bytes.length > 0) socket.write(bytes)
      return true
    },
    drained: drained(socket),
    end: Effect.sync(() => void socket.end())
  }
}

export class Unreachable extends Data.TaggedError("Unreachable")<{ readonly path: string; readonly cause: Error }> {
  override get message() {
    return `the Docker Engine does not answer at ${this.path}: ${this.cause.message}`
  }
}

/** A connection that goes with the scope. */
export const open = (path: string): Effect.Effect<Channel, Unreachable, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback<Channel, Unreachable>((resume) => {
      const socket = connect({ path, allowHalfOpen: true })
      const refuse = (cause: Error) => resume(Effect.fail(new Unreachable({ path, cause })))
      socket.once("error", refuse)
      socket.once("connect", () => {
        socket.off("error", refuse)
        resume(Effect.succeed(make(socket)))
      })
      return Effect.sync(() => void socket.destroy())
    }),
    ({ socket }) => Effect.sync(() => void socket.destroy()),
    { interruptible: true }
  )

const onceClosed = ({ socket }: Channel) =>
  Effect.callback<void>((resume) => {
    const done = () => resume(Effect.void)
    if (socket.closed) return done()
    socket.once("close", done)
    return Effect.sync(() => void socket.off("close", done))
  })

/** All that comes, and then the end, which closes one direction only. Stops early for a peer that has gone. */
export const pump = (from: Channel, to: Channel): Effect.Effect<void> =>
  Effect.gen(function* () {
    while (yield* from.next((bytes) => bytes !== undefined && to.send(bytes))) yield* to.drained
    yield* to.end
  }).pipe(Effect.raceFirst(onceClosed(to)))

const flushed = ({ socket }: Channel) =>
  Effect.callback<void>((resume) => {
    const done = () => resume(Effect.void)
    if (socket.writableFinished || socket.closed) return done()
    socket.once("finish", done).once("close", done)
    return Effect.sync(() => void socket.off("finish", done).off("close", done))
  })

/** The peer gets all that was written: a socket that is closed with bytes unread takes them away again. */
export const finish = Effect.fnUntraced(function* (channel: Channel) {
  yield* channel.end
  yield* flushed(channel)
  const drain = Effect.gen(function* () {
    while (yield* channel.next((bytes) => bytes !== undefined));
  })
  yield* Effect.timeoutOption(drain, "1 second")
})
