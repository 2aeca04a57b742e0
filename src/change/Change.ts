/**
 * Changes of an image's config, as `docker commit --change` takes them: instructions of a Dockerfile, in its syntax
 * (docs.docker.com/reference/dockerfile) or as values, and the removal of what Docker can only add. `parse` reads,
 * `apply` changes; both are pure, and the rules are those of moby 29 for Linux.
 *
 * Differences from Docker: `SHELL` is a change, the others are said at `parse` and `apply`.
 *
 * @since 0.1.0
 */
export { apply, check } from "./Apply.ts"
export * from "./Model.ts"
export { parse } from "./Parse.ts"
