/**
 * Buffers that are read into again once nobody needs what is in them: new ones for every mebibyte of a large layer keep
 * the garbage collector busy.
 *
 * Nobody has to give anything back, and whoever holds bytes for longer does no harm: of what is not given back, to the
 * last byte, no buffer is used again.
 *
 * @since 0.1.0
 */

interface Loan {
  /** Bytes that somebody may still read. */
  left: number
  readonly end: () => void
}

const loans = new WeakMap<ArrayBufferLike, Loan>()

export interface Pool {
  /** Nobody else has it; what is in it is left over from before. */
  readonly take: () => Buffer
  /** Its first `size` bytes go out, in pieces that do not overlap. */
  readonly lend: (buffer: Buffer, size: number) => void
}

/** Buffers of one size. */
export const pool = (size: number): Pool => {
  const free: Array<Buffer> = []
  return {
    take: () => free.pop() ?? Buffer.allocUnsafeSlow(size),
    lend: (buffer, left) => void loans.set(buffer.buffer, { left, end: () => void free.push(buffer) })
  }
}

/**
 * Lends bytes that nobody else has any part of the memory of: that is free once they came back. The garbage collector
 * would walk through all that lives before it frees it, again and again while a large layer passes.
 */
export const once = <Bytes extends Uint8Array>(bytes: Bytes): Bytes => {
  const { buffer, length } = bytes
  // Of small ones Node has several in one piece of memory.
  const isAlone = length === buffer.byteLength || buffer.byteLength > Buffer.poolSize
  if (buffer instanceof ArrayBuffer && isAlone) loans.set(buffer, { left: length, end: () => void buffer.transfer(0) })
  return bytes
}

/** Says, once for each byte, that nobody reads them any more. Bytes that are not lent are nobody's business. */
export const giveBack = (bytes: Uint8Array): void => {
  const loan = loans.get(bytes.buffer)
  if (loan === undefined) return
  loan.left -= bytes.length
  if (loan.left > 0) return
  loans.delete(bytes.buffer)
  // Bytes that came back twice may stand for others that did not.
  if (loan.left === 0) loan.end()
}
