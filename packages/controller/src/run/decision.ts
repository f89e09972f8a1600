import type { HostFacts, HostName } from "@belay/shared";
import type { RunEvent } from "./event.js";
import type { Wait } from "./wait.js";

/** What `decide` may know of the world besides the run itself. */
export interface World {
  /** Does the host have a live, welcomed connection right now? */
  isPresent(host: HostName): boolean;
  /** When an absent host was last connected, on the controller's clock; null or no such method: nobody knows. */
  absentSince?(host: HostName): number | null;
  /** The newest facts of a host, or null. */
  factsOf(host: HostName): HostFacts | null;
  /** False when another controller holds the run's lease: then nothing may be decided (I13). */
  readonly holdsLease: boolean;
}

/**
 * What may happen next: `events` to record, in this order; each `step-intended` among them is sent once it is on disk.
 * With no events, `waits` says why. `wakeAt`: decide again then, if nothing else happens before.
 */
export interface Decision {
  readonly events: readonly RunEvent[];
  readonly waits: readonly Wait[];
  readonly wakeAt: number | null;
}
