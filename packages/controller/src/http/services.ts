import type { AllowedSigner } from "@belay/shared";
import type { Logger } from "pino";
import type { AuditLog } from "../audit/log.js";
import type { OidcConfig } from "../config-oidc.js";
import type { Copies } from "../copies/copies.js";
import type { Controller } from "../execute/controller.js";
import type { Errands } from "../execute/errand.js";
import type { Leadership } from "../execute/leadership.js";
import type { Planning } from "../execute/planning.js";
import type { Restores } from "../execute/restores.js";
import type { Rollbacks } from "../execute/rollback.js";
import type { Gateway } from "../fleet/gateway.js";
import type { Presence } from "../fleet/presence.js";
import type { Identity } from "../identity/identity.js";
import type { Fleet } from "../inventory/fleet.js";
import type { Logins } from "../people/logins.js";
import type { People } from "../people/people.js";
import type { Sessions } from "../people/sessions.js";
import type { ArtifactStore } from "../releases/artifacts.js";
import type { Shelf } from "../releases/shelf.js";
import type { AgentStore } from "../store/agents.js";
import type { PlanStore } from "../store/plans.js";
import type { RecordStore } from "../store/records.js";
import type { RunStore } from "../store/runs.js";

/** What the routes are made of. Each takes what it needs. */
export interface Services {
  readonly version: string;
  readonly audit: AuditLog;
  readonly log: Logger;
  readonly controller: Controller;
  readonly planning: Planning;
  readonly rollbacks: Rollbacks;
  readonly restores: Restores;
  readonly errands: Errands;
  readonly gateway: Gateway;
  readonly presence: Presence;
  readonly plans: PlanStore;
  readonly runs: RunStore;
  readonly records: RecordStore;
  readonly agents: AgentStore;
  readonly artifacts: ArtifactStore;
  readonly shelf: Shelf;
  readonly copies: Copies;
  readonly identity: Identity;
  readonly leadership: Pick<Leadership, "superseded">;
  /** There is a door over TLS, through which hosts can join. */
  readonly hasTlsDoor: boolean;
  readonly plaintextTokens: boolean;
  readonly people: People;
  readonly sessions: Sessions;
  /** Both null: no identity provider. */
  readonly logins: Logins | null;
  readonly oidc: OidcConfig | null;
  /** The fleet file as it is now. */
  fleet(): Promise<Fleet>;
  /** Whose signatures count, as far as belayd is told; null: it isn't, and the hosts alone judge. */
  approvers(): Promise<readonly AllowedSigner[] | null>;
  now(): number;
  /** A new secret for an agent: random, URL-safe. */
  newToken(): string;
}
