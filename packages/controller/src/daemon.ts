import type { FactProbe } from "@belay/shared";
import type { Logger } from "pino";
import { identityRecorder } from "./audit/identity-entry.js";
import { startedEntry } from "./audit/started.js";
import { Witnesses } from "./audit/witnesses.js";
import type { Config } from "./config.js";
import { openCopies } from "./copies/open.js";
import { makeExecution } from "./daemon/execution.js";
import { type Addresses, openFront } from "./daemon/front.js";
import { openState } from "./daemon/state.js";
import { DeclaredFile } from "./declared.js";
import { Leadership } from "./execute/leadership.js";
import { Gateway } from "./fleet/gateway.js";
import { Presence } from "./fleet/presence.js";
import { Sightings } from "./fleet/sightings.js";
import { hostCallers } from "./http/callers.js";
import { DOOR_LIMITS, type DoorLimits } from "./http/doors/limits.js";
import { readOwnersCertificate } from "./http/tls.js";
import { type IdentityEvent, isAlarming } from "./identity/event.js";
import { Identity } from "./identity/identity.js";
import { doorNames } from "./identity/names.js";
import type { Fleet } from "./inventory/fleet.js";
import { parseFleet } from "./inventory/parse.js";
import { probeFor } from "./plan/program.js";
import { profileOf } from "./products/profiles.js";
import { openReleases } from "./releases/open.js";

/** A running belayd. */
export interface Daemon extends Addresses {
  /** Leaves runs where they are, closes connections and the database. Idempotent. */
  stop(): Promise<void>;
}

/** How long a change of fleet.yaml may go unnoticed while nobody asks for anything. */
const FLEET_LOOK_MS = 2_000;

/** Puts belayd together and starts it: store, fleet, runs (taken up where they were), HTTP. */
export async function startDaemon(
  config: Config,
  log: Logger,
  now: () => number,
  version: string,
  limits: DoorLimits = DOOR_LIMITS,
): Promise<Daemon> {
  // What can be wrong with the files is said before anything is begun.
  const owners = config.tls === null ? null : await readOwnersCertificate(config.tls);
  const state = await openState(config, now, log);
  const { store, audit, refusals, agents, records, runs, plans, leases } = state;
  const leadership = await Leadership.begin(leases, audit, log);
  const fleetFile = new DeclaredFile(config.fleet, parseFleet);
  const fleet = () => fleetFile.read();
  const presence = new Presence();

  const recordIdentity = identityRecorder(audit, refusals, log);
  const tellIdentity = (event: IdentityEvent) => {
    log[isAlarming(event) ? "warn" : "info"]({ event }, "identity");
    return recordIdentity(event);
  };
  const identity = await Identity.open({
    dataDir: config.dataDir,
    fleet: (await fleet()).fleet,
    given: config.identity.given,
    store,
    lifeMs: config.identity.hostCertificateMs,
    names: () => doorNames(config.tls),
    connected: {
      isPresent: (host) => presence.isPresent(host),
      disconnect: (host, error) => gateway.disconnect(host, error),
      announce: (message) => gateway.announce(message),
    },
    now,
    tell: tellIdentity,
    failed: (error) => log.error({ err: error }, "cannot keep identities up; trying again"),
  });
  const hostOf = hostCallers({
    peers: identity.peers,
    plaintextTokens: config.plaintextTokens,
    hostOfToken: (hash) => agents.hostOfToken(hash),
  });

  const { artifacts, shelf } = await openReleases({ dataDir: config.dataDir, file: config.releases, records, now });
  const copies = await openCopies(config.backupStore, state.copyRecords, now);
  const sightings = new Sightings(presence, agents, log);
  await sightings.recall();

  const execution = makeExecution({
    config,
    version,
    state,
    leadership,
    presence,
    send: (host, message) => gateway.send(host, message),
    fleet,
    artifacts,
    shelf,
    copies,
    now,
    log,
  });
  const witnesses = new Witnesses(
    audit,
    { send: (host, message) => gateway.send(host, message), broadcast: (message) => gateway.broadcast(message) },
    (host, size) => leadership.outdone(host, size),
    log,
  );
  const gateway = new Gateway({
    witnesses,
    turnedAway: (address) => refusals.count(address),
    registry: agents,
    presence,
    events: execution.controller,
    probeOf: (host) => probeOf(fleetFile.last, host),
    hostOf,
    trust: {
      message: () => identity.message(),
      hostTrusts: (host, pins) => identity.hostTrusts(host, pins),
      cloned: (host, from) => void tellIdentity({ type: "identity-cloned", host, from }),
    },
    now,
    log,
    options: { pingEveryMs: config.pingEveryMs, factsEveryMs: config.factsEveryMs, ...limits.agents },
  });
  const { controller, planning, rollbacks, restores, errands } = execution;
  const front = await openFront(
    config,
    {
      version,
      audit,
      log,
      controller,
      planning,
      rollbacks,
      restores,
      errands,
      gateway,
      presence,
      plans,
      runs,
      records,
      agents,
      artifacts,
      shelf,
      copies,
      identity,
      leadership,
      fleet,
      now,
    },
    { store, refusals, hostOf, owners, limits },
  );

  await audit.append(
    await startedEntry(
      audit,
      { version, line: leadership.line, fence: leases.knownFence },
      { config: config.file, fleet: config.fleet, ...(config.releases === null ? {} : { releases: config.releases }) },
    ),
  );
  const addresses = await front.listen();
  // The port is taken first: a second belayd must not take runs up that it can't hear the agents of.
  await execution.begin();
  identity.start();
  sightings.start();
  const watching = new AbortController();
  const watched = fleetFile.watch({
    everyMs: FLEET_LOOK_MS,
    changed: () => void gateway.reprobe(),
    signal: watching.signal,
    log,
  });

  let stopping: Promise<void> | null = null;
  const stop = async () => {
    watching.abort();
    await watched;
    sightings.stop();
    front.stopLogins();
    await execution.stop();
    // Hosts see the log's end before they lose sight of belayd.
    await audit.publish();
    await witnesses.settled();
    identity.stop();
    await gateway.close();
    await front.close();
    await sightings.save();
    await state.close();
  };
  return {
    ...addresses,
    stop() {
      stopping ??= stop();
      return stopping;
    },
  };
}

/** A host that is not declared gets no probe: it may connect and be listed, nothing more. */
function probeOf(fleet: Fleet | null, host: string): FactProbe | null {
  return fleet === null ? null : probeFor(fleet, host, profileOf(fleet.product));
}
