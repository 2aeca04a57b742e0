/**
 * Signals of Linux by number or by name, with or without `SIG` (github.com/moby/sys, signal `ParseSignal`).
 */
const names =
  "ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT SEGV STKFLT STOP SYS TERM TRAP " +
  "TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ RTMIN RTMAX"

const known = new Set([
  ...names.split(" "),
  ...Array.from({ length: 15 }, (_, index) => `RTMIN+${index + 1}`),
  ...Array.from({ length: 14 }, (_, index) => `RTMAX-${index + 1}`)
])

/** Any number but 0 is one for Docker. */
export const isSignal = (text: string): boolean =>
  /^[-+]?\d{1,18}$/.test(text) ? Number(text) !== 0 : known.has(text.toUpperCase().replace(/^SIG/, ""))
