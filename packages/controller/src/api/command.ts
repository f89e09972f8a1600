/** What comes with whatever a person tells belayd to do. */
export interface Command {
  /** Why, for the record. */
  readonly reason?: string;
}
