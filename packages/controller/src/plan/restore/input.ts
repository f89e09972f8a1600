import type { HostName, StoredCopy } from "@belay/shared";
import type { Fleet } from "../../inventory/fleet.js";
import type { Profile } from "../../products/profile.js";
import type { Catalogue } from "../../releases/catalogue.js";
import type { AcceptedRisk, FleetFacts } from "../input.js";

/** Everything that planning a restore may look at. */
export interface RestoreInput {
  readonly backup: RestorableBackup;
  /** False: what is there now is not kept aside first, because nothing of it is left. */
  readonly safetyBackup: boolean;
  readonly fleet: Fleet;
  readonly profile: Profile;
  readonly catalogue: Catalogue;
  readonly facts: FleetFacts;
  /** Hosts to leave as they are. */
  readonly quarantine: readonly { readonly host: HostName; readonly reason: string }[];
  readonly acceptRisks: readonly AcceptedRisk[];
}

export interface RestorableBackup {
  readonly host: HostName;
  readonly backup: string;
  /** What ran when it was made; null: whatever runs now. */
  readonly version: string | null;
  readonly takenAt: number;
  /** Read back on its host, whole (I4). */
  readonly verified: boolean;
  /** No longer on its host. */
  readonly pruned: boolean;
  /** A copy that left the host, read back; null: none. */
  readonly copy: StoredCopy | null;
}
