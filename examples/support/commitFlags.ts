/** The flags of `npm run commit`, which are those of `docker commit`, `buildah commit` and `ctr`. */
import { Config, Option } from "effect"
import { Argument, Flag } from "effect/cli"

const repeated = (name: string, description: string) =>
  Flag.String(name).pipe(Flag.withDescription(description), Flag.atLeast(0))

const text = (name: string, description: string) =>
  Flag.String(name).pipe(Flag.withDescription(description), Flag.optional, Flag.map(Option.getOrUndefined))

const whole = (name: string, description: string) =>
  Flag.Int(name).pipe(Flag.withDescription(description), Flag.optional, Flag.map(Option.getOrUndefined))

const yes = (name: string, description: string) =>
  Flag.Boolean(name).pipe(Flag.withDescription(description), Flag.withDefault(false))

const units = { "": 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40 } as const
const isUnit = (unit: string): unit is keyof typeof units => unit in units

/** As Docker takes sizes: `500m`, `2g`, or bytes. */
const bytesOf = (size: string): number => {
  const [, digits, unit = ""] = /^(\d+)([kmgt]?)b?$/i.exec(size) ?? []
  const lower = unit.toLowerCase()
  return digits !== undefined && isUnit(lower) ? Number(digits) * units[lower] : Number.NaN
}

export const flags = {
  container: Argument.String("CONTAINER").pipe(
    Argument.withDescription("The container's id, its first digits, or its name in nerdctl or Docker")
  ),
  names: Argument.String("REF").pipe(
    Argument.withDescription("Names of the new image, as in app:1; without one the image is untagged"),
    Argument.variadic()
  ),

  docker: Flag.String("docker").pipe(
    Flag.withDescription("A container of the Docker Engine at that socket (DOCKER_HOST, else /var/run/docker.sock)"),
    Flag.withMetavar("SOCKET"),
    Flag.withOptionalValue(""),
    Flag.optional,
    Flag.map(Option.getOrUndefined)
  ),
  root: text("root", "A container of the backend without a daemon, in that directory (an OCI layout)"),
  pod: text("pod", "A container of that pod of Kubernetes; CONTAINER is its name in the pod"),
  podNamespace: text("pod-namespace", "The pod's namespace (default)"),
  address: text(
    "address",
    "containerd's socket (CONTAINERD_ADDRESS, else /run/containerd/containerd.sock; with --docker what the engine says)"
  ),
  namespace: Flag.String("namespace").pipe(
    Flag.withAlias("n"),
    Flag.withDescription("containerd's namespace (CONTAINERD_NAMESPACE)"),
    Flag.withFallbackConfig(Config.String("CONTAINERD_NAMESPACE")),
    Flag.withDefault("default")
  ),
  snapshotter: text("snapshotter", "Where the container's snapshot is, if not where its record says"),
  platform: text("platform", "Of a multi-platform parent, as in linux/arm64"),
  parent: text("parent", "The image that the container was made from, if its name stands for another one now"),
  allowMissing: yes("allow-missing", "Go on when layers of the parent are not in the content store"),
  allowSandboxed: yes(
    "allow-sandboxed",
    "Go on when the runtime (gVisor, Kata) keeps files where nothing can read them"
  ),
  pause: Flag.Boolean("pause").pipe(
    Flag.withAlias("p"),
    Flag.withDescription("Pause a running container while its files are read"),
    Flag.withDefault(true)
  ),

  author: text("author", "The image's author").pipe(Flag.withAlias("a")),
  message: text("message", "A comment for the image's history").pipe(Flag.withAlias("m")),
  createdBy: text("created-by", "What made the layer, for the history; by default the container's command"),
  history: Flag.Literals("history", ["keep", "omit"]).pipe(
    Flag.withDescription("Whether the image has a history"),
    Flag.withDefault("keep")
  ),
  changes: repeated(
    "change",
    "A Dockerfile instruction for the image's config, as in 'CMD [\"app\"]'; may be repeated"
  ).pipe(Flag.withAlias("c")),
  labels: Flag.KeyValuePair("label").pipe(
    Flag.withAlias("l"),
    Flag.withDescription("KEY=VALUE of the image, as in LABEL; may be repeated"),
    Flag.withDefault({})
  ),
  unsetEnv: repeated("unset-env", "NAME of a variable that the image does not have; may be repeated"),
  unsetLabel: repeated("unset-label", "KEY of a label that the image does not have; may be repeated"),
  unsetVolume: repeated("unset-volume", "PATH of a volume that the image does not have; may be repeated"),
  unsetPort: repeated("unset-port", "PORT[/PROTOCOL] that the image does not expose; may be repeated"),
  config: Flag.FileText("config").pipe(
    Flag.withDescription("A JSON file with the image's config, to which the container's is added (Docker's form)"),
    Flag.optional,
    Flag.map(Option.getOrUndefined)
  ),
  configFrom: Flag.Literals("config-from", ["image", "container"]).pipe(
    Flag.withDescription("What containers of the image run: as the parent says, or as this container does"),
    Flag.withDefault("image")
  ),

  format: Flag.Literals("format", ["auto", "oci", "docker"]).pipe(
    Flag.withAlias("f"),
    Flag.withDescription("Of the manifest; auto is the parent's"),
    Flag.withDefault("auto")
  ),
  differ: Flag.Literals("differ", ["auto", "containerd", "host"]).pipe(
    Flag.withDescription(
      "How the container is read: on this host's file system, or by containerd (auto: the first that can)"
    ),
    Flag.withDefault("auto")
  ),
  compression: Flag.Literals("compression", ["gzip", "zstd", "uncompressed"]).pipe(
    Flag.withDescription("Of the new layer"),
    Flag.withDefault("gzip")
  ),
  compressionLevel: whole("compression-level", "1 to 9 for gzip, to 22 for zstd; 0 to 3 for igzip, to 9 for pigz"),
  compressor: Flag.Literals("compressor", ["auto", "node", "igzip", "pigz", "zstd"]).pipe(
    Flag.withDescription("What compresses the new layer: Node, or that program in the PATH"),
    Flag.withDefault("auto")
  ),
  compressionConcurrency: whole("compression-concurrency", "How many cores may compress at once (all)"),
  annotations: Flag.KeyValuePair("annotation").pipe(
    Flag.withDescription("KEY=VALUE of the manifest; may be repeated"),
    Flag.optional,
    Flag.map(Option.getOrUndefined)
  ),
  created: text("created", "The image's time of creation, RFC 3339 (or SOURCE_DATE_EPOCH, in seconds)"),
  rewriteTimestamp: yes("rewrite-timestamp", "With --created: no file of the new layer is younger"),

  squash: yes("squash", "One layer in place of all"),
  squashLast: whole("squash-last", "One layer in place of the parent's last N and the new one"),
  replaceTop: yes(
    "replace-top",
    "Replace the last layer if an earlier commit of this container with this flag made it"
  ),
  maxLayers: whole("max-layers", "Refuse an image with more (127)"),
  maxSize: text("max-size", "Refuse a container that has written more, as in 500m or 2g").pipe(
    Flag.filter(
      (size) => size === undefined || !Number.isNaN(bytesOf(size)),
      () => "a size is a number of bytes, or one with a unit, as in 500m or 2g"
    ),
    Flag.map((size) => (size === undefined ? undefined : bytesOf(size)))
  ),
  exclude: repeated("exclude", "GLOB from the root that is not in the layer; may be repeated"),
  include: repeated("include", "GLOB from the root; nothing else is in the layer; may be repeated"),
  keepStubs: yes("keep-stubs", "Keep the empty files and directories that the runtime mounted something over"),

  manifest: text("manifest", "The name of an index that the image is added to"),
  iidfile: text("iidfile", "A file to write the image's digest to"),
  metadataFile: text("metadata-file", "A file to write digests and names to, as JSON"),
  json: yes("json", "Print the result as one JSON object"),
  quiet: yes("quiet", "Print the image's digest only").pipe(Flag.withAlias("q"))
}
