/** What is wrong with a log. `entry`: the first one that is not as it was written, or the first of a stretch that holds it. */
export interface Finding {
  readonly code:
    | "checkpoint-missing"
    | "checkpoint-malformed"
    | "key-missing"
    | "signature-wrong"
    | "entries-missing"
    | "entry-malformed"
    | "entry-misplaced"
    | "entry-changed"
    | "entry-among"
    | "tile-missing"
    | "tile-differs"
    | "root-differs"
    | "beyond-checkpoint"
    | "leftover-differs"
    | "pending-damaged"
    | "witness-of-another-log"
    | "witness-unsigned"
    | "rewound"
    | "forked";
  readonly message: string;
  readonly entry?: number;
}

/** What a verification has come to. */
export interface Verdict {
  readonly origin: string | null;
  /** Entries under the checkpoint. */
  readonly size: number;
  /** Hex; null: no checkpoint could be read. */
  readonly root: string | null;
  /** Acknowledged entries that no checkpoint covers yet: in belayd's own folder, never in an export. */
  readonly pending: number;
  /** Witnesses' checkpoints that this log continues. */
  readonly witnessed: number;
  /** True if the key was given, not taken from beside the log. */
  readonly keyGiven: boolean;
  readonly findings: readonly Finding[];
}
