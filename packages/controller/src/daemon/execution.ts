import type { ControllerMessage } from "@belay/shared";
import type { Logger } from "pino";
import type { Config } from "../config.js";
import type { Copies } from "../copies/copies.js";
import { Keeping } from "../copies/keeping.js";
import { Controller } from "../execute/controller.js";
import { Errands } from "../execute/errand.js";
import type { Leadership } from "../execute/leadership.js";
import { neededBackups } from "../execute/needed-backups.js";
import { Planning } from "../execute/planning.js";
import type { Hosts } from "../execute/ports.js";
import { Restores } from "../execute/restores.js";
import { Rollbacks } from "../execute/rollback.js";
import type { Presence } from "../fleet/presence.js";
import { askTenant } from "../fleet/tenant.js";
import type { Fleet } from "../inventory/fleet.js";
import { profileOf } from "../products/profiles.js";
import { factsSeenBy } from "../products/viewpoint.js";
import type { ArtifactStore } from "../releases/artifacts.js";
import type { Shelf } from "../releases/shelf.js";
import type { State } from "./state.js";

/** All that plans, and that carries plans out. */
export interface Execution {
  readonly planning: Planning;
  readonly controller: Controller;
  readonly errands: Errands;
  readonly rollbacks: Rollbacks;
  readonly restores: Restores;
  /** Takes up what an earlier life left under way (I14), then keeps its hours. */
  begin(): Promise<void>;
  /** Leaves runs where they are. */
  stop(): Promise<void>;
}

/** Hands a message to a host's live connection. False: there is none, or it can't take more. */
type Send = (host: string, message: ControllerMessage) => boolean;

/** Puts it together; nothing of it moves before `begin`. */
export function makeExecution(parts: {
  readonly config: Pick<Config, "managedScheme">;
  readonly version: string;
  readonly state: State;
  readonly leadership: Leadership;
  readonly presence: Presence;
  readonly send: Send;
  /** The fleet file as it is now. */
  readonly fleet: () => Promise<Fleet>;
  readonly artifacts: ArtifactStore;
  readonly shelf: Shelf;
  readonly copies: Copies;
  readonly now: () => number;
  readonly log: Logger;
}): Execution {
  const { config, version, leadership, presence, send, fleet, artifacts, shelf, copies, now, log } = parts;
  const { runs, plans, records, copyRecords, leases } = parts.state;

  const hosts = hostsOf(presence, leadership, send);
  const hostsSeenBy = (product: string): Hosts => {
    const profile = profileOf(product);
    return { ...hosts, factsOf: (host) => factsSeenBy(profile, presence.factsOf(host)) };
  };
  const errands = new Errands(hosts, async (host) => {
    leadership.mustLead({ [host]: true });
    const fence = await controller.runnersOf(host)[0]?.look(({ state }) => state.fence);
    return fence ?? (await leases.newestFence());
  });
  const controller = new Controller({
    plans,
    runs,
    leases,
    hosts,
    hostsSeenBy,
    errands,
    leadership,
    vouch: (run) => runs.vouch(run),
    now,
    log,
    soleController: true,
    isStored: async ({ sha256, size }) => (await artifacts.sizeOf(sha256)) === size,
    advisoriesOf: (release) => shelf.advisoriesOf(release),
    ended: async (run, result) => {
      await rollbacks.runEnded(run, result);
      await keeping.tidy();
    },
  });
  const planning = new Planning({
    fleet,
    profileOf,
    catalogue: (product) => shelf.catalogue(product),
    sightOf: (host) => presence.sightOf(host),
    seenHosts: () => presence.hosts(),
    quarantined: () => records.quarantined(),
    askManaged: (address, profile) => askTenant(address, profile, config.managedScheme),
    save: (plan, by, at) => plans.save(plan, by, at),
    now,
    log,
    version,
  });
  const rollbacks = new Rollbacks({
    controller,
    planning,
    plans,
    runs,
    records,
    hostsSeenBy,
    suspect: (release, by, reason) => shelf.suspect(release, by, reason),
    log,
  });
  const restores = new Restores({ controller, planning, records, catalogue: (product) => shelf.catalogue(product) });
  const keeping = new Keeping({
    copies,
    copyRecords,
    records,
    policy: async () => (await fleet()).backups,
    needed: () => neededBackups(runs, plans, () => records.allPending()),
    now,
    log,
  });
  return {
    planning,
    controller,
    errands,
    rollbacks,
    restores,
    async begin() {
      await controller.recover();
      await rollbacks.recover();
      keeping.start();
    },
    async stop() {
      rollbacks.stop();
      await controller.stop();
      await keeping.stop();
    },
  };
}

/** The fleet as runs need it. Steps go out only while this belayd leads (I13). */
function hostsOf(presence: Presence, leadership: Leadership, send: Send): Hosts {
  return {
    isPresent: (host) => presence.isPresent(host),
    absentSince: (host) => presence.absentSince(host),
    factsOf: (host) => presence.factsOf(host),
    clockOffsetOf: (host) => presence.sightOf(host)?.clockOffsetMs ?? null,
    send: (host, step) => leadership.leads(host) && send(host, { ...step, line: leadership.line }),
    acknowledge: (host, step) => {
      send(host, { type: "ack", step });
    },
  };
}
