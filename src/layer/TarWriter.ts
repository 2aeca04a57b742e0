/**
 * Puts a tar stream together. Headers and small contents go into one piece of memory after the other: what follows costs
 * by the piece, and so does each piece itself.
 *
 * @since 0.1.0
 */
import * as LentBytes from "../internal/LentBytes.ts"
import * as TarEntry from "./TarEntry.ts"
import * as TarHeader from "./TarHeader.ts"

export interface TarWriter {
  /** `others` are pax records on top of what the entry says. */
  readonly entry: (entry: TarEntry.TarEntry, others?: ReadonlyArray<TarHeader.PaxRecord>) => void
  /** A part of the content of the entry before it; all together must be as long as the entry says. */
  readonly data: (bytes: Uint8Array) => void
  readonly end: () => void
  /** What was written since this was asked last; the bytes are lent: see {@link LentBytes}. */
  readonly take: () => ReadonlyArray<Uint8Array>
}

/** Bytes. */
const pieceSize = 64 * 1024
/** Bytes: larger contents go out as they are. */
const large = 16 * 1024

export const make = (): TarWriter => {
  const pool = LentBytes.pool(pieceSize)
  let pieces: Array<Uint8Array> = []
  let buffer: Buffer | undefined
  let begun = 0
  let used = 0
  let padding = 0

  /** Ends the piece; what comes next is in the same buffer. */
  const cut = () => {
    if (buffer !== undefined && used > begun) pieces.push(buffer.subarray(begun, used))
    begun = used
  }

  const finish = () => {
    cut()
    if (buffer !== undefined) pool.lend(buffer, used)
    buffer = undefined
    begun = used = 0
  }

  const roomFor = (size: number): TarEntry.Place => {
    if (used + size > pieceSize) finish()
    buffer ??= pool.take().fill(0)
    const at = used
    used += size
    return { buffer, at }
  }

  const zeros = (size: number): TarEntry.Place => {
    if (size <= pieceSize) return roomFor(size)
    cut()
    const own = Buffer.alloc(size)
    pieces.push(own)
    return { buffer: own, at: 0 }
  }

  const pad = () => {
    if (padding > 0) zeros(padding)
    padding = 0
  }

  const copy = (bytes: Uint8Array) => {
    const { at, buffer } = roomFor(bytes.length)
    buffer.set(bytes, at)
    LentBytes.giveBack(bytes)
  }

  return {
    entry: (entry, others) => {
      pad()
      TarEntry.encodeInto(zeros, entry, others)
      padding = TarHeader.paddingSize(entry.size)
    },
    data: (bytes) => {
      if (bytes.length < large) return copy(bytes)
      cut()
      pieces.push(bytes)
    },
    end: () => {
      pad()
      zeros(TarEntry.end.length)
    },
    take: () => {
      finish()
      const taken = pieces
      pieces = []
      return taken
    }
  }
}
