import { join } from "node:path";
import {
  type Agent,
  type AgentOptions,
  byToken,
  parseConfig,
  type Service,
  silentLogger,
  startAgent,
} from "@belay/agent";
import { quickClock } from "./quick-clock.js";

const A_DAY_MS = 86_400_000;

/** The real agent, in this process, of a host with one service. Each boot is a day after the one before. */
export function startRigAgent(
  host: { name: string; stateDir: string; directories: readonly string[]; service: Service; boots: number },
  rest: Pick<AgentOptions, "random" | "dial" | "http" | "exec" | "journalDisk" | "leave">,
): Promise<Agent> {
  const { name, stateDir, directories, service, boots } = host;
  const config = parseConfig(
    `controller: http://127.0.0.1:1\nhost: ${name}\ntokenFile: /dev/null\nstateDir: ${stateDir}
directories: [${directories}]\nservices: { svc: { manager: systemd, unit: svc.service } }\n`,
    join(stateDir, "agent.yaml"),
  );
  return startAgent({
    ...rest,
    config,
    controller: byToken(config.controller, ""),
    clock: quickClock(boots * A_DAY_MS),
    log: silentLogger,
    machine: { os: "linux", arch: "x64" },
    env: {},
    openServices: async () => new Map([["svc", service]]),
  });
}
