import { readJoinToken } from "@belay/shared";
import type { AgentConfig } from "../config.js";
import type { HostIdentity } from "../identity/host-identity.js";
import { readToken } from "../identity/token.js";

/** What agent.yaml says, a line for each thing. */
export function describeConfig(config: AgentConfig): string {
  const services = [...config.services].map(([name, service]) => `${name} (${service.manager})`);
  const backends = [...config.backends].map(([name, backend]) => `${name} (${backend.kind})`);
  return [
    `host        ${config.host}`,
    `controller  ${config.controller}`,
    `state       ${config.stateDir}`,
    `services    ${services.join(", ") || "none"}`,
    `directories ${config.directories.join(", ") || "none"}`,
    `commands    ${[...config.commands.keys()].join(", ") || "none"}`,
    `backends    ${backends.join(", ") || "none"}`,
    `believes    ${believed(config.approve)}`,
    `supervisor  ${config.self?.manager ?? "not known: can't be upgraded through belayd"}`,
    "",
  ].join("\n");
}

function believed(approve: AgentConfig["approve"]): string {
  if (approve.by === "controller") return "belayd";
  return `${approve.threshold} of the approvers in ${approve.signers}, of the fleet ${approve.fleet}`;
}

/**
 * Who this host is to belayd, or how it will be somebody; `identity` is null where a token does. Throws `token-invalid` or
 * `config-unreadable` where there is neither an identity nor a way to one.
 */
export async function describeIdentity({ tokenFile }: AgentConfig, identity: HostIdentity | null): Promise<string> {
  if (identity === null) {
    await readToken(tokenFile);
    return "identity    a token in the clear, on this machine\n";
  }
  const { held } = identity;
  if (held !== null) return `identity    joined ${held.fleet} at ${new Date(held.obtainedAt).toISOString()}\n`;
  const { fleet } = readJoinToken(await readToken(tokenFile));
  return `identity    to join ${fleet} at the first start\n`;
}
