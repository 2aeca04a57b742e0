import { spawn } from "node:child_process"
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { request } from "node:http"
import http2 from "node:http2"
import { connect, createServer } from "node:net"
import { join } from "node:path"
import type { Duplex } from "node:stream"
import { fileURLToPath } from "node:url"
import { assert, layer } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import * as BaseImage from "../support/BaseImage.ts"
import * as Cache from "../support/Cache.ts"
import * as Containerd from "../support/Containerd.ts"
import { describeDaemons } from "../support/Daemons.ts"
import * as Debris from "../support/Debris.ts"
import * as Dockerd from "../support/Dockerd.ts"
import { run as runProgram, sleep } from "../support/Process.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))

interface Result {
  readonly exitCode: number | null
  readonly stdout: string
  readonly stderr: string
}

interface Options {
  readonly env?: Readonly<Record<string, string>> | undefined
  readonly stdin?: string | Uint8Array | undefined
}

/** A program that runs, and what it has said so far; killed with the scope. */
const launch = (program: string, args: ReadonlyArray<string>, { env, stdin }: Options = {}) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const child = spawn(program, args, { cwd: root, env: { ...process.env, ...env } })
      const chunks: Record<"stdout" | "stderr", Array<Buffer>> = { stdout: [], stderr: [] }
      child.stdout.on("data", (chunk: Buffer) => void chunks.stdout.push(chunk))
      child.stderr.on("data", (chunk: Buffer) => void chunks.stderr.push(chunk))
      const said = (stream: "stdout" | "stderr") => Buffer.concat(chunks[stream]).toString("latin1")
      child.stdin.on("error", () => undefined)
      if (stdin !== undefined) child.stdin.end(stdin)
      const exit = new Promise<number | null>((resolve) => child.on("close", resolve))
      const result = Effect.map(
        Effect.promise(() => exit),
        (exitCode): Result => ({ exitCode, stdout: said("stdout"), stderr: said("stderr") })
      )
      const until = Effect.fnUntraced(function* (stream: "stdout" | "stderr", text: string) {
        while (!said(stream).includes(text) && child.exitCode === null) yield* sleep(20)
        assert.include(said(stream), text, `${said("stdout")}${said("stderr")}`)
      })
      return { child, result, said, until }
    }),
    ({ child }) => Effect.sync(() => void child.kill("SIGKILL"))
  )

const node = ["--conditions=effect-containerd-source", "examples/docker-proxy.ts"]

/** `npm run docker-proxy`, when it listens. */
const startProxy = Effect.fnUntraced(function* (listen: string, docker: string) {
  const proxy = yield* launch(process.execPath, [...node, "--listen", listen, "--docker", docker])
  yield* proxy.until("stdout", "\n")
  assert.strictEqual(proxy.said("stdout"), `export DOCKER_HOST=unix://${listen}\n`)
  return proxy
})

const cli = Cache.program("dockerd", "docker")

class Engine extends Context.Service<
  Engine,
  {
    readonly directory: string
    readonly containerd: Containerd.RunningContainerd
    readonly dockerd: Dockerd.RunningDockerd
    readonly proxy: Effect.Success<ReturnType<typeof startProxy>>
    /** The sockets: dockerd's own, and ours. */
    readonly direct: string
    readonly proxied: string
  }
>()("test/Engine") {}

const make = Effect.gen(function* () {
  const directory = yield* Debris.directory
  const containerd = yield* Containerd.start("2.x")
  const dockerd = yield* Dockerd.start(containerd)
  const base = yield* BaseImage.busybox({ ref: "docker.io/library/base:1" })
  yield* dockerd.docker(["load", "--input", base.archive])
  yield* dockerd.docker([
    ...["run", "-d", "--name", "web", "--network", "none", "-e", "A=1", "base:1"],
    ...["sh", "-c", "echo one > /one; exec sleep 1000"]
  ])
  const proxied = join(directory, "p.sock")
  const proxy = yield* startProxy(proxied, dockerd.socket)
  return { containerd, directory, dockerd, proxy, direct: dockerd.socket, proxied }
})

const docker = (socket: string, args: ReadonlyArray<string>, options: Options = {}) =>
  launch(cli, ["--host", `unix://${socket}`, ...args], { ...options, env: { HOME: "/nonexistent", ...options.env } })

const run = (socket: string, args: ReadonlyArray<string>, options: Options = {}) =>
  Effect.scoped(Effect.flatMap(docker(socket, args, { stdin: "", ...options }), ({ result }) => result))

/** The same command, without the proxy and with it. */
const both = Effect.fnUntraced(function* (args: ReadonlyArray<string>, options: Options = {}) {
  const { direct, proxied } = yield* Engine
  return { theirs: yield* run(direct, args, options), ours: yield* run(proxied, args, options) }
})

const same = Effect.fnUntraced(function* (args: ReadonlyArray<string>, options: Options = {}) {
  const { ours, theirs } = yield* both(args, options)
  assert.deepStrictEqual(ours, theirs)
  return ours
})

const once = ["run", "--rm", "--network", "none"]

const inspect = Effect.fnUntraced(function* (image: string) {
  const { direct } = yield* Engine
  const { stdout } = yield* run(direct, ["image", "inspect", image])
  const [found]: ReadonlyArray<Readonly<Record<string, unknown>>> = JSON.parse(stdout)
  // Names, times, the digest and size of a manifest that has times in it, and the bytes of a layer.
  const { Created, Descriptor, Id, Metadata, RepoDigests, RepoTags, RootFS, Size, ...rest } = found ?? {}
  assert.isString(Created)
  return { id: Id, tags: RepoTags, rest }
})

/** Gives what waits until the container is paused, for however short a time. */
const listenForPause = Effect.fnUntraced(function* (name: string) {
  const { direct } = yield* Engine
  const filters = ["--filter", `container=${name}`, "--filter", "event=pause"]
  const { until } = yield* docker(direct, ["events", "--format", "{{.Action}}", ...filters])
  yield* sleep(300)
  return until("stdout", "pause")
})

const statusOf = Effect.fnUntraced(function* (name: string) {
  const { direct } = yield* Engine
  return (yield* run(direct, ["inspect", "-f", "{{.State.Status}}", name])).stdout.trim()
})

const upgrade = (socketPath: string, path: string, headers: Readonly<Record<string, string>> = {}) =>
  Effect.callback<Duplex>((resume) => {
    const all = { Connection: "Upgrade", Upgrade: "h2c", ...headers }
    const sent = request({ socketPath, path, method: "POST", headers: all })
    sent.on("upgrade", (_, socket, head) => {
      if (head.length > 0) socket.unshift(head)
      resume(Effect.succeed(socket))
    })
    sent.on("error", (error) => resume(Effect.die(error))).end()
  })

/** Sends bytes, and gives what comes back until the other side ends it, without times. */
const talk = (path: string, bytes: string) =>
  Effect.callback<ReadonlyArray<string>>((resume) => {
    const socket = connect({ path, allowHalfOpen: true })
    const chunks: Array<Buffer> = []
    socket.on("data", (chunk: Buffer) => void chunks.push(chunk))
    socket.on("end", () => {
      socket.destroy()
      const lines = Buffer.concat(chunks).toString("latin1").split("\r\n")
      resume(Effect.succeed(lines.filter((line) => !line.startsWith("Date: ")).sort()))
    })
    socket.write(bytes)
    return Effect.sync(() => void socket.destroy())
  })

const raw = (start: string, headers: ReadonlyArray<string> = [], body = "") =>
  `${[start, "Host: d", ...headers].join("\r\n")}\r\n\r\n${body}`

const last = "Connection: close"
const json = "Content-Type: application/json"
const upgraded = ["Connection: Upgrade", "Upgrade: tcp", json, "Content-Length: 2"]
const chunked = [json, "Transfer-Encoding: chunked"]
const ping = "GET /_ping HTTP/1.1"
const commitGone = "POST /commit?container=gone HTTP/1.1"

const rawRequests: Readonly<Record<string, string>> = {
  "several at once, one of them a commit": raw(ping) + raw(commitGone) + raw(ping, [last]),
  "HEAD, which has no body": raw("HEAD /_ping HTTP/1.1") + raw("GET /version HTTP/1.1", [last]),
  "HTTP/1.0": "GET /_ping HTTP/1.0\r\n\r\n",
  "no HTTP": "hello there\r\n\r\n",
  "a bad chunk": raw("POST /containers/create HTTP/1.1", chunked, "zz\r\nabc"),
  "a commit after an upgrade that failed":
    raw("POST /exec/gone/start HTTP/1.1", upgraded, "{}") + raw(commitGone, [last]),
  "a commit in chunks": raw(commitGone, [...chunked, last], "2\r\n{}\r\n0\r\nX-Trailer: 1\r\n\r\n"),
  "a commit of an old version": raw("POST /v1.40/commit?container=gone HTTP/1.1", [last]),
  "a commit of an unknown version": raw("POST /v9.99/commit?container=web HTTP/1.1", [last]),
  "a commit with a bad tag": raw("POST /commit?container=web&repo=a&tag=! HTTP/1.1", [last]),
  "a commit with another body": raw("POST /commit?container=web HTTP/1.1", ["Content-Length: 1", last], "x"),
  "a commit of nothing": raw("POST /commit HTTP/1.1", [last])
}

/** What BuildKit answers to a call without arguments, with its status. */
const listWorkers = (path: string) =>
  Effect.flatMap(upgrade(path, "/grpc"), (socket) =>
    Effect.callback<string>((resume) => {
      const client = http2.connect("http://docker", { createConnection: () => socket })
      const headers = { "content-type": "application/grpc", te: "trailers" }
      const call = client.request({ ":method": "POST", ":path": "/moby.buildkit.v1.Control/ListWorkers", ...headers })
      const chunks: Array<Buffer> = []
      call.on("data", (chunk: Buffer) => void chunks.push(chunk))
      call.on("trailers", (trailers) => void chunks.push(Buffer.from(`status ${trailers["grpc-status"]}`)))
      call.on("close", () => {
        client.destroy()
        resume(Effect.succeed(Buffer.concat(chunks).toString("latin1")))
      })
      call.end(Buffer.alloc(5))
    })
  )

/** The first line that dockerd says in a session, in which it is the client. */
const openSession = (path: string) =>
  Effect.flatMap(upgrade(path, "/session", { "X-Docker-Expose-Session-Uuid": crypto.randomUUID() }), (socket) =>
    Effect.callback<string>((resume) => {
      socket.once("data", (chunk: Buffer) => {
        socket.destroy()
        resume(Effect.succeed(chunk.toString("latin1").split("\r\n")[0] ?? ""))
      })
    })
  )

/** A container whose commit takes some seconds. */
const runBig = Effect.fnUntraced(function* (name: string, size = 150_000_000) {
  const { direct } = yield* Engine
  const script = `head -c ${size} /dev/urandom > /big; touch /ready; exec sleep 1000`
  yield* run(direct, ["run", "-d", "--name", name, "--network", "none", "base:1", "sh", "-c", script])
  while ((yield* run(direct, ["exec", name, "test", "-e", "/ready"])).exitCode !== 0) yield* sleep(50)
})

type Event = Readonly<Record<string, unknown>>

const eventsIn = (text: string): ReadonlyArray<Event> =>
  text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line))

/** Of every second commit, beginning with that one: what is not the same in any two commits is left out. */
const commitsIn = (events: ReadonlyArray<Event>, which: number): ReadonlyArray<Event> => {
  const digests = [...new Set(JSON.stringify(events).match(/sha256:[0-9a-f]{64}/g))]
  const about = digests.filter((_, i) => i % 2 === which)
  return events
    .filter((event) => about.some((digest) => JSON.stringify(event).includes(digest)))
    .map(({ time, timeNano, ...rest }) => {
      assert.isTrue(Number.isInteger(time) && typeof timeNano === "number")
      const plain = JSON.stringify(rest).replace(/sha256:[0-9a-f]{64}/g, "sha256:…")
      return JSON.parse(plain.replace(/(?:ours|theirs):2/g, "its:2"))
    })
}

describeDaemons("examples/docker-proxy.ts", () => {
  layer(Layer.effect(Engine, make), { excludeTestServices: true })((it) => {
    it.effect("runs containers as without it: output, exit code, input and its end, many at once", () =>
      Effect.gen(function* () {
        const { exitCode } = yield* same([...once, "base:1", "sh", "-c", "echo out; echo err >&2; exit 3"])
        assert.strictEqual(exitCode, 3)
        const { stdout } = yield* same([...once, "-i", "base:1", "sh", "-c", "cat; echo end"], { stdin: "1\n2\n" })
        assert.strictEqual(stdout, "1\n2\nend\n")
        const bytes = Buffer.alloc(20_000_000, "0123456789")
        assert.strictEqual((yield* same([...once, "-i", "base:1", "wc", "-c"], { stdin: bytes })).stdout, "20000000\n")
        const { proxied } = yield* Engine
        const many = yield* Effect.forEach(
          Array.from({ length: 30 }, (_, index) => String(index)),
          (word) => run(proxied, ["exec", "web", "echo", word]),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(
          many.map(({ stdout }) => stdout),
          many.map((_, index) => `${index}\n`)
        )
      })
    )

    it.effect("exec -it has a terminal that takes input", () =>
      Effect.gen(function* () {
        const { direct, proxied } = yield* Engine
        const talk = (socket: string) =>
          Effect.gen(function* () {
            const command = `${cli} --host unix://${socket} exec -it web sh -c 'tty; read x; echo "got $x"; exit 7'`
            const script = yield* launch("script", ["-qec", command, "/dev/null"])
            yield* script.until("stdout", "/dev/pts/")
            script.child.stdin.write("word\n")
            const result = yield* script.result
            return { ...result, stdout: result.stdout.replace(/pts\/\d+/, "pts/N") }
          }).pipe(Effect.scoped)
        const ours = yield* talk(proxied)
        assert.deepStrictEqual(ours, yield* talk(direct))
        assert.strictEqual(ours.exitCode, 7)
        assert.include(ours.stdout, "got word")
      })
    )

    it.effect("copies files both ways", () =>
      Effect.gen(function* () {
        const { directory } = yield* Engine
        const [from, to] = [join(directory, "from"), join(directory, "to")]
        const bytes = crypto.getRandomValues(new Uint8Array(60_000))
        writeFileSync(from, Buffer.concat(Array.from({ length: 100 }, () => bytes)))
        yield* same(["cp", from, "web:/copied"])
        yield* same(["cp", "web:/copied", to])
        assert.isTrue(readFileSync(from).equals(readFileSync(to)))
        yield* same(["cp", "web:/one", "-"])
        yield* same(["cp", "web:/none", "-"])
      })
    )

    it.effect("follows logs and events while they are made", () =>
      Effect.gen(function* () {
        const { direct, proxied } = yield* Engine
        const format = "{{.Type}} {{.Action}} {{.Actor.Attributes.name}}"
        const events = yield* Effect.forEach([direct, proxied], (socket) =>
          docker(socket, ["events", "--filter", "type=container", "--format", format])
        )
        yield* sleep(300)
        const script = "for i in 1 2 3 4; do echo $i; sleep 0.5; done"
        yield* run(direct, ["run", "-d", "--name", "slow", "--network", "none", "base:1", "sh", "-c", script])
        const logs = yield* docker(proxied, ["logs", "-f", "slow"])
        yield* logs.until("stdout", "1\n2\n")
        assert.strictEqual(yield* statusOf("slow"), "running")
        assert.deepStrictEqual(yield* logs.result, { exitCode: 0, stdout: "1\n2\n3\n4\n", stderr: "" })
        yield* same(["logs", "slow"])
        yield* run(direct, ["rm", "-f", "slow"])
        for (const { until } of events) yield* until("stdout", "container destroy slow")
        const [theirs, ours] = events.map(({ said }) => said("stdout"))
        assert.strictEqual(ours, theirs)
        assert.include(ours, "container start slow")
      })
    )

    it.effect("builds with the classic builder", () =>
      Effect.gen(function* () {
        const { directory } = yield* Engine
        const context = join(directory, "context")
        mkdirSync(context)
        writeFileSync(join(context, "Dockerfile"), 'FROM base:1\nCOPY f /f\nRUN cat /f > /g\nCMD ["cat", "/g"]\n')
        writeFileSync(join(context, "f"), Buffer.alloc(3_000_000, "f\n"))
        const build = ["build", "--network", "none", "-t", "built", context]
        // The second finds in the cache what the first has built.
        yield* both(build, { env: { DOCKER_BUILDKIT: "0" } })
        const { exitCode, stdout } = yield* same(build, { env: { DOCKER_BUILDKIT: "0" } })
        assert.strictEqual(exitCode, 0)
        assert.include(stdout, "Successfully tagged built:latest")
      })
    )

    it.effect("builds with BuildKit: context, secret, cache, image and files that come back", () =>
      Effect.gen(function* () {
        const { directory, direct } = yield* Engine
        const [context, home, secret] = [
          join(directory, "bk"),
          join(directory, "bk-home"),
          join(directory, "bk-secret")
        ]
        mkdirSync(context)
        mkdirSync(home)
        const cliConfig = { cliPluginsExtraDirs: [Cache.bin("buildx")] }
        writeFileSync(join(home, "config.json"), JSON.stringify(cliConfig))
        writeFileSync(secret, "hidden\n")
        writeFileSync(join(context, "f"), Buffer.alloc(3_000_000, "f\n"))
        const steps = [
          "FROM base:1 AS made",
          "COPY f /out/f",
          "RUN --mount=type=secret,id=s wc -c < /run/secrets/s > /out/size",
          "FROM scratch AS files",
          "COPY --from=made /out /",
          "FROM made"
        ]
        writeFileSync(join(context, "Dockerfile"), steps.join("\n"))
        const env = { DOCKER_CONFIG: home, DOCKER_BUILDKIT: "1" }
        const build = (...args: ReadonlyArray<string>) =>
          both(
            ["build", "--provenance", "false", "--network", "none", "--secret", `id=s,src=${secret}`, ...args, context],
            { env }
          )
        const image = yield* build("-q", "-t", "bk:1")
        assert.match(image.theirs.stdout, /^sha256:[0-9a-f]{64}\n$/)
        assert.deepStrictEqual(image.ours, image.theirs)
        assert.strictEqual((yield* run(direct, [...once, "bk:1", "cat", "/out/size"])).stdout, "7\n")
        const output = join(directory, "bk-out")
        const files = yield* build("--target", "files", "--output", `type=local,dest=${output}`)
        assert.deepStrictEqual([files.ours.exitCode, files.theirs.exitCode], [0, 0])
        assert.isTrue(readFileSync(join(output, "f")).equals(readFileSync(join(context, "f"))))
        writeFileSync(join(context, "Dockerfile"), "FROM base:1\nRUN exit 9\n")
        const failed = yield* build("-q")
        assert.deepStrictEqual([failed.ours.exitCode, failed.theirs.exitCode], [1, 1])
        assert.include(failed.ours.stderr, "exit code: 9")
      })
    )

    for (const [what, bytes] of Object.entries(rawRequests)) {
      it.effect(`answers as dockerd: ${what}`, () =>
        Effect.gen(function* () {
          const { direct, proxied } = yield* Engine
          assert.deepStrictEqual(yield* talk(proxied, bytes), yield* talk(direct, bytes))
        })
      )
    }

    it.effect("tunnels the HTTP/2 of BuildKit, both that of the client and that of dockerd", () =>
      Effect.gen(function* () {
        const { direct, proxied } = yield* Engine
        const [theirs, ours] = yield* Effect.forEach([direct, proxied], listWorkers)
        assert.include(theirs, "linux")
        assert.include(theirs, "status 0")
        // Go shuffles what is in a map.
        assert.deepStrictEqual([...(ours ?? "")].sort(), [...(theirs ?? "")].sort())
        const hello = yield* Effect.forEach([direct, proxied], openSession)
        assert.deepStrictEqual(hello, ["PRI * HTTP/2.0", "PRI * HTTP/2.0"])
      })
    )

    it.effect("commits with every flag as Docker does", () =>
      Effect.gen(function* () {
        const { direct, proxied, proxy } = yield* Engine
        const flags = [
          ...[
            "-a",
            "me <me@example.org>",
            "-m",
            "why not",
            "-p=false",
            "-c",
            "ENV B=$A C=3",
            "-c",
            'CMD ["cat", "/one"]'
          ],
          ...["-c", "EXPOSE 80", "-c", "LABEL x=y", "-c", "USER 1000", "-c", "WORKDIR /data", "-c", "VOLUME /v"]
        ]
        const commit = (socket: string, name: string) => run(socket, ["commit", ...flags, "web", name])
        const [theirs, ours] = [yield* commit(direct, "theirs:1"), yield* commit(proxied, "ours:1")]
        assert.match(ours.stdout, /^sha256:[0-9a-f]{64}\n$/)
        assert.deepStrictEqual({ ...ours, stdout: "" }, { ...theirs, stdout: "" })
        const [their, our] = [yield* inspect("theirs:1"), yield* inspect("ours:1")]
        assert.deepStrictEqual(our.rest, their.rest)
        assert.strictEqual(our.id, ours.stdout.trim())
        assert.deepStrictEqual(our.tags, ["ours:1"])
        assert.strictEqual((yield* run(direct, [...once, "ours:1"])).stdout, "one\n")
        assert.match(proxy.said("stderr"), /commit "web": docker\.io\/library\/ours:1 sha256:.* paused for 0 ms/)

        const unnamed = yield* both(["commit", "web"])
        const [theirUnnamed, ourUnnamed] = [
          yield* inspect(unnamed.theirs.stdout.trim()),
          yield* inspect(unnamed.ours.stdout.trim())
        ]
        assert.deepStrictEqual(ourUnnamed.rest, theirUnnamed.rest)
        assert.deepStrictEqual(ourUnnamed.tags, theirUnnamed.tags)
      })
    )

    it.effect("refuses commits in Docker's words", () =>
      Effect.gen(function* () {
        const refused = [
          ["commit", "gone"],
          ["commit", "-c", "RUN x", "gone"],
          ["commit", "-c", "RUN x", "web"],
          ["commit", "-c", "run x", "web"],
          ["commit", "-c", "", "web"],
          ["commit", "web", "Upper"],
          ["commit", "web", "a//b"],
          ["commit", "web", `app@sha256:${"0".repeat(64)}`]
        ]
        for (const args of refused) assert.notStrictEqual((yield* same(args)).exitCode, 0, args.join(" "))
        // Here the words are ours.
        const { ours, theirs } = yield* both(["commit", "-c", "ENV", "web"])
        assert.strictEqual(ours.exitCode, theirs.exitCode)
        assert.match(ours.stderr, /^Error response from daemon: .*ENV/)
      })
    )

    it.effect("does commits of one container at the same time, as dockerd does", () =>
      Effect.gen(function* () {
        const { proxied } = yield* Engine
        yield* runBig("twice", 40_000_000)
        const all = yield* Effect.forEach(["1", "2"], (tag) => run(proxied, ["commit", "twice", `twice:${tag}`]), {
          concurrency: "unbounded"
        })
        assert.deepStrictEqual(
          all.map(({ exitCode, stderr }) => ({ exitCode, stderr })),
          all.map(() => ({ exitCode: 0, stderr: "" }))
        )
        const [first, second] = yield* Effect.forEach(["1", "2"], (tag) => inspect(`twice:${tag}`))
        assert.deepStrictEqual(second?.rest, first?.rest)
        assert.strictEqual(yield* statusOf("twice"), "running")
        yield* run(proxied, ["rm", "-f", "twice"])
      })
    )

    it.effect("waits for whoever commits the container, unless the client goes away", () =>
      Effect.gen(function* () {
        const { containerd, direct, proxied, proxy } = yield* Engine
        yield* run(direct, [...["run", "-d", "--name", "held", "--network", "none"], "base:1", "sleep", "1000"])
        const id = (yield* run(direct, ["inspect", "-f", "{{.Id}}", "held"])).stdout.trim()
        const lease = `effect-containerd/commit/${id}`
        yield* containerd.ctr(["leases", "create", "--id", lease], { namespace: "moby" })
        const [leaving, staying] = yield* Effect.forEach(["leaving:1", "staying:1"], (tag) =>
          docker(proxied, ["commit", "held", tag])
        )
        yield* sleep(1000)
        leaving?.child.kill("SIGKILL")
        yield* proxy.until("stderr", 'commit "held": interrupted')
        assert.isNull(staying?.child.exitCode)
        yield* containerd.ctr(["leases", "rm", lease], { namespace: "moby" })
        assert.strictEqual((yield* staying?.result ?? Effect.die("no client")).exitCode, 0)
        assert.notStrictEqual((yield* run(direct, ["image", "inspect", "leaving:1"])).exitCode, 0)
        yield* run(direct, ["rm", "-f", "held"])
      })
    )

    it.effect("refuses a dead container in Docker's words", () =>
      Effect.gen(function* () {
        const { direct, dockerd } = yield* Engine
        const id = (yield* run(direct, ["create", "--name", "dead", "base:1", "sh"])).stdout.trim()
        const file = join(dockerd.directory, "root", "containers", id, "hostconfig.json")
        yield* Effect.acquireRelease(runProgram("chattr", ["+i", file]), () =>
          Effect.orDie(runProgram("chattr", ["-i", file]))
        )
        yield* run(direct, ["rm", "dead"])
        for (const flags of [[], ["-c", "RUN x"]]) {
          const { exitCode, stderr } = yield* same(["commit", ...flags, "dead"])
          assert.deepStrictEqual([exitCode, stderr.includes("which is Dead")], [1, true])
        }
      }).pipe(Effect.scoped, Effect.andThen(Effect.flatMap(Engine, ({ direct }) => run(direct, ["rm", "dead"]))))
    )

    it.effect("shows the events of commits, of ours as of dockerd's own", () =>
      Effect.gen(function* () {
        const { direct, proxied } = yield* Engine
        yield* run(direct, [
          ...["run", "-d", "--name", "seen", "--label", "tier=web", "--network", "none"],
          "base:1",
          "sleep",
          "1000"
        ])
        const change = ["--change", "LABEL of=image"]
        const filters = [
          [],
          ["--filter", "event=commit", "--filter", "event=tag"],
          ["--filter", "container=see", "--filter", "label=tier=web"],
          ["--filter", "image=base"],
          ["--filter", "label=of=image"],
          ["--filter", "type=network"]
        ]
        const listening = yield* Effect.forEach(filters, (filter) =>
          docker(proxied, ["events", "--format", "json", ...filter])
        )
        yield* sleep(300)
        yield* run(direct, ["commit", "-m", "why", ...change, "seen", "theirs:2"])
        yield* run(proxied, ["commit", "-m", "why", ...change, "seen", "ours:2"])
        yield* run(direct, ["commit", "seen"])
        yield* run(proxied, ["commit", "seen"])
        // dockerd sends this one; all are through when it is.
        yield* run(direct, ["rename", "seen", "seen2"])
        yield* listening[0]?.until("stdout", '"rename"') ?? Effect.void
        const heard = listening.map(({ said }) => eventsIn(said("stdout")))
        const [all = []] = heard
        for (const events of heard) {
          const [theirs, ours] = [0, 1].map((which) => commitsIn(events, which))
          assert.deepStrictEqual(ours, theirs)
        }
        const actions = ["create", "tag", "commit", "create", "commit"]
        assert.deepStrictEqual(
          commitsIn(all, 1).map(({ Action }) => Action),
          actions
        )
        assert.deepStrictEqual(
          heard.map((events) => commitsIn(events, 1).length),
          [5, 3, 2, 2, 2, 0]
        )
        yield* run(direct, ["rm", "-f", "seen2"])
      }).pipe(Effect.scoped)
    )

    it.effect("ends a commit whose client has gone, and leaves nothing of it", () =>
      Effect.gen(function* () {
        const { proxied, proxy } = yield* Engine
        yield* runBig("left")
        const paused = yield* listenForPause("left")
        const client = yield* docker(proxied, ["commit", "left", "left:1"])
        yield* paused
        client.child.kill("SIGKILL")
        yield* proxy.until("stderr", 'commit "left": interrupted')
        assert.strictEqual(yield* statusOf("left"), "running")
        assert.notStrictEqual((yield* run(proxied, ["image", "inspect", "left:1"])).exitCode, 0)
      })
    )

    it.effect("listens for those whom dockerd lets in, replaces a dead socket only, and cleans up at its end", () =>
      Effect.gen(function* () {
        const { directory, direct, proxied } = yield* Engine
        const [ours, theirs] = [statSync(proxied), statSync(direct)]
        assert.deepStrictEqual([ours.mode, ours.uid, ours.gid], [theirs.mode, theirs.uid, theirs.gid])
        const busy = yield* launch(process.execPath, [...node, "--listen", proxied, "--docker", direct])
        const refused = yield* busy.result
        assert.strictEqual(refused.exitCode, 1)
        assert.include(refused.stderr, "somebody listens")

        const listen = join(directory, "stale.sock")
        const killed = yield* startProxy(listen, direct)
        killed.child.kill("SIGKILL")
        yield* killed.result
        assert.isTrue(existsSync(listen))
        const proxy = yield* startProxy(listen, direct)
        yield* runBig("late")
        const paused = yield* listenForPause("late")
        const client = yield* docker(listen, ["commit", "late", "late:1"])
        yield* paused
        proxy.child.kill("SIGTERM")
        assert.strictEqual((yield* proxy.result).exitCode, 130)
        assert.notStrictEqual((yield* client.result).exitCode, 0)
        assert.isFalse(existsSync(listen))
        assert.strictEqual(yield* statusOf("late"), "running")
      })
    )

    it.effect("says in Docker's form that dockerd is gone", () =>
      Effect.gen(function* () {
        const { directory, direct } = yield* Engine
        const [between, listen] = [join(directory, "between.sock"), join(directory, "over.sock")]
        const forwarder = createServer({ allowHalfOpen: true }, (client) => {
          client.pipe(connect({ path: direct, allowHalfOpen: true })).pipe(client)
        }).listen(between)
        yield* startProxy(listen, between)
        assert.strictEqual((yield* run(listen, ["ps", "-q"])).exitCode, 0)
        forwarder.close()
        const { exitCode, stderr } = yield* run(listen, ["ps"])
        assert.strictEqual(exitCode, 1)
        assert.match(stderr, /^Error response from daemon: the Docker Engine does not answer at /)
      })
    )
  })
})
