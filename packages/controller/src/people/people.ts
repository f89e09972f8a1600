import { BelayError } from "@belay/shared";
import type { TokenView } from "../api/contract.js";
import type { PeopleStore, UserRow } from "../store/people.js";
import { type Person, ROOT } from "./caller.js";
import { expand, includesRole, narrow, type Role } from "./roles.js";
import type { SignedIn } from "./sign-in.js";

/** Names under which Belay itself and its first token act. */
const RESERVED: ReadonlySet<string> = new Set(["belayd", ROOT]);
/** Lower case only, so that no two names differ by it; nothing that a screen or a path would read as more than a name. */
export const USER_NAME = "^[a-z0-9][a-z0-9._@+-]{0,127}$";
export const DAY_MS = 86_400_000;
export const TOKEN_TTL_MS = { default: 90 * DAY_MS, most: 366 * DAY_MS } as const;
/** When a token was last used is for people to see which ones nobody needs: a write a minute is precise enough. */
const USED_EVERY_MS = 60_000;

export interface NewToken {
  readonly user: string;
  readonly name: string;
  /** What it is good for; null: whatever its user may do at the time. */
  readonly roles: readonly Role[] | null;
  readonly ttlMs: number;
  /** It ends by then, whatever its `ttlMs`; null or absent: by that alone. */
  readonly notAfter?: number | null;
}

export interface PeopleParts {
  readonly store: PeopleStore;
  readonly now: () => number;
  /** Random and URL-safe. */
  readonly newSecret: () => string;
  readonly hash: (secret: string) => string;
  /** Groups as belayd.yaml has them: group -> names. */
  readonly groups: Readonly<Record<string, readonly string[]>>;
}

/**
 * Who may sign in, and as what. Users are kept in memory too (there are few, and every gate asks for their groups); the
 * store is written first. Tokens are looked up in the store by their digest.
 */
export class People {
  readonly #parts: PeopleParts;
  readonly #users = new Map<string, UserRow>();
  readonly #usedAt = new Map<string, number>();
  /** What is looked up must still be so when it is written: one change after the other. */
  #changing: Promise<unknown> = Promise.resolve();

  private constructor(parts: PeopleParts) {
    this.#parts = parts;
  }

  static async open(parts: PeopleParts): Promise<People> {
    const people = new People(parts);
    for (const user of await parts.store.users()) people.#users.set(user.name, user);
    return people;
  }

  /** Everybody who may sign in, by name. */
  users(): UserRow[] {
    return [...this.#users.values()]
      .filter(({ removedAt }) => removedAt === null)
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Throws `user-unknown`. */
  user(name: string): UserRow {
    const user = this.find(name);
    if (user !== null) return user;
    throw new BelayError("user-unknown", `there is no user ${name}`, { hint: "`belay user list` shows them." });
  }

  find(name: string): UserRow | null {
    const user = this.#users.get(name);
    return user === undefined || user.removedAt !== null ? null : user;
  }

  /**
   * All groups of a person: their own, and those that belayd.yaml puts them in. Its names are those of users whom an admin
   * made: whoever came through the identity provider brought their name along, and maybe chose it.
   */
  groupsOf(name: string): string[] {
    const { groups } = this.#parts;
    const user = this.find(name);
    const isKnownByName = user === null || user.createdBy !== name;
    const declared = isKnownByName ? Object.keys(groups).filter((group) => groups[group]?.includes(name)) : [];
    return [...new Set([...(user?.groups ?? []), ...declared])].sort();
  }

  /** May this person approve gates of this group (null: of any) as things stand now? */
  mayApprove(name: string, group: string | null): boolean {
    const roles = name === ROOT ? (["admin"] as const) : (this.find(name)?.roles ?? []);
    // Whoever has the file is nobody in particular: their word fills in only until there is a person's.
    if (name === ROOT && this.users().some((user) => includesRole(user.roles, "approver"))) return false;
    return includesRole(roles, "approver") && (group === null || this.groupsOf(name).includes(group));
  }

  /**
   * Throws `user-exists`, `name-reserved`, `user-removed`: a name is one person's for ever, because records and open gates
   * speak of them by it. `again`: that person is back.
   */
  create(user: Pick<UserRow, "name" | "roles" | "groups">, by: string, again = false): Promise<UserRow> {
    return this.#inTurn(() => this.#create(user, by, again));
  }

  async #create(user: Pick<UserRow, "name" | "roles" | "groups">, by: string, again: boolean): Promise<UserRow> {
    const { name } = user;
    if (RESERVED.has(name)) throw new BelayError("name-reserved", `${name} is a name under which Belay itself acts`);
    const there = this.#users.get(name);
    if (there !== undefined && there.removedAt === null) {
      throw new BelayError("user-exists", `there is a user ${name} already`, { hint: "`belay user set` changes one." });
    }
    if (there !== undefined && !again) {
      throw new BelayError("user-removed", `${name} was somebody who has been removed, and records speak of them`, {
        hint: "If this is the same person, say so: --again. Anybody else needs a name of their own.",
      });
    }
    const { issuer = null, subject = null } = there ?? {};
    const made = { ...user, issuer, subject, createdAt: this.#parts.now(), createdBy: by, removedAt: null };
    return this.#save(made);
  }

  /**
   * Somebody the identity provider vouches for, known by what it calls them (issuer and subject), which never changes;
   * their name stays the one they first came with. Roles and groups are what it says now. Throws `sign-in-refused`.
   */
  signIn(person: SignedIn): Promise<UserRow> {
    return this.#inTurn(() => this.#signIn(person));
  }

  async #signIn(person: SignedIn): Promise<UserRow> {
    const { issuer, subject, roles, groups } = person;
    const known = [...this.#users.values()].find((user) => user.issuer === issuer && user.subject === subject);
    if (known !== undefined) {
      if (known.removedAt === null) return this.#save({ ...known, roles, groups });
      throw new BelayError("sign-in-refused", `${known.name} was removed`, { hint: "belay user create NAME --again" });
    }
    const { name } = person;
    if (RESERVED.has(name) || !new RegExp(USER_NAME).test(name)) {
      throw new BelayError("sign-in-refused", `${JSON.stringify(name)} can't be somebody's name here`);
    }
    // Not even a removed one: whoever can choose their name at the provider must not become somebody else here.
    if (this.#users.has(name)) {
      throw new BelayError("sign-in-refused", `${name} is somebody else here`, {
        hint: "The name belongs to a user with tokens, or to another person of the provider.",
      });
    }
    const now = this.#parts.now();
    return this.#save({ name, roles, groups, issuer, subject, createdAt: now, createdBy: name, removedAt: null });
  }

  /** Whose session it is, as a caller; null: they are gone. */
  callerOf(name: string, via: string, expiresAt: number): Person | null {
    const user = this.find(name);
    return user === null ? null : this.#person(user, expand(user.roles), { via, expiresAt, tokenBy: null });
  }

  /** Throws `user-unknown`, and `user-managed` where the identity provider says it. What an open gate thinks of this person's word follows (run/commands.ts). */
  change(name: string, change: Partial<Pick<UserRow, "roles" | "groups">>): Promise<UserRow> {
    return this.#inTurn(() => this.#change(name, change));
  }

  async #change(name: string, change: Partial<Pick<UserRow, "roles" | "groups">>): Promise<UserRow> {
    const user = this.user(name);
    if (user.issuer === null) return this.#save({ ...user, ...change });
    throw new BelayError("user-managed", `what ${name} may do is what ${user.issuer} says, with every sign-in`, {
      hint: "Change it there, and the mapping in belayd.yaml (oidc.roles). `belay user remove` lets them in no more.",
    });
  }

  /** Their tokens and sessions end with them. Throws `user-unknown`. */
  remove(name: string): Promise<void> {
    return this.#inTurn(async () => {
      const removed = { ...this.user(name), removedAt: this.#parts.now() };
      await this.#parts.store.removeUser(name, removed.removedAt);
      this.#users.set(name, removed);
    });
  }

  /** The token itself is in the answer, once; the store has its digest. Throws `user-unknown`. */
  createToken(wanted: NewToken, by: string): Promise<{ token: string; row: TokenView }> {
    return this.#inTurn(() => this.#createToken(wanted, by));
  }

  async #createToken(wanted: NewToken, by: string): Promise<{ token: string; row: TokenView }> {
    const { store, now, newSecret, hash } = this.#parts;
    this.user(wanted.user);
    const token = `belay_${newSecret()}`;
    const row: TokenView = {
      id: hash(token).slice(0, 12),
      user: wanted.user,
      name: wanted.name,
      roles: wanted.roles,
      createdAt: now(),
      createdBy: by,
      expiresAt: Math.min(now() + wanted.ttlMs, wanted.notAfter ?? Number.POSITIVE_INFINITY),
      usedAt: null,
      revokedAt: null,
    };
    await store.putToken(row, hash(token));
    return { token, row };
  }

  /** Those of one user, or of all. */
  tokens(user: string | null): Promise<TokenView[]> {
    return this.#parts.store.tokens(user);
  }

  /** Throws `token-unknown`. */
  async token(id: string): Promise<TokenView> {
    const row = await this.#parts.store.token(id);
    if (row !== null) return row;
    throw new BelayError("token-unknown", `there is no token ${id}`, { hint: "`belay token list` shows them." });
  }

  /** Idempotent. */
  async revokeToken(id: string): Promise<void> {
    await this.#parts.store.revokeToken(id, this.#parts.now());
  }

  /** Whose token has this digest; null: nobody's, or it has ended. */
  async callerOfToken(tokenHash: string): Promise<Person | null> {
    const row = await this.#parts.store.tokenByHash(tokenHash);
    const now = this.#parts.now();
    if (row === null || row.revokedAt !== null || row.expiresAt <= now) return null;
    const user = this.find(row.user);
    if (user === null) return null;
    await this.#noteUse(row, now);
    const roles = narrow(user.roles, row.roles);
    const tokenBy = row.createdBy === user.name ? null : row.createdBy;
    return this.#person(user, roles, { via: `token ${row.name}`, expiresAt: row.expiresAt, tokenBy });
  }

  /** Whoever holds the token of belayd's own file. */
  root(): Person {
    const roles = expand(["admin"]);
    const way = { via: "root token", expiresAt: null, tokenBy: null } as const;
    return { kind: "person", name: ROOT, roles, groups: this.groupsOf(ROOT), ...way };
  }

  #person(user: UserRow, roles: readonly Role[], way: Pick<Person, "via" | "expiresAt" | "tokenBy">): Person {
    return { kind: "person", name: user.name, roles, groups: this.groupsOf(user.name), ...way };
  }

  async #noteUse({ id, usedAt }: TokenView, now: number): Promise<void> {
    const last = this.#usedAt.get(id) ?? usedAt ?? 0;
    if (now - last < USED_EVERY_MS) return;
    this.#usedAt.set(id, now);
    await this.#parts.store.tokenUsed(id, now);
  }

  #inTurn<T>(change: () => Promise<T>): Promise<T> {
    const turn = this.#changing.then(change);
    // Whoever asked is told; the next one is not kept from its turn.
    this.#changing = turn.catch(() => {});
    return turn;
  }

  async #save(user: UserRow): Promise<UserRow> {
    await this.#parts.store.putUser(user);
    this.#users.set(user.name, user);
    return user;
  }
}
