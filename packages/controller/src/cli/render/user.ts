import type { TokenView, UserView, Whoami } from "../../api/contract.js";
import { labelled } from "./label.js";
import { dateTime } from "./measure.js";
import { listing } from "./text.js";

export function whoamiLines({ name, roles, groups, via, expiresAt }: Whoami): string[] {
  return [
    ...labelled("you are", [`${name}, by ${via}`]),
    ...labelled("roles", [roles.join(", ")]),
    ...labelled("groups", [orNone(groups)]),
    ...(expiresAt === null ? [] : labelled("until", [dateTime(expiresAt)])),
  ];
}

export function userLines({ name, roles, groups, issuer, createdAt, createdBy }: UserView): string[] {
  return [
    ...labelled("user", [name]),
    ...labelled("roles", [roles.join(", ")]),
    ...labelled("groups", [orNone(groups)]),
    ...labelled("signs in", [issuer === null ? "by API tokens" : `through ${issuer}`]),
    ...labelled("made", [`${dateTime(createdAt)} by ${createdBy}`]),
  ];
}

export function userListing(users: readonly UserView[]): string[] {
  return listing(
    ["USER", "ROLES", "GROUPS", "SIGNS IN"],
    users.map(({ name, roles, groups, issuer }) => [name, roles.join(", "), orNone(groups), issuer ?? "tokens"]),
    "there are no users yet: belay user create NAME --role ROLE",
  );
}

export function tokenListing(tokens: readonly TokenView[], now: number): string[] {
  return listing(
    ["ID", "USER", "NAME", "GOOD FOR", "MADE", "LAST USED", "ENDS"],
    tokens.map((token) => [
      token.id,
      token.user,
      token.name,
      token.roles?.join(", ") ?? "all of theirs",
      `${dateTime(token.createdAt)} by ${token.createdBy}`,
      token.usedAt === null ? "never" : dateTime(token.usedAt),
      endOf(token, now),
    ]),
    "no tokens: belay token create NAME",
  );
}

function endOf({ expiresAt, revokedAt }: TokenView, now: number): string {
  if (revokedAt !== null) return `revoked ${dateTime(revokedAt)}`;
  return expiresAt <= now ? `expired ${dateTime(expiresAt)}` : dateTime(expiresAt);
}

function orNone(list: readonly string[]): string {
  return list.length === 0 ? "none" : list.join(", ");
}
