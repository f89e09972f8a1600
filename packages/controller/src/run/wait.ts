import type { HostName } from "@belay/shared";

/**
 * Why a run does nothing (more) right now, for a program to match on (`code`) and a person to read. `since` is when it
 * began, milliseconds since the epoch; `unblock` is what would end it, a command where there is one.
 */
export interface Wait {
  readonly code:
    | "gate-open"
    | "failure-gate-open"
    | "steps-in-flight"
    | "hosts-offline"
    | "retry-backoff"
    | "pausing"
    | "paused"
    | "aborting"
    | "lease-lost"
    | "store-failing"
    | "run-broken"
    | "ended";
  readonly message: string;
  readonly since: number;
  readonly unblock: string;
  readonly gate?: string;
  readonly hosts?: readonly HostName[];
  readonly until?: number;
}
