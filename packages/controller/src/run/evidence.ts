import type { BackupResult, ErrorInfo, HostName } from "@belay/shared";

/** A gate that was passed without its approvals, by whom and why. */
export interface BrokenGlass {
  readonly gate: string;
  readonly by: string;
  readonly reason: string;
  readonly at: number;
}

/** What a gate shows to the people who must decide. Sized for ten thousand hosts: counts in full, names up to a limit. */
export interface Evidence {
  /** What this run has done so far, stage by stage. */
  readonly done: readonly {
    readonly stage: string;
    readonly hosts: number;
    readonly failed: number;
    readonly ms: number;
  }[];
  /** Versions that the hosts of the gate's cluster themselves report running, and how many report each (null: none). */
  readonly versions: readonly { readonly role: string; readonly version: string | null; readonly hosts: number }[];
  readonly unhealthy: readonly { readonly host: HostName; readonly ailments: readonly string[] }[];
  readonly failures: readonly { readonly host: HostName; readonly stage: string; readonly error: ErrorInfo }[];
  /** Gates of this run that somebody let pass alone. */
  readonly brokenGlass?: readonly BrokenGlass[];
  /** Backups this hop made, verified by reading back (I4). */
  readonly backups: readonly (BackupResult & { readonly host: HostName })[];
  /** What passing the gate lets happen: the stages up to the next gate. */
  readonly next: readonly { readonly stage: string; readonly hosts: readonly HostName[]; readonly more: number }[];
  /** What going back from behind this gate takes, and what it loses. */
  readonly goingBack: { readonly pointOfNoReturn: boolean; readonly takes: string; readonly loses: string };
}
