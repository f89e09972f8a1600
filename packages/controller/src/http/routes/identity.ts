import { BelayError, HostName, JoinRequest, RenewRequest } from "@belay/shared";
import Type from "typebox";
import type { AuthorityView, IdentityView } from "../../api/contract.js";
import type { Identity } from "../../identity/identity.js";
import { personOf } from "../access.js";
import { CommandBody, Reason } from "../schemas.js";
import type { Server } from "../server.js";
import type { Services } from "../services.js";

const viewer = { config: { access: "viewer" } } as const;
const admin = { config: { access: "admin" } } as const;
const host = { config: { access: "host" } } as const;
const hostParams = Type.Object({ host: HostName });
/** A request of a host is a key and a signature. */
const MAX_REQUEST_BYTES = 16 * 1024;

const PhaseBody = Type.Object(
  { reason: Type.Optional(Reason), lose: Type.Optional(Type.Array(HostName, { maxItems: 100_000 })) },
  { additionalProperties: false },
);

/** Hosts' identities: how they come by them, and how people end them. */
export function identityRoutes(server: Server, { identity, presence }: Pick<Services, "identity" | "presence">): void {
  server.post(
    "/v1/agents/join",
    { config: { access: "anyone" }, bodyLimit: MAX_REQUEST_BYTES, schema: { body: JoinRequest } },
    (request) => identity.enrolment.join(request.raw, request.body, (host) => identity.hostJoined(host)),
  );

  server.post(
    "/v1/agents/renew",
    { ...host, bodyLimit: MAX_REQUEST_BYTES, schema: { body: RenewRequest } },
    (request) => identity.enrolment.renew(request.raw, request.body),
  );

  // That it was asked is all there is to it: whoever calls shows a certificate (identity/peers.ts).
  server.post("/v1/agents/show", { ...host, bodyLimit: MAX_REQUEST_BYTES }, async () => ({}));

  server.get("/v1/agents/identities", viewer, (): IdentityView[] =>
    identity.identities.all().map(({ host: name, generation, joinedAt, expiresAt, issuer, revoked }) => ({
      host: name,
      present: presence.isPresent(name),
      generation,
      joinedAt,
      expiresAt,
      issuer,
      revoked,
    })),
  );

  server.post(
    "/v1/agents/identities/:host/revoke",
    { ...admin, schema: { params: hostParams, body: CommandBody } },
    async (request) => {
      const { reason } = request.body;
      if (reason === undefined || reason.trim() === "") {
        throw new BelayError("reason-missing", "an identity is revoked for a reason", {
          hint: "Say it: --reason TEXT",
        });
      }
      await identity.revoke(request.params.host, personOf(request).name, reason);
      return {};
    },
  );
}

/** belayd's authorities, phase by phase. */
export function authorityRoutes(server: Server, { identity }: Pick<Services, "identity">): void {
  server.get("/v1/authorities", viewer, () => viewOf(identity));

  server.post("/v1/authorities/rotate", { ...admin, schema: { body: PhaseBody } }, async (request) => {
    await identity.rotation.rotate(personOf(request).name);
    return viewOf(identity);
  });

  server.post("/v1/authorities/activate", { ...admin, schema: { body: PhaseBody } }, async (request) => {
    const { tokensEnded } = await identity.rotation.activate(personOf(request).name, request.body.lose ?? []);
    return { authorities: viewOf(identity), tokensEnded };
  });

  server.post("/v1/authorities/retire", { ...admin, schema: { body: PhaseBody } }, async (request) => {
    await identity.rotation.retire(personOf(request).name, request.body.lose ?? []);
    return viewOf(identity);
  });
}

function viewOf({ rotation }: Identity): AuthorityView[] {
  return rotation.show();
}
