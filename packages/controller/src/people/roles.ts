/** What a person may be given. Who approves and who operates can be different people, so neither includes the other. */
export const ROLES = ["viewer", "operator", "approver", "admin"] as const;
export type Role = (typeof ROLES)[number];

/** What each role lets a person do, itself included. */
const INCLUDED: Readonly<Record<Role, readonly Role[]>> = {
  viewer: ["viewer"],
  operator: ["viewer", "operator"],
  approver: ["viewer", "approver"],
  admin: ROLES,
};

/** Everything that these roles include, in the order of `ROLES`. */
export function expand(roles: readonly Role[]): Role[] {
  return ROLES.filter((role) => roles.some((held) => INCLUDED[held].includes(role)));
}

export function includesRole(roles: readonly Role[], wanted: Role): boolean {
  return roles.some((held) => INCLUDED[held].includes(wanted));
}

/** What is left of a person's roles through a token that was made for some of them; null: all of them. */
export function narrow(roles: readonly Role[], scope: readonly Role[] | null): Role[] {
  const all = expand(roles);
  if (scope === null) return all;
  const wanted = expand(scope);
  return all.filter((role) => wanted.includes(role));
}
