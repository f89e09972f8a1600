import { BelayError, HostName, JoinRequest, RenewRequest } from "@belay/shared";
import Type from "typebox";
import type { AuthorityView, IdentityView } from "../../api/contract.js";
import type { Identity } from "../../identity/identity.js";
import { CommandBody, Person, Reason } from "../schemas.js";
import type { Server } from "../server.js";
import type { Services } from "../services.js";

const person = { config: { caller: "person" } } as const;
const hostParams = Type.Object({ host: HostName });
/** A request of a host is a key and a signature. */
const MAX_REQUEST_BYTES = 16 * 1024;

const PhaseBody = Type.Object(
  { by: Person, reason: Type.Optional(Reason), lose: Type.Optional(Type.Array(HostName, { maxItems: 100_000 })) },
  { additionalProperties: false },
);

/** Hosts' identities: how they come by them, and how people end them. */
export function identityRoutes(server: Server, { identity, presence }: Pick<Services, "identity" | "presence">): void {
  const { enrolment, identities } = identity;

  server.post(
    "/v1/agents/join",
    { bodyLimit: MAX_REQUEST_BYTES, config: { caller: "anyone" }, schema: { body: JoinRequest } },
    (request) => enrolment.join(request.raw, request.body, (host) => identity.hostJoined(host)),
  );

  server.post(
    "/v1/agents/renew",
    { bodyLimit: MAX_REQUEST_BYTES, config: { caller: "agent" }, schema: { body: RenewRequest } },
    (request) => enrolment.renew(request.raw, request.body),
  );

  // That it was asked is all there is to it: whoever calls shows a certificate (identity/peers.ts).
  server.post("/v1/agents/show", { bodyLimit: MAX_REQUEST_BYTES, config: { caller: "agent" } }, async () => ({}));

  server.get("/v1/agents/identities", person, (): IdentityView[] =>
    identities.all().map(({ host, generation, joinedAt, expiresAt, issuer, revoked }) => ({
      host,
      present: presence.isPresent(host),
      generation,
      joinedAt,
      expiresAt,
      issuer,
      revoked,
    })),
  );

  server.post(
    "/v1/agents/identities/:host/revoke",
    { ...person, schema: { params: hostParams, body: CommandBody } },
    async (request) => {
      const { by, reason } = request.body;
      if (reason === undefined || reason.trim() === "") {
        throw new BelayError("reason-missing", "an identity is revoked for a reason", {
          hint: "Say it: --reason TEXT",
        });
      }
      await identity.revoke(request.params.host, by, reason);
      return {};
    },
  );
}

/** belayd's authorities, phase by phase. */
export function authorityRoutes(server: Server, { identity }: Pick<Services, "identity">): void {
  const { rotation } = identity;

  server.get("/v1/authorities", person, () => viewOf(identity));

  server.post("/v1/authorities/rotate", { ...person, schema: { body: PhaseBody } }, async (request) => {
    await rotation.rotate(request.body.by);
    return viewOf(identity);
  });

  server.post("/v1/authorities/activate", { ...person, schema: { body: PhaseBody } }, async (request) => {
    const { tokensEnded } = await rotation.activate(request.body.by, request.body.lose ?? []);
    return { authorities: viewOf(identity), tokensEnded };
  });

  server.post("/v1/authorities/retire", { ...person, schema: { body: PhaseBody } }, async (request) => {
    await rotation.retire(request.body.by, request.body.lose ?? []);
    return viewOf(identity);
  });
}

function viewOf({ rotation }: Identity): AuthorityView[] {
  return rotation.show();
}
