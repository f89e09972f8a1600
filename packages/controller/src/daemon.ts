import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { BelayError, type FactProbe } from "@belay/shared";
import type { Logger } from "pino";
import { identityRecorder } from "./audit/identity-entry.js";
import { openAudit } from "./audit/room.js";
import { AuditedRuns } from "./audit/runs.js";
import { startedEntry } from "./audit/started.js";
import { RefusalTally } from "./audit/tally.js";
import { Witnesses } from "./audit/witnesses.js";
import { hashToken, newToken } from "./bearer-token.js";
import type { Config } from "./config.js";
import { Copies } from "./copies/copies.js";
import { Keeping } from "./copies/keeping.js";
import { openCopyStore } from "./copies/open.js";
import { DeclaredFile } from "./declared.js";
import { readApprovers } from "./declared-approvers.js";
import { Controller } from "./execute/controller.js";
import { Errands } from "./execute/errand.js";
import { Leadership } from "./execute/leadership.js";
import { neededBackups } from "./execute/needed-backups.js";
import { Planning } from "./execute/planning.js";
import type { Hosts } from "./execute/ports.js";
import { Restores } from "./execute/restores.js";
import { Rollbacks } from "./execute/rollback.js";
import { Gateway } from "./fleet/gateway.js";
import { Presence } from "./fleet/presence.js";
import { askTenant } from "./fleet/tenant.js";
import { auditRequests } from "./http/audited.js";
import { beforeCommand } from "./http/before-command.js";
import { hostCallers } from "./http/callers.js";
import { Doors } from "./http/doors/doors.js";
import { DOOR_LIMITS, type DoorLimits } from "./http/doors/limits.js";
import { addRoutes } from "./http/routes.js";
import { makeServer } from "./http/server.js";
import { openTlsDoor, readOwnersCertificate } from "./http/tls.js";
import { type IdentityEvent, isAlarming } from "./identity/event.js";
import { Identity } from "./identity/identity.js";
import { doorNames } from "./identity/names.js";
import { parseFleet } from "./inventory/parse.js";
import { openPeople } from "./people/open.js";
import { probeFor } from "./plan/program.js";
import { profileOf } from "./products/profiles.js";
import { factsSeenBy } from "./products/viewpoint.js";
import { ArtifactStore } from "./releases/artifacts.js";
import type { Catalogue } from "./releases/catalogue.js";
import { parseCatalogue } from "./releases/parse.js";
import { Shelf } from "./releases/shelf.js";
import { AgentStore } from "./store/agents.js";
import { CopyRecords } from "./store/copies.js";
import { LeaseStore } from "./store/leases.js";
import { PlanStore } from "./store/plans.js";
import { RecordStore } from "./store/records.js";
import { openSqlite } from "./store/sqlite.js";

/** A running belayd. */
export interface Daemon {
  /** `http://127.0.0.1:7440` */
  readonly address: string;
  /** `https://10.0.0.5:7443`; null: loopback only. */
  readonly tlsAddress: string | null;
  /** Leaves runs where they are, closes connections and the database. Idempotent. */
  stop(): Promise<void>;
}

/** What hosts last said is for planning and screens; losing a few seconds of it in a crash costs nothing. */
const SAVE_SIGHTS_EVERY_MS = 5_000;
const NO_RELEASES: Catalogue = { releases: [] };

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
  await mkdir(config.dataDir, { recursive: true, mode: 0o750 });
  const store = openSqlite(config.dataDir);
  const audit = await openAudit({ dataDir: config.dataDir, now, log, checkpointEveryMs: config.checkpointEveryMs });
  const refusals = new RefusalTally(audit, log);
  const agents = new AgentStore(store);
  const records = new RecordStore(store);
  const runs = new AuditedRuns(store, audit);
  const plans = new PlanStore(store);
  const leases = new LeaseStore(store);
  const leadership = await Leadership.begin(leases, audit, log);

  const fleetFile = new DeclaredFile(config.fleet, parseFleet);
  const releasesFile = config.releases === null ? null : new DeclaredFile(config.releases, parseCatalogue);
  const { fleet: fleetName } = await fleetFile.read();

  const recordIdentity = identityRecorder(audit, refusals, log);
  const tellIdentity = (event: IdentityEvent) => {
    log[isAlarming(event) ? "warn" : "info"]({ event }, "identity");
    recordIdentity(event);
  };
  const identity = await Identity.open({
    dataDir: config.dataDir,
    fleet: fleetName,
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

  const artifacts = new ArtifactStore(join(config.dataDir, "artifacts"));
  await artifacts.sweep();
  const shelf = new Shelf({
    records,
    artifacts,
    now,
    declared: async () => (await releasesFile?.read()) ?? NO_RELEASES,
  });

  const copyStore = await openCopyStore(config.backupStore);
  await copyStore.sweep();
  const copyRecords = new CopyRecords(store);
  const copies = new Copies({
    store: copyStore,
    records: copyRecords,
    maxBytes: config.backupStore.maxBytes,
    now,
  });

  const presence = new Presence();
  for (const row of await agents.all()) presence.remember(row.host, row);

  const hosts: Hosts = {
    isPresent: (host) => presence.isPresent(host),
    absentSince: (host) => presence.absentSince(host),
    factsOf: (host) => presence.factsOf(host),
    clockOffsetOf: (host) => presence.sightOf(host)?.clockOffsetMs ?? null,
    send: (host, step) => leadership.leads(host) && gateway.send(host, { ...step, line: leadership.line }),
    acknowledge: (host, step) => {
      gateway.send(host, { type: "ack", step });
    },
  };
  const hostsSeenBy = (product: string): Hosts => {
    const profile = profileOf(product);
    return { ...hosts, factsOf: (host) => factsSeenBy(profile, presence.factsOf(host)) };
  };
  const errands = new Errands(hosts, async (host) => {
    leadership.mustLead({ [host]: true });
    return controller.runnersOf(host)[0]?.state.fence ?? (await leases.newestFence());
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
    events: controller,
    probeOf: (host) => probeOf(fleetFile, host),
    hostOf,
    trust: {
      message: () => identity.message(),
      hostTrusts: (host, pins) => identity.hostTrusts(host, pins),
      cloned: (host, from) => tellIdentity({ type: "identity-cloned", host, from }),
    },
    now,
    log,
    options: { pingEveryMs: config.pingEveryMs, factsEveryMs: config.factsEveryMs, ...limits.agents },
  });
  const planning = new Planning({
    fleet: () => fleetFile.read(),
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

  const keeping = new Keeping({
    copies,
    copyRecords,
    records,
    policy: async () => (await fleetFile.read()).backups,
    needed: () => neededBackups(runs, plans, () => records.allPending()),
    now,
    log,
  });
  const restores = new Restores({ controller, planning, records, catalogue: (product) => shelf.catalogue(product) });

  const { people, sessions, logins } = await openPeople(config, {
    store,
    now,
    newSecret: newToken,
    hash: hashToken,
    log,
  });

  const connections = { ...limits.connections, strangers: config.connectionsPerAddress };
  const doors = new Doors({ limits: { ...limits, connections }, now, log });
  const server = makeServer({
    log,
    doors,
    gateway,
    identities: {
      people,
      sessions,
      rootTokenHash: hashToken(await readApiToken(config.apiTokenFile)),
      hostOf,
    },
  });
  auditRequests(server, { audit, refusals, before: beforeCommand({ records, controller }) });
  addRoutes(server, {
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
    hasTlsDoor: config.tls !== null,
    plaintextTokens: config.plaintextTokens,
    people,
    sessions,
    logins,
    oidc: config.oidc,
    fleet: () => fleetFile.read(),
    approvers: () => readApprovers(config.approversFile),
    now,
    newToken,
  });

  await audit.append(
    await startedEntry(
      audit,
      { version, line: leadership.line, fence: leases.knownFence },
      { config: config.file, fleet: config.fleet, ...(config.releases === null ? {} : { releases: config.releases }) },
    ),
  );
  await server.listen({ host: config.listen.host, port: config.listen.port });
  const door =
    config.tls === null
      ? null
      : await openTlsDoor(server, doors, { listen: config.tls.listen, owners, own: identity.server });
  // The port is taken first: a second belayd must not take runs up that it can't hear the agents of.
  await controller.recover();
  await rollbacks.recover();
  const { address, family, port } = server.server.address() as AddressInfo;
  keeping.start();
  identity.start();
  const saving = setInterval(() => void saveSights(presence, agents, log), SAVE_SIGHTS_EVERY_MS);

  let stopping: Promise<void> | null = null;
  const stop = async () => {
    clearInterval(saving);
    rollbacks.stop();
    logins?.stop();
    await controller.stop();
    await keeping.stop();
    // Hosts see the log's end before they lose sight of belayd.
    await audit.publish();
    await witnesses.settled();
    identity.stop();
    await gateway.close();
    await door?.close();
    await server.close();
    doors.close();
    await saveSights(presence, agents, log);
    await refusals.stop();
    await audit.close();
    await store.close();
  };
  return {
    address: `http://${family === "IPv6" ? `[${address}]` : address}:${port}`,
    tlsAddress: door?.address ?? null,
    stop() {
      stopping ??= stop();
      return stopping;
    },
  };
}

/** A host that is not declared gets no probe: it may connect and be listed, nothing more. */
function probeOf(file: DeclaredFile<ReturnType<typeof parseFleet>>, host: string): FactProbe | null {
  const fleet = file.last;
  return fleet === null ? null : probeFor(fleet, host, profileOf(fleet.product));
}

async function saveSights(presence: Presence, agents: AgentStore, log: Logger): Promise<void> {
  const sights = presence.takeUnsaved();
  if (sights.length === 0) return;
  try {
    await agents.saveSightings(sights.map((sight) => ({ ...sight, lastSeenAt: sight.lastSeenAt ?? 0 })));
  } catch (error) {
    presence.keep(sights);
    log.error({ err: error }, "cannot save what hosts last said; trying again");
  }
}

/** Reads the API token; makes one at the first start. Throws `token-short`. */
async function readApiToken(path: string): Promise<string> {
  try {
    const token = (await readFile(path, "utf8")).trim();
    if (token.length < 16) {
      throw new BelayError("token-short", `${path}: an API token has 16 characters or more`, {
        hint: "Remove the file: belayd makes a new one at its next start.",
      });
    }
    return token;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
  const token = newToken();
  await writeFile(path, `${token}\n`, { flag: "wx", mode: 0o600 });
  await chmod(path, 0o600);
  return token;
}
