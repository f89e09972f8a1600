import { BelayError } from "@belay/shared";
import Type from "typebox";
import type { FleetView, HostView, Status } from "../../api/contract.js";
import type { Fleet } from "../../inventory/fleet.js";
import { brokenGlassIn } from "../../run/broken-glass.js";
import { quarantine, release } from "../../run/commands.js";
import { personOf } from "../access.js";
import { CommandBody, Name } from "../schemas.js";
import type { Server } from "../server.js";
import type { Services } from "../services.js";

const viewer = { config: { access: "viewer" } } as const;
const operator = { config: { access: "operator" } } as const;
const hostParams = Type.Object({ host: Name });

/** The fleet as declared, as seen, and what people set aside. */
export function hostRoutes(server: Server, services: Services): void {
  const { controller, presence, records, now } = services;

  const brokenGlassOf = async (run: string): Promise<Status["brokenGlass"]> => {
    const broken = await controller.active(run)?.look(({ state }) => brokenGlassIn(state));
    return (broken ?? []).map((each) => ({ run, ...each }));
  };

  server.get("/v1/status", viewer, async (): Promise<Status> => {
    const fleet = await services.fleet();
    const declared = declaredHosts(fleet);
    let undeclared = 0;
    for (const host of presence.hosts()) if (presence.isPresent(host) && !declared.has(host)) undeclared += 1;
    return {
      version: services.version,
      fleet: fleet.fleet,
      hosts: { declared: declared.size, present: presence.presentCount, undeclared },
      activeRuns: controller.activeRuns,
      superseded: services.leadership.superseded,
      brokenGlass: (await Promise.all(controller.activeRuns.map(brokenGlassOf))).flat(),
    };
  });

  server.get("/v1/fleet", viewer, async (): Promise<FleetView> => {
    const fleet = await services.fleet();
    return {
      fleet: fleet.fleet,
      environment: fleet.environment,
      clusters: fleet.clusters.map((cluster) => ({
        name: cluster.name,
        trusts: cluster.trusts ?? null,
        managed: cluster.managed !== undefined,
        hosts: cluster.hosts.length,
      })),
    };
  });

  server.get("/v1/hosts", viewer, () => listHosts(services));

  server.get("/v1/hosts/:host", { ...viewer, schema: { params: hostParams } }, (request) =>
    oneHost(services, request.params.host),
  );

  server.post(
    "/v1/hosts/:host/quarantine",
    { ...operator, schema: { params: hostParams, body: CommandBody } },
    async (request) => {
      const { host } = request.params;
      await oneHost(services, host);
      const { reason } = request.body;
      const by = personOf(request).name;
      if (reason === undefined || reason.trim() === "") {
        throw new BelayError("reason-missing", "a host is set aside for a reason", { hint: "Say it: --reason TEXT" });
      }
      // First the runs: one that can't go on without this host refuses, and then nothing is on record either.
      for (const runner of controller.runnersOf(host)) {
        await runner.command((state, at) => quarantine(state, host, { by, reason }, at));
      }
      await records.quarantine({ host, by, reason, at: now() });
      return oneHost(services, host);
    },
  );

  server.post(
    "/v1/hosts/:host/release",
    { ...operator, schema: { params: hostParams, body: CommandBody } },
    async (request) => {
      const { host } = request.params;
      await oneHost(services, host);
      const { reason = "" } = request.body;
      const by = personOf(request).name;
      for (const runner of controller.runnersOf(host)) {
        if (!(await runner.look(({ state }) => state.setAside.has(host)))) continue;
        await runner.command((state, at) => release(state, host, { by, reason }, at));
      }
      await records.release(host);
      return oneHost(services, request.params.host);
    },
  );
}

async function listHosts({ fleet, presence, records }: Services): Promise<HostView[]> {
  const declared = declaredHosts(await fleet());
  const aside = new Map((await records.quarantined()).map((entry) => [entry.host, entry]));
  const names = new Set([...declared.keys(), ...presence.hosts()]);
  return [...names].map((host) => {
    const sight = presence.sightOf(host);
    const place = declared.get(host);
    const entry = aside.get(host);
    return {
      host,
      declared: place !== undefined,
      cluster: place?.cluster ?? null,
      roles: place?.roles ?? [],
      present: sight?.present ?? false,
      lastSeenAt: sight?.lastSeenAt ?? null,
      facts: sight?.facts ?? null,
      clockOffsetMs: sight?.clockOffsetMs ?? null,
      quarantine: entry === undefined ? null : { by: entry.by, reason: entry.reason, at: entry.at },
    };
  });
}

async function oneHost(services: Services, host: string): Promise<HostView> {
  const view = (await listHosts(services)).find((candidate) => candidate.host === host);
  if (view === undefined) {
    throw new BelayError("host-unknown", `no host ${host} is declared, and none ever called`, {
      hint: "`belay host list` shows them.",
    });
  }
  return view;
}

function declaredHosts(fleet: Fleet): Map<string, { cluster: string; roles: readonly string[] }> {
  const declared = new Map<string, { cluster: string; roles: readonly string[] }>();
  for (const cluster of fleet.clusters) {
    for (const host of cluster.hosts) declared.set(host.name, { cluster: cluster.name, roles: host.roles });
  }
  return declared;
}
