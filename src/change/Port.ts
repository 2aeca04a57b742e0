/**
 * Ports as `EXPOSE` takes them: `80`, `53/udp`, `3000-3005/tcp`, and for the old forms `ip:host:container`, of which
 * only the container's side counts (github.com/docker/go-connections, nat `ParsePortSpec`).
 */
import { isIP } from "node:net"
import * as Result from "effect/Result"

const protocols = ["tcp", "udp", "sctp"]

interface Range {
  readonly start: number
  readonly end: number
}

const parseRange = (text: string): Range | undefined => {
  const [, first = "", last = first] = /^(\d+)(?:-(\d+))?$/.exec(text) ?? []
  const range = { start: Number(first), end: Number(last) }
  return first !== "" && range.start <= range.end && range.end <= 65535 ? range : undefined
}

const isAddress = (text: string) => isIP(text.replace(/^\[(.*)\]$/, "$1")) !== 0

/** All ports of a range, each as `80/tcp`. */
export const parse = (text: string): Result.Result<ReadonlyArray<string>, string> => {
  const shown = JSON.stringify(text)
  const [, before, container = "", protocol = ""] = /^(?:(.*):)?([^:/]*)(?:\/([^:]*))?$/s.exec(text) ?? []
  const range = parseRange(container)
  if (range === undefined) {
    return Result.fail(`has ${shown}: expected a port or a range of ports up to 65535, as 80, 53/udp or 3000-3005`)
  }
  const name = protocol.toLowerCase() || "tcp"
  if (!protocols.includes(name)) return Result.fail(`has ${shown}: expected the protocol tcp, udp or sctp`)
  const problem = before === undefined ? undefined : publishedProblem(before, range)
  if (problem !== undefined) return Result.fail(`has ${shown}: ${problem}`)
  const count = range.end - range.start + 1
  return Result.succeed(Array.from({ length: count }, (_, index) => `${range.start + index}/${name}`))
}

/** What is before the last colon: a port of the host, with or without an address. It is checked, then left. */
const publishedProblem = (before: string, container: Range): string | undefined => {
  const [, address, port = ""] = /^(?:(.*):)?([^:]*)$/s.exec(before) ?? []
  if (address !== undefined && address !== "" && !isAddress(address)) return "expected an IP address at the start"
  const host = port === "" ? container : parseRange(port)
  if (host === undefined) return "expected a port or a range of ports before the colon"
  const isSame = host.end - host.start === container.end - container.start
  return isSame || container.start === container.end ? undefined : "expected ranges of the same length"
}
