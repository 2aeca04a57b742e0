/**
 * How a snapshot is mounted. Opaque to a client: what a snapshotter gives goes back to the differ as it is.
 *
 * @since 0.1.0
 */
export interface Mount {
  readonly type: string
  readonly source: string
  readonly target: string
  readonly options: ReadonlyArray<string>
}
