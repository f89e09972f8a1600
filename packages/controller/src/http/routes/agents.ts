import { BelayError, HostName } from "@belay/shared";
import Type from "typebox";
import type { JoinTokenMade, JoinTokenView } from "../../api/contract.js";
import { hashToken } from "../../bearer-token.js";
import type { JoinTokenRow } from "../../store/join-tokens.js";
import { personOf } from "../access.js";
import type { Server } from "../server.js";
import type { Services } from "../services.js";

const admin = { config: { access: "admin" } } as const;
const DEFAULT_TTL_SECONDS = 3600;
const MAX_TTL_SECONDS = 90 * 24 * 3600;

const TokenBody = Type.Object(
  {
    host: HostName,
    ttlSeconds: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_TTL_SECONDS })),
    /** For an agent of this very machine, in the clear, for as long as it is not revoked. */
    plaintext: Type.Optional(Type.Boolean()),
  },
  { additionalProperties: false },
);

/** Tokens by which hosts join: shown once, stored as a digest. */
export function agentRoutes(server: Server, services: Services): void {
  const { agents, gateway, identity, newToken, now } = services;

  server.post(
    "/v1/agents/tokens",
    { ...admin, schema: { body: TokenBody } },
    async (request): Promise<JoinTokenMade> => {
      const { host, ttlSeconds = DEFAULT_TTL_SECONDS, plaintext = false } = request.body;
      if (!plaintext) {
        if (!services.hasTlsDoor) throw noDoor();
        return { host, ...(await identity.enrolment.createToken(host, ttlSeconds * 1000, personOf(request).name)) };
      }
      if (!services.plaintextTokens) throw noPlaintext();
      const token = newToken();
      await agents.putToken(host, hashToken(token), now());
      // Whoever came with the old token has to come again with the new one.
      gateway.disconnect(host, { code: "token-replaced", message: "this host was given a new token" });
      return { host, token, expiresAt: null };
    },
  );

  server.get("/v1/agents/tokens", admin, async (): Promise<JoinTokenView[]> => {
    const at = now();
    const joining = (await identity.tokens.list()).map((row): JoinTokenView => ({ ...row, state: stateOf(row, at) }));
    const plain = (await agents.tokens()).map(
      ({ host, createdAt, usedAt }): JoinTokenView => ({
        host,
        state: "plaintext",
        createdAt,
        createdBy: "",
        expiresAt: null,
        usedAt,
        usedFrom: null,
        refusals: 0,
        refused: null,
      }),
    );
    return [...joining, ...plain];
  });

  server.delete(
    "/v1/agents/tokens/:host",
    { ...admin, schema: { params: Type.Object({ host: HostName }) } },
    async (request) => {
      const { host } = request.params;
      if (await agents.revokeToken(host)) {
        gateway.disconnect(host, { code: "token-revoked", message: "this host's token was revoked" });
      } else await identity.endTokens(host, personOf(request).name);
      return {};
    },
  );
}

function stateOf({ usedAt, endedAt, expiresAt }: JoinTokenRow, now: number): JoinTokenView["state"] {
  if (usedAt !== null) return "used";
  if (endedAt !== null) return "ended";
  return expiresAt <= now ? "expired" : "unused";
}

function noDoor(): BelayError {
  return new BelayError("no-door", "hosts join over TLS, and this belayd has no door for that", {
    hint: "Set `tls` in belayd.yaml; for agents of this very machine see `agents.plaintextTokens` there.",
  });
}

function noPlaintext(): BelayError {
  return new BelayError("plaintext-refused", "this belayd takes no tokens in the clear", {
    hint: "Without --plaintext the token is one for joining; or set `agents.plaintextTokens` in belayd.yaml.",
  });
}
