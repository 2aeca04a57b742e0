import * as BaseImage from "../support/BaseImage.ts"

/** What `docker create` is told: flags, and what follows the image. */
interface Container {
  readonly flags: ReadonlyArray<string>
  readonly args: ReadonlyArray<string>
}

export interface Case extends Container {
  readonly name: string
  readonly parent: ParentName
  /** Each is one `--change`. */
  readonly changes: ReadonlyArray<string>
  readonly author: string | undefined
  readonly message: string | undefined
  /** A file is put into the container, so that there is a layer. */
  readonly isTouched: boolean
}

const full = {
  User: "user",
  ExposedPorts: { "8080/tcp": {}, "53/udp": {} },
  Env: ["PATH=/usr/local/bin:/usr/bin:/bin", "A=one", "B=two=2", "EMPTY="],
  Entrypoint: ["/bin/busybox"],
  Cmd: ["sh", "-c", "true"],
  Volumes: { "/vol": {} },
  WorkingDir: "/data",
  Labels: { k: "v", other: "<o> & ü" },
  StopSignal: "SIGQUIT",
  Healthcheck: { Test: ["CMD", "true"], Interval: 1_000_000_000, StartPeriod: 2_000_000_000, Retries: 5 },
  OnBuild: ["RUN make"],
  Shell: ["/bin/sh", "-ec"]
}

const nothing = { Env: undefined, Cmd: undefined }

/** Each one lacks something that another one has. */
export const parents = {
  plain: {},
  bare: { config: nothing },
  full: { config: full, image: { author: "The Parent <p@example.org>" } },
  entrypoint: { config: { ...nothing, Entrypoint: ["sleep"], Labels: {} } },
  check: { config: { Healthcheck: { Test: ["CMD-SHELL", "exit 0"], Timeout: 3_000_000_000 }, Shell: ["/bin/ash"] } },
  noCheck: { config: { Env: ["A=first", "A=second"], Healthcheck: { Test: ["NONE"] }, OnBuild: ["USER x"] } },
  docker: { config: full, mediaTypes: "docker", layers: [[{ name: "second", body: "" }]] },
  dockerPlain: { mediaTypes: "docker", compression: "none" },
  variant: {
    config: { ...full, Entrypoint: undefined },
    platforms: [{ os: "linux", architecture: "arm", variant: "v7" }]
  },
  index: { platforms: [{ os: "linux", architecture: "s390x" }, BaseImage.hostPlatform], config: { User: "1000:1000" } },
  history: {
    image: {
      "x-unknown": "kept",
      history: [
        { created: "2023-01-01T00:00:00Z", created_by: "ADD file", comment: "buildkit.v0", author: "first" },
        { created: "2023-01-02T00:00:00.5+02:00", created_by: "ENV A=b", empty_layer: true }
      ]
    }
  }
} as const satisfies Readonly<Record<string, BaseImage.Options>>

export type ParentName = keyof typeof parents

const containers: Readonly<Record<string, readonly [flags: ReadonlyArray<string>, ...args: ReadonlyArray<string>]>> = {
  none: [[]],
  env: [["-e", "A=x", "-e", "NEW=1-01=9.01", "-e", "SPACED=x  y"]],
  entrypoint: [["--entrypoint", "/bin/cat"]],
  noEntrypoint: [["--entrypoint", ""], "echo", "cleared"],
  label: [["--label", "k=w", "--label", "n=a=b", "--label", "empty="]],
  user: [["--user", "1000:1000"]],
  workdir: [["--workdir", "/tmp/a/../b"]],
  expose: [["--expose", "90", "--expose", "100-102/udp"]],
  publish: [["-p", "127.0.0.1:0:80", "-p", "8443/udp"]],
  volumes: [["-v", "/anonymous", "-v", "/data/also"]],
  bind: [["-v", "/tmp:/bound", "-v", "named:/named"]],
  health: [["--health-cmd", "exit 1", "--health-interval", "5s", "--health-retries", "2"]],
  healthTimes: [["--health-timeout", "7s", "--health-start-period", "1m", "--health-start-interval", "2s"]],
  noHealth: [["--no-healthcheck"]],
  stopSignal: [["--stop-signal", "9", "--stop-timeout", "3"]],
  terminal: [["--hostname", "h", "--domainname", "d", "--tty", "--interactive"]],
  args: [[], "echo", "an argument", "--flag"],
  entrypointAndArgs: [["--entrypoint", "echo"], "$A", '"quoted"'],
  all: [
    [
      ...["-e", "PATH=/only", "--label", "l=1", "--user", "0", "--workdir", "/", "--expose", "1", "-v", "/all"],
      ...["--health-cmd", "x", "--stop-signal", "SIGUSR1"]
    ],
    "all"
  ]
}

/** Every instruction, alone and together, and those that Docker undoes. */
const changes: ReadonlyArray<ReadonlyArray<string>> = [
  [],
  ['CMD ["new","command"]'],
  ["CMD echo $A"],
  ['ENTRYPOINT ["/entry","--flag=a b"]'],
  ["ENTRYPOINT exec top", 'CMD ["-b"]'],
  ["ENV A=changed C=1-01=9.01", "ENV D=$A PATH=/x:$PATH"],
  ["EXPOSE 80 81/udp 3000-3002"],
  ["HEALTHCHECK --interval=9s --retries=1 CMD curl localhost"],
  ["HEALTHCHECK NONE"],
  ['LABEL k=changed a=1 "two words"="x y"'],
  ["ONBUILD RUN echo $A", "ONBUILD COPY . /"],
  ["STOPSIGNAL SIGTERM"],
  ["USER nobody:nogroup"],
  ['VOLUME /one ["two"', "VOLUME /two /vol"],
  ["WORKDIR sub/dir"],
  ["CMD []"],
  ["ENTRYPOINT []"],
  ['USER ""'],
  ['HEALTHCHECK CMD ["only"]'],
  [
    ...["ENV A=all", "LABEL a=$A", "EXPOSE 443", "VOLUME /v", "WORKDIR /w", "USER u", "STOPSIGNAL 3"],
    ...["ONBUILD USER v", "HEALTHCHECK CMD true", 'ENTRYPOINT ["e"]', "CMD c"]
  ],
  ["CMD x\nENV A=several\nLABEL l=$A"]
]

const at = <A>(list: ReadonlyArray<A>, index: number): A | undefined => list[index % list.length]

const caseOf = (parent: ParentName, container: string, turn: number): Case => {
  const [flags = [], ...words] = containers[container] ?? [[]]
  // Docker makes no container that runs nothing.
  const args = parent === "bare" && words.length === 0 ? ["sh", "-c"] : words
  const [author, message] = [at([undefined, "A <a@example.org>", undefined], turn), at([undefined, "a & b"], turn)]
  const change = at(changes, turn) ?? []
  const name = `${parent}, ${container}, ${change.join("; ") || "no change"}`
  return { name, parent, flags, args, changes: change, author, message, isTouched: turn % 4 === 0 }
}

const names = Object.keys(containers)

/** Every container with a change, on its own each: the changes go round, from another one on for each parent. */
const all = (parent: ParentName, from: number) => names.map((name, i) => caseOf(parent, name, from + i))

const some = (parent: ParentName, from: number, changed: ReadonlyArray<number>) =>
  changed.map((turn, i) => caseOf(parent, at(names, from + 3 * i) ?? "", turn))

export const cases: ReadonlyArray<Case> = [
  ...all("plain", 0),
  ...all("full", 5),
  ...all("docker", 12),
  ...some("bare", 0, [0, 3, 5, 8, 15, 19]),
  ...some("entrypoint", 1, [1, 4, 6, 9, 12, 16, 20]),
  ...some("check", 2, [2, 7, 8, 10, 13, 18]),
  ...some("noCheck", 0, [5, 8, 11, 14, 17, 18]),
  ...some("dockerPlain", 1, [0, 7, 15, 16, 20]),
  ...some("variant", 0, [0, 4, 8, 12]),
  ...some("index", 1, [1, 5, 9, 13]),
  ...some("history", 2, [2, 6, 10, 14])
]
