import type { Clock } from "../clock.js";
import type { AgentConfig } from "../config.js";
import type { Exec } from "../exec.js";
import type { Logger } from "../log.js";
import { ProcessService } from "./process.js";
import type { Service } from "./service.js";
import { SystemdService } from "./systemd.js";

/** Opens every service that the host's agent.yaml lists, by name. */
export async function openServices(
  config: AgentConfig,
  world: { clock: Clock; exec: Exec; log: Logger; env: Readonly<Record<string, string>>; changed: () => void },
): Promise<Map<string, Service>> {
  const services = new Map<string, Service>();
  for (const [name, service] of config.services) {
    services.set(
      name,
      service.manager === "systemd"
        ? new SystemdService({ name, unit: service.unit, stateDir: config.stateDir, ...world })
        : await ProcessService.open({ name, config: service, stateDir: config.stateDir, ...world }),
    );
  }
  return services;
}
