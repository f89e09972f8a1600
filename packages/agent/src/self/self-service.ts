import { BelayError } from "@belay/shared";
import type { Service, ServiceStatus } from "../service/service.js";

/** What plans call the agent where they look at it as they look at a service. */
export const SELF_SERVICE = "belay-agent";

/** The agent as a service to look at: it runs, or nobody could ask. Its supervisor alone starts and stops it. */
export class SelfService implements Service {
  readonly name = SELF_SERVICE;
  readonly #pid: number;

  constructor(pid: number) {
    this.#pid = pid;
  }

  async status(): Promise<ServiceStatus> {
    return { state: "running", pid: this.#pid, restarts: 0, ailments: [] };
  }

  async glimpse(): Promise<number> {
    return this.#pid;
  }

  beforeReload(): Promise<ServiceStatus> {
    return this.status();
  }

  async definition(): Promise<null> {
    return null;
  }

  needDefinition(): Promise<ServiceStatus> {
    return this.status();
  }

  async start(): Promise<void> {}

  async stop(): Promise<void> {
    throw refused("stop");
  }

  async reload(): Promise<void> {
    throw refused("reload");
  }

  async close(): Promise<void> {}
}

/** Nobody is known who would start the agent again. */
export function unsupervised(): BelayError {
  return new BelayError("self-unsupervised", "nobody is known who would start this agent again", {
    hint: "say under `self` in agent.yaml who supervises the agent, or upgrade its package by hand",
  });
}

function refused(verb: string): BelayError {
  return new BelayError("service-refused", `an agent doesn't ${verb} itself on request`, {
    hint: "its upgrade is `belay agent upgrade`; anything else is its supervisor's",
  });
}
