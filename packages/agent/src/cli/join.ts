import { BelayError } from "@belay/shared";
import type { AgentConfig } from "../config.js";
import type { HostIdentity } from "../identity/host-identity.js";

/** Joins now. `identity` is null where nobody joins: throws `usage`; and what `HostIdentity.join` throws. */
export async function joinNow({ file }: AgentConfig, identity: HostIdentity | null): Promise<string> {
  if (identity === null) {
    throw new BelayError("usage", `${file}: belayd is asked in the clear, and nobody joins there`, {
      hint: "`controller` must be the https address of belayd's `tls` door",
    });
  }
  const { host, fleet, lifeMs } = await identity.join();
  return `${host} has joined ${fleet}; its certificate lasts ${Math.round(lifeMs / 60_000)} minutes, and is renewed by the agent\n`;
}
