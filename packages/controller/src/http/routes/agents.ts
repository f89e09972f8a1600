import { BelayError, HostName } from "@belay/shared";
import Type from "typebox";
import { hashToken } from "../../fleet/gateway.js";
import type { Server } from "../server.js";
import type { Services } from "../services.js";

const admin = { config: { access: "admin" } } as const;

/** Join tokens of agents: shown once, stored as a digest. */
export function agentRoutes(server: Server, { agents, gateway, newToken, now }: Services): void {
  server.post(
    "/v1/agents/tokens",
    { ...admin, schema: { body: Type.Object({ host: HostName }, { additionalProperties: false }) } },
    async (request) => {
      const token = newToken();
      await agents.putToken(request.body.host, hashToken(token), now());
      // Whoever joined with the old token has to join again with the new one.
      gateway.disconnect(request.body.host, { code: "token-replaced", message: "this host was given a new token" });
      return { host: request.body.host, token };
    },
  );

  server.get("/v1/agents/tokens", admin, () => agents.tokens());

  server.delete(
    "/v1/agents/tokens/:host",
    { ...admin, schema: { params: Type.Object({ host: HostName }) } },
    async (request) => {
      const { host } = request.params;
      if (!(await agents.revokeToken(host))) {
        throw new BelayError("token-unknown", `${host} has no token`, { hint: "`belay agent token list` shows them." });
      }
      gateway.disconnect(host, { code: "token-revoked", message: "this host's token was revoked" });
      return {};
    },
  );
}
