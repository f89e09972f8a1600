import type { ClusterName, HostName, StoredCopy } from "@belay/shared";
import type { Fleet } from "../../inventory/fleet.js";
import type { Profile } from "../../products/profile.js";
import type { AcceptedRisk, FleetFacts } from "../input.js";
import type { Plan } from "../plan.js";

/** Everything that planning the way back may look at. */
export interface RollbackInput {
  /** The plan that the run carries out, and the run. */
  readonly plan: Plan;
  readonly run: string;
  readonly scope: "stage" | "hop" | "run";
  /** Where the run stands: the stage to undo, or of whose hop the stages are undone. */
  readonly stage: string;
  /** Hosts that the run has touched: what is installed now, and the last hop in which they moved (null: none yet). */
  readonly progress: Readonly<Record<HostName, { readonly version: string; readonly hop: string | null }>>;
  /** Auths that took a backend over a major: from there back, it must be restored. */
  readonly crossed: readonly { readonly hop: string; readonly cluster: ClusterName; readonly host: HostName }[];
  /** Auths that the run has stopped and not started again. */
  readonly stopped: readonly HostName[];
  /** Backups the run made. `backup` is its id on that host. */
  readonly backups: readonly RunBackup[];
  /** False: what is there now is not kept aside before a backend is restored, because nothing of it is left. */
  readonly safetyBackup: boolean;
  readonly fleet: Fleet;
  readonly profile: Profile;
  /** The fleet as it is now. */
  readonly facts: FleetFacts;
  /** Hosts to leave where they are. */
  readonly quarantine: readonly { readonly host: HostName; readonly reason: string }[];
  readonly acceptRisks: readonly AcceptedRisk[];
}

export interface RunBackup {
  readonly host: HostName;
  readonly hop: string;
  readonly backup: string;
  /** Read back, whole, when it was last looked at (I4). */
  readonly verified: boolean;
  /** No longer on its host. */
  readonly pruned: boolean;
  /** A copy that left the host, read back; null: none. */
  readonly copy: StoredCopy | null;
}
