// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are Docker's
import type { ImageConfig } from "effect-containerd"

/**
 * The config that the texts change. `Shell` and `OnBuild` are not in it: `docker create` loses them, so `docker commit`
 * cannot see them.
 */
export const parent: ImageConfig.ContainerConfig = {
  User: "user:1000",
  ExposedPorts: { "8080/tcp": {} },
  Env: [
    "PATH=/usr/local/bin:/usr/bin:/bin",
    "A=one",
    "EMPTY=",
    "SPACED=x  y z",
    "PORTS=80 443/udp",
    "FILE=/a/b.tar.gz",
    "STAR=*"
  ],
  Entrypoint: ["/entry"],
  Cmd: ["serve", "-v"],
  Volumes: { "/data": {} },
  WorkingDir: "/srv/app",
  Labels: { k: "v", other: "o" },
  StopSignal: "SIGQUIT",
  Healthcheck: { Test: ["CMD", "true"], Interval: 1_000_000_000, Retries: 5 }
}

/** Fields that the text changes. */
type Changed = { readonly [Field in keyof ImageConfig.ContainerConfig]: unknown }

const shell = (command: string) => ["/bin/sh", "-c", command]

/** The environment with these in their place or at its end. */
const env = (...changed: ReadonlyArray<string>): Changed => {
  const entries = [...(parent.Env ?? [])]
  for (const entry of changed) {
    const at = entries.findIndex((old) => old.split("=")[0] === entry.split("=")[0])
    entries.splice(at < 0 ? entries.length : at, at < 0 ? 0 : 1, entry)
  }
  return { Env: entries }
}

const labels = (added: Readonly<Record<string, string>>): Changed => ({ Labels: { ...parent.Labels, ...added } })

const keys = (old: object, added: ReadonlyArray<string>) => ({
  ...old,
  ...Object.fromEntries(added.map((key) => [key, {}]))
})
const ports = (...added: ReadonlyArray<string>): Changed => ({ ExposedPorts: keys({ "8080/tcp": {} }, added) })
const volumes = (...added: ReadonlyArray<string>): Changed => ({ Volumes: keys({ "/data": {} }, added) })

const cmd = (words: ReadonlyArray<string>): Changed => ({ Cmd: words.length === 0 ? undefined : words })
const entrypoint = (Entrypoint: ReadonlyArray<string> | undefined, Cmd?: ReadonlyArray<string>): Changed => ({
  Entrypoint,
  Cmd
})
const check = (Healthcheck: object): Changed => ({ Healthcheck })

/** What Docker makes of a text, and we too: `undefined` is a field that is no longer there. */
export const accepted: ReadonlyArray<readonly [text: string, changed: Changed]> = [
  // CMD and ENTRYPOINT: exec form, shell form, nothing expanded
  ['CMD ["a","b c"]', cmd(["a", "b c"])],
  ['cmd\t [ "a" , "$A" ] ', cmd(["a", "$A"])],
  [String.raw`CMD ["a\n\u0041\/\"\\","\ud800"]`, cmd(['a\nA/"\\', "\ufffd"])],
  ['CMD echo  "$A"  x ', cmd(shell('echo  "$A"  x'))],
  ["CMD", cmd(["/bin/sh", "-c"])],
  ["CMD []", cmd([])],
  ["CMD ['single']", cmd(shell("['single']"))],
  ['CMD ["a",]', cmd(shell('["a",]'))],
  ['CMD ["a"] b', cmd(shell('["a"] b'))],
  ['CMD {"a":1}', cmd(shell('{"a":1}'))],
  ["CMD -- --flag x", cmd(shell("--flag x"))],
  ["CMD a \\\n  b \\\n# comment\n\n\t\n c", cmd(shell("a   b  c"))],
  ["CMD cat <<EOF", cmd(shell("cat <<EOF"))],
  ['ENTRYPOINT ["x"]', entrypoint(["x"])],
  ["ENTRYPOINT exec $A", entrypoint(shell("exec $A"))],
  ['CMD ["new"]\nENTRYPOINT ["x"]', entrypoint(["x"], ["new"])],
  ["CMD\nENTRYPOINT x", entrypoint(shell("x"))],
  ['ENTRYPOINT ["x"]\nCMD ["y"]', entrypoint(["x"], ["y"])],
  ['CMD []\nENTRYPOINT ["x"]', entrypoint(["x"])],
  // ENV: pairs, quotes, the old form
  ["ENV A=two", env("A=two")],
  ["ENV NEW=n A=two OTHER=o", env("NEW=n", "A=two", "OTHER=o")],
  ["ENV C=1 C=2", env("C=2")],
  ["ENV C= D=\"\" E=''", env("C=", "D=", "E=")],
  ["ENV C=a=b", env("C=a=b")],
  [String.raw`ENV C=a\ b D="x\"y" E='it"s' F=p'q r's G=\"`, env("C=a b", 'D=x"y', 'E=it"s', "F=pq rs", 'G="')],
  [
    String.raw`ENV C=a\tb D="a\tb" E='a\tb' F="a\\b" G='a\\b'`,
    env("C=atb", "D=a\\tb", "E=a\\tb", "F=a\\b", "G=a\\\\b")
  ],
  [String.raw`ENV C a  b "c d" \e 'f'`, env("C=a  b c d e f")],
  ["ENV C a=b", env("C=a=b")],
  ["ENV\t C \t a", env("C=a")],
  ['ENV "C D"=x', env("C D=x")],
  ["ENV C=안녕 D=${A}é😀", env("C=안녕", "D=oneé😀")],
  ["ENV C=<<EOF D=a<b", env("C=<<EOF", "D=a<b")],
  ["ENV C=\\\\\\", env("C=\\")],
  // ENV: expansion against what was before the line
  ["ENV A=two B=$A", env("A=two", "B=one")],
  ["ENV A=two\nENV B=$A", env("A=two", "B=two")],
  ["ENV PATH=$PATH:/x", env("PATH=/usr/local/bin:/usr/bin:/bin:/x")],
  ["ENV $A=x", env("one=x")],
  [
    String.raw`ENV C=$A D=\${A} E="$A y" F='$A' G=\$A H="\$A" I=$A.x J=$Ax`,
    env("C=one", "D=${A}", "E=one y", "F=$A", "G=$A", "H=$A", "I=one.x", "J=")
  ],
  ['ENV C=$SPACED D="$SPACED"', env("C=x  y z", "D=x  y z")],
  [
    "ENV C=${NOPE:-d} D=${EMPTY:-d} E=${EMPTY-d} F=${A:+p} G=${NOPE+p} H=${A:?m} I=${EMPTY+p} J=${EMPTY:+p}",
    env("C=d", "D=d", "E=", "F=p", "G=", "H=one", "I=p", "J=")
  ],
  ["ENV C=x${EMPTY?m}", env("C=x")],
  ['ENV C=${NOPE:-${A}z} D="${NOPE:-a b}" E=${A:+"x y"}', env("C=onez", "D=a b", "E=x y")],
  ["ENV C=$1 D=$@x E=$$ F=$. G=$12a H=${@:-d} I=$", env("C=", "D=x", "E=", "F=$.", "G=a", "H=d", "I=$")],
  [
    "ENV C=${FILE#*.} D=${FILE##*.} E=${FILE%.*} F=${FILE%%.*} G=${FILE#/?/} H=${FILE%x} I=${NOPE#x} J=${FILE##*}",
    env("C=tar.gz", "D=gz", "E=/a/b.tar", "F=/a/b", "G=b.tar.gz", "H=/a/b.tar.gz", "I=", "J=")
  ],
  [
    "ENV C=${FILE/a/x} D=${FILE//a/x} E=${FILE//\\//-} F=${FILE/.*/} G=${FILE///_} H=${A/*/$A} I=${A//n*/}",
    env("C=/x/b.tar.gz", "D=/x/b.txr.gz", "E=-a-b.tar.gz", "F=/a/b", "G=_/_a_/_b_._t_a_r_._g_z_", "H=one", "I=o")
  ],
  [
    "ENV C=${STAR#\\*} D=${STAR%'*'} E=\"${STAR#\\?}\" F=${A%$STAR} G=${A%%$STAR} H=${A/n/\\}}",
    env("C=", "D=*", "E=*", "F=one", "G=", "H=o\\}e")
  ],
  // LABEL
  ['LABEL a=1 b="two words" "c d"=e k=$A', labels({ a: "1", b: "two words", "c d": "e", k: "one" })],
  ["LABEL a b  c", labels({ a: "b  c" })],
  ['LABEL x.y="multi \\\n  line"', labels({ "x.y": "multi   line" })],
  [`LABEL j={"a":1} s='{"a":1}'`, labels({ j: "{a:1}", s: '{"a":1}' })],
  ["LABEL __proto__=x", { Labels: Object.fromEntries([...Object.entries(parent.Labels ?? {}), ["__proto__", "x"]]) }],
  // EXPOSE
  ["EXPOSE 80", ports("80/tcp")],
  ["EXPOSE 80/udp 90/TCP 100-102/sctp 8080", ports("80/udp", "90/tcp", "100/sctp", "101/sctp", "102/sctp")],
  ["EXPOSE $PORTS 81", ports("80/tcp", "443/udp", "81/tcp")],
  [
    "EXPOSE 8080:81 127.0.0.1:82:83/udp [::1]:84:85 :88 1-3:89",
    ports("81/tcp", "83/udp", "85/tcp", "88/tcp", "89/tcp")
  ],
  ["EXPOSE 00080 0 65535 80/ 5-5", ports("80/tcp", "0/tcp", "65535/tcp", "5/tcp")],
  [`EXPOSE "81" '82' "" $NOPE`, ports("81/tcp", "82/tcp")],
  ['EXPOSE ""', {}],
  // HEALTHCHECK
  ["HEALTHCHECK CMD  exit $A ", check({ Test: ["CMD-SHELL", "exit $A"] })],
  ['HEALTHCHECK cmd ["a","b"]', check({ Test: ["CMD", "a", "b"] })],
  ["HEALTHCHECK NONE", check({ Test: ["NONE"] })],
  ["HEALTHCHECK --bogus none", check({ Test: ["NONE"] })],
  [
    'HEALTHCHECK --interval=1h2m3.5s --timeout="500ms" --start-period=1.5h --start-interval=1000us --retries=+4 CMD x',
    check({
      Test: ["CMD-SHELL", "x"],
      Interval: 3_723_500_000_000,
      Timeout: 500_000_000,
      StartPeriod: 5_400_000_000_000,
      StartInterval: 1_000_000,
      Retries: 4
    })
  ],
  ["HEALTHCHECK --interval=0 --timeout=-0s --retries=0 --start-period= CMD x", check({ Test: ["CMD-SHELL", "x"] })],
  ["HEALTHCHECK --timeout=2562047h CMD x", check({ Test: ["CMD-SHELL", "x"], Timeout: 9_223_369_200_000_000_000n })],
  ["HEALTHCHECK --timeout=.5s -- CMD x", check({ Test: ["CMD-SHELL", "x"], Timeout: 500_000_000 })],
  // ONBUILD: the text as it is
  ["ONBUILD RUN make $A", { OnBuild: ["RUN make $A"] }],
  ["  onbuild  copy . \\\n /x  \nONBUILD USER u", { OnBuild: ["copy .  /x  ", "USER u"] }],
  ["ONBUILD FOO x", { OnBuild: ["FOO x"] }],
  ["ONBUILD ENV", { OnBuild: ["ENV"] }],
  ['ONBUILD RUN echo "<<EOF"', { OnBuild: ['RUN echo "<<EOF"'] }],
  ['ONBUILD CMD ["a', { OnBuild: ['CMD ["a'] }],
  // STOPSIGNAL
  ["STOPSIGNAL SIGTERM", { StopSignal: "SIGTERM" }],
  ["STOPSIGNAL 9", { StopSignal: "9" }],
  ["STOPSIGNAL --x term", { StopSignal: "term" }],
  ["ENV S=MAX-1\nSTOPSIGNAL sigRT$S", { ...env("S=MAX-1"), StopSignal: "sigRTMAX-1" }],
  ["STOPSIGNAL -3", { StopSignal: "-3" }],
  // USER
  ["USER bob:staff", { User: "bob:staff" }],
  ['USER "$A b"', { User: "one b" }],
  ["USER a  b", { User: "a  b" }],
  // VOLUME
  ["VOLUME /a /b /data", volumes("/a", "/b")],
  ['VOLUME ["/a b", " /$A "]', volumes("/a b", "/one")],
  ["VOLUME [/a", volumes("[/a")],
  ["VOLUME a\\b", volumes("ab")],
  // WORKDIR
  ["WORKDIR /x//y/./z/", { WorkingDir: "/x/y/z" }],
  ["WORKDIR x/../y", { WorkingDir: "/srv/app/y" }],
  ["WORKDIR ../../../..", { WorkingDir: "/" }],
  ['WORKDIR "/a b"\nWORKDIR $A', { WorkingDir: "/a b/one" }],
  ["WORKDIR $NOPE/z", { WorkingDir: "/z" }],
  // the text as a whole
  ["# comment\n\n  USER x\n", { User: "x" }],
  ["USER x\r\nWORKDIR /y\r\n", { User: "x", WorkingDir: "/y" }],
  ["USER x \\", { User: "x" }],
  ["USER a\\\nb", { User: "ab" }],
  ["USER a\\  \n  b", { User: "a  b" }],
  ["# syntax=foo\n# escape=\\\nUSER x", { User: "x" }],
  ["USER x\n# escape=`\nWORKDIR /y", { User: "x", WorkingDir: "/y" }]
]

/** What Docker refuses, and we too. */
export const refused: ReadonlyArray<string> = [
  ...["", "# only", "\\", "FOO x", "RUN x", "FROM x", "ARG x", "COPY a b", "ADD a b", "MAINTAINER x", "USER x\nFOO"],
  ...['CMD ["a",1]', 'CMD [["a"]]', "CMD --x y", "ENTRYPOINT [null]", 'CMD[] "x"'],
  ...["ENV", "ENV A", "ENV A=1 B", "ENV =x", "ENV A='x", 'ENV A="x', 'ENV "A=b"=c', "ENV --x A=b"],
  ...[
    "ENV A=${B",
    "ENV A=${",
    "ENV A=${}",
    "ENV A=${:-b}",
    "ENV A=${{b}}",
    "ENV A=${B=c}",
    "ENV A=${A:=b}",
    "ENV A=${A!}"
  ],
  ...["ENV A=${A:#b}", "ENV A=${A:}", "ENV A=${A/b}", "ENV A=${A-", "ENV A=${.}", "ENV A=${NOPE?}", "ENV A=${EMPTY:?}"],
  ...["ENV A=${NOPE:?missing}", "ENV A=${A#\\q}", "ENV A=${NOPE%\\q}", "ENV A=${A:-${NOPE?}}", "ENV A=${A/\\q/}"],
  ...["LABEL", "LABEL a", "LABEL a=b c", "LABEL =b"],
  ...["EXPOSE", "EXPOSE abc", "EXPOSE 80/foo", "EXPOSE 65536", "EXPOSE 9-8", "EXPOSE 80-", "EXPOSE -80", "EXPOSE +80"],
  ...["EXPOSE 1.2.3:80:80", "EXPOSE 80:", "EXPOSE /tcp", "EXPOSE 1-2:5-8", "EXPOSE a:80", "EXPOSE $A", "EXPOSE 8_0"],
  ...[
    "HEALTHCHECK",
    "HEALTHCHECK CMD",
    "HEALTHCHECK CMD []",
    "HEALTHCHECK NONE x",
    "HEALTHCHECK FOO",
    "HEALTHCHECK curl x"
  ],
  ...["1x", "1", "1us", "-1s", "1s2", "x", ".s", "1.2.3s", "3000000h"].map(
    (time) => `HEALTHCHECK --interval=${time} CMD a`
  ),
  ...["--interval CMD a", "--interval=1s --interval=2s CMD a", "--foo=1 CMD a", "--INTERVAL=1s CMD a"].map(
    (rest) => `HEALTHCHECK ${rest}`
  ),
  ...["-1", "x", "1.5", "2147483648"].map((retries) => `HEALTHCHECK --retries=${retries} CMD a`),
  ...["ONBUILD", "ONBUILD ONBUILD RUN x", "ONBUILD from x", "ONBUILD MAINTAINER x", "ONBUILD ENV A", "ONBUILD CMD [1]"],
  ...["ONBUILD VOLUME [1]", "ONBUILD LABEL a=b c", "ONBUILD HEALTHCHECK CMD [1]"],
  ...["STOPSIGNAL", "STOPSIGNAL SIGFOO", "STOPSIGNAL 0", "STOPSIGNAL $NOPE", "STOPSIGNAL RTMIN+16"],
  ...[
    "USER",
    'USER "x',
    "USER --x y",
    "VOLUME",
    "VOLUME []",
    'VOLUME [""]',
    "VOLUME $NOPE",
    'VOLUME ["a",1]',
    'VOLUME "/a b"'
  ],
  ...["WORKDIR", "WORKDIR $NOPE", 'WORKDIR ""']
]

/** What Docker takes and we do not. */
export const stricter: ReadonlyArray<readonly [text: string, reason: string]> = [
  ["EXPOSE 80/tcp/udp", "moby 28 leaves what follows the protocol; moby 29 refuses it"],
  ["EXPOSE 1-2-3", "moby 28 leaves what follows the range; moby 29 refuses it"],
  ["ENV $NOPE=x", "runc starts no container with a variable without a name"],
  ["LABEL $NOPE=x", "a blank name is refused where it is written, too"],
  ["# escape=`\nUSER x", "one escape character is enough for a change"],
  ["ONBUILD RUN <<EOF\nmake\nEOF", "a change is an instruction of one line"]
]

/** What we take and Docker does not. */
export const wider: ReadonlyArray<readonly [text: string, reason: string]> = [
  ['SHELL ["/bin/bash","-c"]', "of use for the shell forms that follow"],
  ["# syntax=a\n# syntax=b\nUSER x", "directives are comments here"]
]

/** Where Docker's result is another. */
export const different: ReadonlyArray<readonly [text: string, ours: Changed, docker: Changed, reason: string]> = [
  ["ENTRYPOINT []", entrypoint(undefined), {}, "Docker fills an empty entrypoint, and the command, from the container"],
  [
    'ENTRYPOINT\nCMD ["x"]',
    entrypoint(undefined, ["x"]),
    cmd(["x"]),
    "Docker fills an empty entrypoint from the container"
  ],
  ['USER ""', { User: undefined }, {}, "Docker fills an empty user from the container"],
  [
    "EXPOSE 8${NOPE:-0}",
    ports("80/tcp"),
    ports("0/tcp"),
    "Docker's lexer loses what is before a substitution with a word"
  ],
  [
    "ENV C=${A//n/'$0'}",
    env("C=o$0e"),
    env("C=one"),
    "Docker takes $ in a replacement of all for a group of a regular expression"
  ]
]
