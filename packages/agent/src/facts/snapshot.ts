import { join } from "node:path";
import type { Entry, FactProbe, HostFacts, Sha256 } from "@belay/shared";
import { AGENT_VERSION } from "../about.js";
import { installedAt } from "../entry/installed.js";
import type { Host } from "../host.js";
import type { Service } from "../service/service.js";
import { keptVersions } from "../versions/installed.js";
import { roomAt } from "./disk.js";
import { ailmentsOf } from "./health.js";
import { runningVersion } from "./running.js";

const MAX_AILMENTS = 64;
/** Node's names for processors, in Go's words. What isn't here is called the same. */
const GO_ARCH: Record<string, string> = { x64: "amd64", ia32: "386" };

/** One snapshot of this host. Looks, changes nothing. Throws `path-refused`, `service-refused` or `command-refused`. */
export async function factsOf(probe: FactProbe, host: Host, signal?: AbortSignal): Promise<HostFacts> {
  const service = host.allowed.service(probe.service);
  await allowProbe(probe, host);
  const status = await service.status();
  const { pid } = status;
  const { versionsDir } = probe;
  const [installed, kept, running, ailments, disks, defined] = await Promise.all([
    installedAt(probe, host),
    keptVersions(versionsDir),
    runningVersion(probe.version, { pid, versionsDir }, host.http, signal),
    ailmentsOf(probe.checks, pid, host, signal),
    Promise.all(probe.disks.map(roomAt)),
    definedAs(service, versionsDir),
  ]);
  const build = await host.banner.buildOf(probe, installed, host);
  ailments.unshift(...status.ailments, ...defined.ailments);
  if (status.state !== "running") ailments.unshift(`the service is ${status.state}`);
  return {
    host: host.name,
    at: Math.round(host.clock.now()),
    agentVersion: AGENT_VERSION,
    os: host.machine.os,
    arch: GO_ARCH[host.machine.arch] ?? host.machine.arch,
    ...build,
    installed,
    running,
    kept: kept.slice(0, 256),
    service: { name: probe.service, state: status.state, pid, restarts: status.restarts, ...defined.fact },
    healthy: ailments.length === 0,
    ailments: ailments.slice(0, MAX_AILMENTS),
    disks,
  };
}

/** What can't be read is told with the rest: that the host runs, and what, is worth more. */
async function definedAs(
  service: Service,
  versionsDir: string,
): Promise<{ fact: { definition?: Sha256 }; ailments: string[] }> {
  try {
    const found = await service.definition(versionsDir);
    return { fact: found === null ? {} : { definition: found.sha256 }, ailments: [] };
  } catch (error) {
    return { fact: {}, ailments: [`how ${service.name} is defined can't be read: ${(error as Error).message}`] };
  }
}

/** Throws `path-refused` unless this host lets Belay replace every name of the entry. */
export async function allowEntry(entry: Entry, host: Pick<Host, "allowed">): Promise<void> {
  for (const program of entry.programs) await host.allowed.link(join(entry.dir, program));
}

async function allowProbe(probe: FactProbe, host: Host): Promise<void> {
  await host.allowed.path(probe.versionsDir);
  await host.allowed.link(probe.link);
  if (probe.entry !== undefined) await allowEntry(probe.entry, host);
  for (const disk of probe.disks) await host.allowed.path(disk);
}
