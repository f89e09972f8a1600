import { BelayError } from "@belay/shared";
import Type from "typebox";
import type { TokenAnswer, TokenView, UserView, Whoami } from "../../api/contract.js";
import type { Person } from "../../people/caller.js";
import { type People, TOKEN_TTL_MS, USER_NAME } from "../../people/people.js";
import { expand, includesRole, ROLES, type Role } from "../../people/roles.js";
import { lapse } from "../../run/commands.js";
import type { UserRow } from "../../store/people.js";
import { personOf } from "../access.js";
import { Name } from "../schemas.js";
import type { Server } from "../server.js";
import type { Services } from "../services.js";

const viewer = { config: { access: "viewer" } } as const;
const admin = { config: { access: "admin" } } as const;
const UserName = Type.String({ pattern: USER_NAME });
const userParams = Type.Object({ user: UserName });
const tokenParams = Type.Object({ token: Type.String({ pattern: "^[0-9a-f]{12}$" }) });
const Roles = Type.Array(Type.Unsafe<Role>(Type.Enum([...ROLES])), { minItems: 1, maxItems: ROLES.length });
/** A name on screens and in records: no control characters. */
const GroupName = Type.String({ pattern: "^[^\\x00-\\x1f\\x7f]{1,128}$" });
const Groups = Type.Array(GroupName, { maxItems: 1_000 });
const TokenName = Type.String({ pattern: "^[A-Za-z0-9][A-Za-z0-9 ._@+-]{0,63}$" });
const MIN_TTL_MS = 60_000;

const NewUserBody = Type.Object(
  { name: UserName, roles: Roles, groups: Type.Optional(Groups), again: Type.Optional(Type.Boolean()) },
  { additionalProperties: false },
);
const ChangeBody = Type.Object(
  { roles: Type.Optional(Roles), groups: Type.Optional(Groups) },
  { additionalProperties: false },
);
const TokenBody = Type.Object(
  {
    name: TokenName,
    user: Type.Optional(UserName),
    roles: Type.Optional(Roles),
    ttlMs: Type.Optional(Type.Integer({ minimum: MIN_TTL_MS, maximum: TOKEN_TTL_MS.most })),
  },
  { additionalProperties: false },
);

/** Users for admins; everybody's own tokens for themselves. */
export function peopleRoutes(server: Server, { people, controller }: Pick<Services, "people" | "controller">): void {
  /** Open gates see at once who may not approve any more; whatever is missed here is seen with the next approval. */
  async function letLapse(): Promise<void> {
    for (const run of controller.activeRuns) {
      await controller.active(run)?.command((state, at) => lapse(state, (...of) => people.mayApprove(...of), at));
    }
  }

  server.get("/v1/whoami", viewer, (request): Whoami => {
    const { name, roles, groups, via, expiresAt } = personOf(request);
    return { name, roles, groups, via, expiresAt };
  });

  server.get("/v1/users", viewer, (): UserView[] => people.users().map((user) => viewOf(people, user)));

  server.post("/v1/users", { ...admin, schema: { body: NewUserBody } }, async (request): Promise<UserView> => {
    const { name, roles, groups = [], again = false } = request.body;
    return viewOf(people, await people.create({ name, roles, groups }, personOf(request).name, again));
  });

  server.get(
    "/v1/users/:user",
    { ...viewer, schema: { params: userParams } },
    (request): UserView => viewOf(people, people.user(request.params.user)),
  );

  server.post(
    "/v1/users/:user",
    { ...admin, schema: { params: userParams, body: ChangeBody } },
    async (request): Promise<UserView> => {
      const user = await people.change(request.params.user, request.body);
      await letLapse();
      return viewOf(people, user);
    },
  );

  server.delete("/v1/users/:user", { ...admin, schema: { params: userParams } }, async (request) => {
    await people.remove(request.params.user);
    await letLapse();
    return {};
  });

  server.get(
    "/v1/tokens",
    {
      ...viewer,
      schema: {
        querystring: Type.Object({ user: Type.Optional(Name), all: Type.Optional(Type.Literal("1")) }),
      },
    },
    async (request): Promise<TokenView[]> => {
      const caller = personOf(request);
      const { user = caller.name, all } = request.query;
      if (user !== caller.name || all === "1") needAdmin(caller);
      return people.tokens(all === "1" ? null : user);
    },
  );

  server.post("/v1/tokens", { ...viewer, schema: { body: TokenBody } }, async (request): Promise<TokenAnswer> => {
    const caller = personOf(request);
    const { name, user = caller.name, roles = null, ttlMs = TOKEN_TTL_MS.default } = request.body;
    if (user !== caller.name) needAdmin(caller);
    const own = expand(people.user(user).roles);
    checkScope(user, roles, own);
    // Through a narrow token nobody gets at a wide one, nor at one that outlives it.
    const scope = user === caller.name ? (roles ?? (narrower(caller, own) ? caller.roles : null)) : roles;
    if (user === caller.name) checkScope("this token", scope, caller.roles);
    const notAfter = user === caller.name ? caller.expiresAt : null;
    // A token that somebody was given makes no token that nobody else could have.
    const by = user === caller.name ? (caller.tokenBy ?? caller.name) : caller.name;
    const { token, row } = await people.createToken({ user, name, roles: scope, ttlMs, notAfter }, by);
    return { ...row, token };
  });

  server.delete("/v1/tokens/:token", { ...viewer, schema: { params: tokenParams } }, async (request) => {
    const caller = personOf(request);
    const { id, user } = await people.token(request.params.token);
    if (user !== caller.name) needAdmin(caller);
    await people.revokeToken(id);
    return {};
  });
}

function viewOf(people: People, { name, roles, issuer, createdAt, createdBy }: UserRow): UserView {
  return { name, roles, groups: people.groupsOf(name), issuer, createdAt, createdBy };
}

function needAdmin(caller: Person): void {
  if (includesRole(caller.roles, "admin")) return;
  throw new BelayError("forbidden", `${caller.name} may see and change their own tokens alone`, {
    hint: "Anybody's tokens are an admin's business.",
  });
}

function narrower({ roles }: Person, own: readonly Role[]): boolean {
  return own.some((role) => !roles.includes(role));
}

/** Throws `scope-too-wide`. */
function checkScope(holder: string, scope: readonly Role[] | null, own: readonly Role[]): void {
  const beyond = scope?.find((role) => !own.includes(role));
  if (beyond === undefined) return;
  throw new BelayError("scope-too-wide", `${holder} does not have the role ${beyond}, so no token of theirs can`, {
    hint: `It has ${own.join(", ")}.`,
  });
}
